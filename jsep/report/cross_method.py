"""Trained with one method, attacked and measured with every other: a table and a matrix."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jsep.report.columns import LOSS_SCALE, significant
from jsep.report.style import drawing, new_figure, plain, to_png

FILE = "cross.png"
_KEYS = ("explanation_loss_start", "explanation_loss_end", "relative_reduction", "excess_end")


def _means(result: Mapping[str, Any]) -> tuple[list[tuple[str, str]], list[str], dict[str, np.ndarray]]:
    """Models (trained with, method), explanation methods, and (models, methods) means over the seeds by key."""
    rows: Sequence[Mapping[str, Any]] = result["rows"]
    models = list(dict.fromkeys((row["trained_with"], row["method"]) for row in rows))
    methods = list(dict.fromkeys(row["explained_by"] for row in rows))

    def mean(key: str, model: tuple[str, str], method: str) -> float:
        own = [r[key] for r in rows if (r["trained_with"], r["method"]) == model and r["explained_by"] == method]
        return float(np.mean(own)) if own else float("nan")

    return models, methods, {key: np.array([[mean(key, m, e) for e in methods] for m in models]) for key in _KEYS}


def _name(model: tuple[str, str]) -> str:
    """Only the SEP methods were trained with an explanation."""
    return f"{model[1]} ({model[0]})" if model[1].startswith("sep") else model[1]


def write_cross_method(run_dir: str | pathlib.Path, result: Mapping[str, Any]) -> pathlib.Path:
    """Draws cross.png: loss at the end over its largest in the column, and loss / chance, models by methods.

    Returns: the path of the figure.
    """
    models, methods, means = _means(result)
    end = means["explanation_loss_end"]
    with drawing():
        figure = new_figure(1.5 + 0.42 * len(models), 10.5)
        left, right = figure.subplots(1, 2, sharey=True)
        _matrix(left, end / np.nanmax(end, axis=0), LOSS_SCALE * end, "Loss at end [1e-7]", 0.0)
        _matrix(right, means["excess_end"], means["excess_end"], "Loss / chance at end", float("nan"))
        left.set_yticks(range(len(models)), [plain(_name(model), 34) for model in models])
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
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="#1a1a1a")
    axes.set_title(title)


def cross_method_table(result: Mapping[str, Any]) -> str:
    """A Markdown table: a row an explanation method; for each model start, end, share removed and loss / chance."""
    models, methods, means = _means(result)
    lines = [
        "| explained by | " + " | ".join(_name(model) for model in models) + " |",
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
        "Explanation loss [1e-7] at start → end of the attack on that very method (share removed, loss / chance at the "
        "end: over the loss of equally concentrated maps with permuted pixels), means over the seeds; in brackets of a "
        "name the method in its SEP term.",
        "",
        _orders(models, methods, means),
    ]
    return "\n".join(lines) + "\n"


def _orders(models: Sequence[tuple[str, str]], methods: Sequence[str], means: Mapping[str, np.ndarray]) -> str:
    """In how many methods the paper's order of sep_pos and sep_neg holds, by the loss and with concentration out."""
    places = {model[1]: index for index, model in enumerate(models)}
    if not {"sep_pos", "sep_neg"} <= set(places) or len({model[1] for model in models}) != len(models):
        return ""
    counts = {
        key: int(np.sum(means[key][places["sep_pos"]] < means[key][places["sep_neg"]]))
        for key in ("explanation_loss_end", "excess_end")
    }
    return (
        f"sep_pos ends below sep_neg, the paper's order, for {counts['explanation_loss_end']} of {len(methods)} "
        f"methods by the loss and for {counts['excess_end']} by loss / chance."
    )
