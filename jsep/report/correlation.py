"""The correlation of both robustnesses over many models: tables, a figure, and what they say."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jsep.report.columns import column
from jsep.report.style import colours, drawing, new_figure, plain, to_png

FILE = "correlation.png"

_NAMES = {
    "scale_free_loss_end": "loss at the end (the paper's)",
    "one_minus_concordance_end": "1 − concordance at the end (concentration taken out)",
    "relative_reduction": "share of the loss removed",
    "cosine_end": "cosine to the target at the end",
    "scale_free_loss_start": "loss before any attack",
}
_PANELS = ("scale_free_loss_end", "one_minus_concordance_end", "relative_reduction", "cosine_end")
_COEFFICIENTS = (
    ("pearson", "Pearson"),
    ("spearman", "Spearman"),
    ("partial_pearson", "partial Pearson"),
    ("partial_spearman", "partial Spearman"),
    ("partial_clean_spearman", "partial Spearman, clean accuracy alone"),
)
# One a family, those of the methods where they have one.
_COLOURS = {
    "mat": "#0072B2",
    "sep": "#009E73",
    "standard": "#555555",
    "trades": "#CC79A7",
    "trades_sep": "#882255",
    "lga": "#E6C700",
    "hessian": "#E69F00",
    "cure": "#56B4E9",
    "ig_norm": "#000000",
    "r2et": "#D55E00",
}
_MARKS = {0: "o", 1: "^", -1: "v"}


def write_correlation(run_dir: str | pathlib.Path, result: Mapping[str, Any]) -> pathlib.Path:
    """Draws correlation.png: every model by its robust accuracy and four measures of explanation robustness.

    Up is more robust in each panel. Returns: the path of the figure.
    """
    families = list(dict.fromkeys(row["family"] for row in result["rows"]))
    colour = _family_colours(families)
    with drawing():
        figure = new_figure(7.4, 10.0)
        for axes, measure in zip(figure.subplots(2, 2).flat, _PANELS, strict=True):
            _draw_models(axes, result["rows"], measure, result["measures"][measure], colour)
            entry = _main(result, measure)
            title = f"Spearman {_number(entry['spearman'])}, partial {_number(entry['partial_spearman'])}"
            axes.set_title(title, fontsize=8.5)
        shapes = {_MARKS[_sign(row)]: _sign(row) for row in result["rows"]}
        words = {0: "no SEP", 1: "SEP weight > 0", -1: "SEP weight < 0"}
        handles = [
            Line2D([], [], linestyle="", marker="s", color=colour[family], label=plain(family)) for family in families
        ]
        handles += [
            Line2D([], [], linestyle="", marker=mark, color="#555555", label=words[sign])
            for mark, sign in sorted(shapes.items())
        ]
        if any(row["degraded"] for row in result["rows"]):
            style: dict[str, Any] = {"color": "#555555", "markerfacecolor": "white"}
            handles.append(Line2D([], [], linestyle="", marker="o", label="degraded: not counted", **style))
        figure.legend(handles=handles, loc="outside upper center", ncols=min(7, len(handles)))
        path = pathlib.Path(run_dir) / FILE
        path.write_bytes(to_png(figure))
    return path


def _family_colours(families: Sequence[str]) -> dict[str, str]:
    return colours(families) | {family: colour for family, colour in _COLOURS.items() if family in families}


def _sign(row: Mapping[str, Any]) -> int:
    return int(np.sign(row["sep_weight"]))


def _draw_models(
    axes: Axes, rows: Sequence[Mapping[str, Any]], measure: str, sign: int, colour: Mapping[str, str]
) -> None:
    scale = column(measure).scale
    for row in rows:
        own = colour[row["family"]]
        axes.plot(
            100 * row["robust_accuracy"], scale * row[measure], marker=_MARKS[_sign(row)], linestyle="",
            color=own, markerfacecolor="none" if row["degraded"] else own, markersize=5.5, alpha=0.8,
        )  # fmt: skip
    values = [scale * row[measure] for row in rows if not row["degraded"]]
    all_values = [scale * row[measure] for row in rows]
    shown = column(measure)
    axes.set(xlabel="robust accuracy [%]", ylabel=shown.title + ("" if sign > 0 else " (axis turned)"))
    # A broken model with ten times the loss would leave the others a line at the bottom.
    if measure.startswith("scale_free") and max(all_values) > 3 * max(values):
        axes.set_yscale("log")
    if sign < 0:
        axes.invert_yaxis()


def _main(result: Mapping[str, Any], measure: str, subset: str = "all models", unit: str = "models") -> dict[str, Any]:
    return next(
        entry
        for entry in result["correlations"]
        if (entry["subset"], entry["unit"], entry["measure"], entry["with_degraded"]) == (subset, unit, measure, False)
    )


def _number(value: Mapping[str, Any]) -> str:
    return f"{value['estimate']:+.2f} [{value['low']:+.2f}, {value['high']:+.2f}]".replace("-", "−")


def correlation_tables(result: Mapping[str, Any]) -> str:
    """What the study says, the coefficients of all models, those of parts of them, and the models, in Markdown."""
    parts = [_sentences(result), _coefficients(result), _parts(result), _settings(result)]
    if result["left_out"]:
        parts.append(f"Left out: {'; '.join(result['left_out'])}.")
    return "\n\n".join(parts) + "\n"


def _coefficients(result: Mapping[str, Any]) -> str:
    lines = [
        "| explanation robustness by | " + " | ".join(name for _, name in _COEFFICIENTS) + " |",
        "|---" + "|---:" * len(_COEFFICIENTS) + "|",
    ]
    for measure, sign in result["measures"].items():
        entry = _main(result, measure)
        name = _NAMES[measure] + ("" if sign > 0 else ", sign turned")
        cells = [_number(entry[key]) if key in entry else "" for key, _ in _COEFFICIENTS]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    note = (
        "Correlation of robust accuracy with explanation robustness over all models that are not degraded, turned so "
        "that + means that they go together; 95 % bootstrap interval, settings drawn anew with their seeds. Partial: "
        "at equal clean accuracy and equal effective pixels of the maps."
    )
    return "\n".join([*lines, "", note])


def _parts(result: Mapping[str, Any]) -> str:
    measures = list(result["measures"])
    lines = [
        "| Spearman over | models | settings | " + " | ".join(_NAMES[measure] for measure in measures) + " |",
        "|---|---:|---:" + "|---:" * len(measures) + "|",
    ]
    keys = dict.fromkeys((e["subset"], e["unit"], e["with_degraded"]) for e in result["correlations"])
    for subset, unit, with_degraded in keys:
        own = {
            e["measure"]: e
            for e in result["correlations"]
            if (e["subset"], e["unit"], e["with_degraded"]) == (subset, unit, with_degraded)
        }
        any_entry = next(iter(own.values()))
        name = subset + (", means of settings" if unit == "settings" else "")
        name += ", with the degraded ones" if with_degraded else ""
        count = str(any_entry["num_models"]) if unit == "models" else ""
        cells = [_number(own[measure]["spearman"]) for measure in measures]
        lines.append("| " + " | ".join([name, count, str(any_entry["num_settings"]), *cells]) + " |")
    return "\n".join([*lines, "", "Signs as above: + is that robust accuracy and explanation robustness go together."])


_SHOWN = ("clean_accuracy", "robust_accuracy", "scale_free_loss_start", *_PANELS, "effective_pixels")


def _settings(result: Mapping[str, Any]) -> str:
    lines = [
        "| training | seeds | " + " | ".join(column(key).title for key in _SHOWN) + " |",
        "|---|---:" + "|---:" * len(_SHOWN) + "|",
    ]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in result["rows"]:
        groups.setdefault(row["setting"], []).append(row)
    for name, own in groups.items():
        cells = []
        for key in _SHOWN:
            shown = column(key)
            decimals = 2 if shown.decimals is None else shown.decimals
            cells.append(f"{shown.scale * float(np.mean([row[key] for row in own])):.{decimals}f}")
        count = sum(row["degraded"] for row in own)
        mark = f" \\* ({count} of {len(own)})" if count else ""
        lines.append("| " + " | ".join([name + mark, str(len(own)), *cells]) + " |")
    note = "Means over the seeds. \\* degraded: clean accuracy more than 5 points below that of MAT; not counted above."
    return "\n".join([*lines, "", note])


def _direction(value: Mapping[str, Any]) -> int:
    """1, -1, or 0 where the interval holds 0."""
    return 1 if value["low"] > 0 else -1 if value["high"] < 0 else 0


_SUBSETS = {
    "without SEP": "the models without a SEP term",
    "MAT and SEP on MAT": "MAT and SEP on top of it",
}
_WORDS = {1: "they go together", -1: "they go against each other", 0: "no relation that these models can show"}


def _sentences(result: Mapping[str, Any]) -> str:
    rows = result["rows"]
    degraded = sum(row["degraded"] for row in rows)
    loss = _main(result, "scale_free_loss_end")
    found = [
        f"Are robust accuracy and explanation robustness correlated over {loss['num_models']} models of "
        f"{loss['num_settings']} settings ({degraded} degraded ones not counted)?"
    ]
    for measure in _PANELS:
        entry = _main(result, measure)
        plain_words, partial = _WORDS[_direction(entry["spearman"])], entry["partial_spearman"]
        found.append(
            f"By {_NAMES[measure]}: Spearman {_number(entry['spearman'])}, {plain_words}; at equal clean accuracy and "
            f"concentration {_number(partial)}, {_WORDS[_direction(partial)]}."
        )
    found.append(_agreement(result))
    known = {entry["subset"] for entry in result["correlations"]}
    for subset, words in _SUBSETS.items():
        if subset in known:
            own = [(measure, _main(result, measure, subset)["spearman"]) for measure in _PANELS]
            told = [f"{_number(value)} by {_NAMES[measure]} ({_WORDS[_direction(value)]})" for measure, value in own]
            found.append(f"Over {words} alone, Spearman is {'; '.join(told)}.")
    return " ".join(found)


def _agreement(result: Mapping[str, Any]) -> str:
    """Whether the answer depends on the measure, in one sentence for the plain and the partial coefficients."""
    parts = []
    for key, words in (
        ("spearman", "the answer"),
        ("partial_spearman", "at equal clean accuracy and concentration it"),
    ):
        signs = {_direction(_main(result, measure)[key]) for measure in _PANELS}
        if signs >= {1, -1}:
            parts.append(f"{words} turns with the measure: some say together, some against each other")
        elif len(signs) == 1:
            parts.append(f"{words} is the same by all four measures, {_WORDS[next(iter(signs))]}")
        else:
            told = _WORDS[next(iter(signs - {0}))]
            parts.append(f"{words} does not turn, but only some measures show it ({told})")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."
