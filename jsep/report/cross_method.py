"""Trained with one method, attacked and measured with every other: a table and a matrix."""

import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from jsep.report.columns import LOSS_SCALE, significant
from jsep.report.study_claims import sharpened_above_flattened
from jsep.report.style import drawing, new_figure, plain, to_png

FILE = "cross.png"
_KEYS = ("explanation_loss_start", "explanation_loss_end", "relative_reduction", "one_minus_concordance_end")


def _means(result: Mapping[str, Any]) -> tuple[list[tuple[str, str]], list[str], dict[str, np.ndarray]]:
    """Models (trained with, method), explanation methods, and (models, methods) means over the seeds by key."""
    rows: Sequence[Mapping[str, Any]] = result["rows"]
    models = list(dict.fromkeys((row["trained_with"], row["method"]) for row in rows))
    methods = list(dict.fromkeys(row["explained_by"] for row in rows))

    def mean(key: str, model: tuple[str, str], method: str) -> float:
        own = [r[key] for r in rows if (r["trained_with"], r["method"]) == model and r["explained_by"] == method]
        return float(np.mean(own)) if own else float("nan")

    return models, methods, {key: np.array([[mean(key, m, e) for e in methods] for m in models]) for key in _KEYS}


def _name(model: tuple[str, str], degraded: Collection[tuple[str, str]] = ()) -> str:
    """Only the SEP methods were trained with an explanation."""
    name = f"{model[1]} ({model[0]})" if "sep" in model[1] else model[1]
    return name + (" *" if model in degraded else "")


def _degraded(result: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The models that are degraded in some seed."""
    return {(row["trained_with"], row["method"]) for row in result["rows"] if row.get("degraded")}


def write_cross_method(run_dir: str | pathlib.Path, result: Mapping[str, Any]) -> pathlib.Path:
    """Draws cross.png: loss at the end over its largest in the column, and 1 − concordance, models by methods.

    Returns: the path of the figure.
    """
    models, methods, means = _means(result)
    end = means["explanation_loss_end"]
    with drawing():
        figure = new_figure(1.5 + 0.42 * len(models), 10.5)
        left, right = figure.subplots(1, 2, sharey=True)
        _matrix(left, end / np.nanmax(end, axis=0), LOSS_SCALE * end, "Loss at end [1e-7]", 0.0)
        _matrix(
            right,
            means["one_minus_concordance_end"],
            means["one_minus_concordance_end"],
            "1 − concordance at end",
            float("nan"),
        )
        degraded = _degraded(result)
        left.set_yticks(range(len(models)), [plain(_name(model, degraded), 34) for model in models])
        for place, model in enumerate(models):
            # Trained and tested with the same explanation: the cells that the others are to be compared with.
            if "sep" in model[1] and model[0] in methods:
                corner = (methods.index(model[0]) - 0.5, place - 0.5)
                for axes in (left, right):
                    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="#1a1a1a", linewidth=1.4))
        notes = ["boxed: the explanation of the SEP term"] + ["* degraded model"] * bool(degraded)
        figure.supxlabel("; ".join(notes), fontsize=8)
        for axes in (left, right):
            axes.set_xticks(range(len(methods)), [plain(method, 22) for method in methods], rotation=30, ha="right")
            axes.grid(visible=False)
        path = pathlib.Path(run_dir) / FILE
        path.write_bytes(to_png(figure))
    return path


def _matrix(axes: Axes, shade: np.ndarray, shown: np.ndarray, title: str, low: float) -> None:
    """Cells shaded by one array, with the numbers of another."""
    finite = shade[np.isfinite(shade)]
    bottom = low if np.isfinite(low) else float(finite.min()) - 0.05
    axes.imshow(shade, cmap="Blues", vmin=bottom, vmax=float(finite.max()) * 1.25, aspect="auto")
    for (row, column), value in np.ndenumerate(shown):
        text = f"{value:.2f}" if np.nanmax(np.abs(shown)) < 10 else significant(float(value))
        dark = (shade[row, column] - bottom) / (float(finite.max()) * 1.25 - bottom) > 0.6
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "#1a1a1a")
    axes.set_title(title)


def cross_method_table(result: Mapping[str, Any]) -> str:
    """A Markdown table: a row an explanation method; for each model start, end, share removed and 1 − concordance."""
    models, methods, means = _means(result)
    degraded = _degraded(result)
    names = [_name(model, degraded).replace("*", "\\*") for model in models]
    lines = [
        "| explained by | " + " | ".join(names) + " |",
        "|---" + "|---:" * len(models) + "|",
    ]
    for column, method in enumerate(methods):
        cells = []
        for row in range(len(models)):
            start, end, removed, excess = (means[key][row, column] for key in _KEYS)
            losses = f"{significant(LOSS_SCALE * start)} → {significant(LOSS_SCALE * end)}"
            cells.append(f"{losses} (−{100 * removed:.0f} %, {excess:.3f})")
        lines.append("| " + " | ".join([method, *cells]) + " |")
    lines += [
        "",
        "Explanation loss [1e-7] at start → end of the attack on that very method (share removed, 1 − concordance at "
        "the end: over the loss of equally concentrated maps with permuted pixels), means over the seeds; in brackets "
        "of a name the method in its SEP term.",
    ]
    if degraded:
        lines += ["", "\\* degraded: clean accuracy more than 5 points below MAT's; left out of the findings below."]
    for trained_with in dict(models):
        for found in sharpened_above_flattened(result, trained_with):
            if found.basis:
                lines += [
                    "",
                    f"Trained with {trained_with}, {found.paper}: {found.verdict} ({found.ours}; {found.basis}).",
                ]
    return "\n".join(lines).rstrip() + "\n"
