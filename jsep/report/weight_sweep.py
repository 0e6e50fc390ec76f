"""Both robustnesses against the SEP weight: a table, a figure, and what they say."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jsep.report.columns import MISSING, column, format_weight
from jsep.report.many_claims import harder_as_the_weight_falls
from jsep.report.style import drawing, new_figure, to_png

FILE = "weights.png"

_SHOWN = (
    "clean_accuracy",
    "robust_accuracy",
    "scale_free_loss_start",
    "scale_free_loss_end",
    "relative_reduction",
    "cosine_end",
    "effective_pixels",
    "one_minus_concordance_end",
)
_PANELS = (
    ("Accuracy", "%", (("clean_accuracy", "clean"), ("robust_accuracy", "under attack"))),
    ("Explanation loss", "N²·MSE", (("scale_free_loss_start", "start"), ("scale_free_loss_end", "end of attack"))),
    ("Removed by the attack", "% of the loss at start", (("relative_reduction", ""),)),
    ("Cosine to the target's map", "cosine", (("cosine_start", "start"), ("cosine_end", "end of attack"))),
    ("Concentration", "effective pixels", (("effective_pixels", ""),)),
    (
        "1 − concordance",
        "loss over that of shuffled maps",
        (("one_minus_concordance_start", "start"), ("one_minus_concordance_end", "end of attack")),
    ),
)
_LOG_RANGE = 5.0
"""From this ratio of largest to smallest mean on, the losses have a logarithmic axis."""

_COLOURS = ("#E69F00", "#0072B2")
"""The first and the second line of a panel; a single one has the second colour."""


def write_weight_sweep(run_dir: str | pathlib.Path, result: Mapping[str, Any]) -> pathlib.Path:
    """Draws weights.png: six metrics against the scale-free weight, with intervals over the seeds.

    Returns: the path of the figure.
    """
    entries = result["weights"]
    weights = np.array([entry["weight"] for entry in entries])
    with drawing():
        figure = new_figure(6.4, 11.0)
        grid = figure.subplots(2, 3, sharex=True)
        for axes, (title, label, lines) in zip(grid.flat, _PANELS, strict=True):
            for (key, name), colour in zip(lines, _COLOURS[-len(lines) :], strict=True):
                _draw_line(axes, entries, weights, key, name, colour)
            axes.set(title=title, ylabel=label)
            means = [entry[key]["mean"] for entry in entries for key, _ in lines]
            if title == "Explanation loss" and min(means) > 0 and max(means) > _LOG_RANGE * min(means):
                axes.set_yscale("log")
                axes.set_ylim(0.7 * min(means), 1.4 * max(means))
                ticks = [digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5)]
                ticks = [tick for tick in ticks if 0.7 * min(means) <= tick <= 1.4 * max(means)]
                axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
                axes.minorticks_off()
            if len(lines) > 1:
                axes.legend(fontsize=8, loc="best")
            _weight_axis(axes, weights)
        for axes in grid[-1]:
            axes.set_xlabel("SEP weight per N²·MSE")
        figure.legend(handles=_handles(entries), loc="outside upper center", ncols=4)
        path = pathlib.Path(run_dir) / FILE
        path.write_bytes(to_png(figure))
    return path


def _draw_line(
    axes: Axes, entries: Sequence[Mapping[str, Any]], weights: np.ndarray, key: str, name: str, colour: str
) -> None:
    scale = column(key).scale
    means = scale * np.array([entry[key]["mean"] for entry in entries])
    bounds = [
        scale * np.array([entry[key][end] if entry[key][end] is not None else np.nan for entry in entries])
        for end in ("low", "high")
    ]
    whole = np.array([not entry["num_degraded"] for entry in entries])
    axes.plot(weights, means, color=colour, linewidth=1.0, alpha=0.5)
    for chosen, fill in ((whole, colour), (~whole, "white")):
        errors = np.abs(np.array([means - bounds[0], bounds[1] - means]))[:, chosen]
        axes.errorbar(
            weights[chosen], means[chosen], np.nan_to_num(errors), fmt="o", color=colour, markerfacecolor=fill,
            markersize=5, linewidth=1.0, capsize=2, label=name if fill == colour else None,
        )  # fmt: skip
    # An interval of a broken training is wider than the figure: the means decide what is shown.
    low, high = float(means.min()), float(means.max())
    if whole.any():
        low, high = min(low, float(np.nanmin(bounds[0][whole]))), max(high, float(np.nanmax(bounds[1][whole])))
    room = 0.06 * (high - low or 1.0)
    bottom, top = axes.get_ylim() if axes.get_autoscaley_on() is False else (np.inf, -np.inf)
    axes.set_ylim(min(bottom, low - room), max(top, high + room))


def _weight_axis(axes: Axes, weights: np.ndarray) -> None:
    """Logarithmic on both sides of 0, where MAT stands; ticks at the powers of ten."""
    sizes = np.abs(weights[weights != 0])
    threshold = float(sizes.min())
    axes.set_xscale("symlog", linthresh=threshold, linscale=0.5)
    powers = 10.0 ** np.arange(np.ceil(np.log10(threshold) - 1e-9), np.log10(sizes.max()) + 1e-9)
    ticks = [-p for p in powers[::-1] if weights.min() <= -p * 0.999] + [0.0]
    ticks += [float(p) for p in powers if weights.max() >= p * 0.999]
    axes.set_xticks(ticks, ["MAT" if tick == 0 else f"{tick:+g}".replace("-", "−") for tick in ticks], rotation=45)
    axes.minorticks_off()
    axes.axvline(0, color="#999999", linewidth=0.8, zorder=0)


def _handles(entries: Sequence[Mapping[str, Any]]) -> list[Line2D]:
    style: dict[str, Any] = {"color": "#555555", "linestyle": "", "marker": "o", "markersize": 5}
    handles = [Line2D([], [], label="mean over the seeds, 95 % interval", **style)]
    if any(entry["num_degraded"] for entry in entries):
        handles.append(Line2D([], [], markerfacecolor="white", label="degraded (at least one seed)", **style))
    return handles


def weight_sweep_table(result: Mapping[str, Any]) -> str:
    """A Markdown table, a row a weight, and what it says in sentences."""
    heads = ["SEP weight /N²·MSE", "seeds", "degraded", *(column(key).title for key in _SHOWN)]
    lines = ["| " + " | ".join(heads) + " |", "|---:" * len(heads) + "|"]
    for entry in result["weights"]:
        cells = [_weight(entry), str(entry["num_seeds"])]
        cells.append(f"{entry['num_degraded']}" if entry["num_degraded"] else "")
        lines.append("| " + " | ".join([*cells, *(_interval(entry[key], key) for key in _SHOWN)]) + " |")
    pairs, judged = result["pairs"], result["judged"]
    note = (
        f"{pairs['dataset']}, {pairs['num_pairs']} pairs of images; mean over the seeds ± half of Student's 95 % "
        f"interval; weight 0 is MAT; robust accuracy under {judged['norm']} PGD of {judged['budget_in_tests']:.3g} and "
        f"{judged['test_num_steps']} steps. Degraded: clean accuracy more than 5 points below MAT's with the same seed."
    )
    return "\n".join([*lines, "", note, "", " ".join(_sentences(result))]) + "\n"


def _interval(value: Mapping[str, Any], key: str) -> str:
    shown = column(key)
    decimals = 2 if shown.decimals is None else shown.decimals
    text = f"{shown.scale * value['mean']:.{decimals}f}"
    if value["low"] is None:
        return text
    return f"{text} ± {shown.scale * (value['high'] - value['low']) / 2:.{decimals}f}"


_TRENDS = (
    ("scale_free_loss_start", "the loss before any attack"),
    ("scale_free_loss_end", "the loss at the end"),
    ("one_minus_concordance_end", "1 − concordance at the end"),
    ("relative_reduction", "the share removed"),
    ("cosine_end", "the cosine to the target at the end"),
    ("robust_accuracy", "robust accuracy"),
)


def _sentences(result: Mapping[str, Any]) -> list[str]:
    """Where training breaks, what goes with the weight, and whether robust accuracy stays."""
    entries = result["weights"]
    whole = [entry for entry in entries if not entry["num_degraded"]]
    found = [_breaking(entries)]
    for side, words in (("negative", "from 0 downwards"), ("positive", "from 0 upwards")):
        own = {trend["metric"]: trend for trend in result["trends"] if trend["side"] == side}
        if own:
            told = [_trend(own[metric], name) for metric, name in _TRENDS if metric in own]
            count = own["robust_accuracy"]["num_weights"]
            found.append(
                f"Over the {count} weights {words} that are not degraded, Spearman's correlation with the weight "
                f"(95 % interval over weights): {'; '.join(told)}. {_claim(result, side)}"
            )
    robust = [entry["robust_accuracy"]["mean"] for entry in whole]
    if robust:
        low, high = 100 * min(robust), 100 * max(robust)
        where = [
            format_weight(e["weight"]).replace("-", "−") for e in (min(whole, key=_robust), max(whole, key=_robust))
        ]
        found.append(
            f"Robust accuracy goes from {low:.1f} % (weight {where[0]}) to {high:.1f} % (weight {where[1]}) over the "
            f"weights that are not degraded: {high - low:.1f} points."
        )
    return found


def _weight(entry: Mapping[str, Any]) -> str:
    return format_weight(entry["weight"]).replace("-", "−")


def _robust(entry: Mapping[str, Any]) -> float:
    return entry["robust_accuracy"]["mean"]


def _breaking(entries: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for sign, word in ((-1, "negative"), (1, "positive")):
        own = sorted((e for e in entries if sign * e["weight"] > 0), key=lambda e: abs(e["weight"]))
        broken = [e for e in own if e["num_degraded"]]
        if broken:
            first = broken[0]
            parts.append(
                f"on the {word} side training breaks at {_weight(first)} "
                f"({first['num_degraded']} of {first['num_seeds']} seeds degraded)"
            )
        elif own:
            parts.append(f"on the {word} side no weight up to {_weight(own[-1])} breaks training")
    text = " and ".join(parts) + "." if parts else ""
    return text[:1].upper() + text[1:]


def _claim(result: Mapping[str, Any], side: str) -> str:
    """What the engine of verdicts says: do falling weights make explanations harder to manipulate?"""
    told = [f"{row.what.rsplit('and ', 1)[-1]}: {row.verdict}" for row in harder_as_the_weight_falls(result, side=side)]
    return f"Explanations get harder to manipulate as the weight falls, the paper's trend, by {', '.join(told)}."


def _trend(trend: Mapping[str, Any], name: str) -> str:
    low, estimate, high = (f"{trend[key]:+.2f}".replace("-", "−") for key in ("low", "estimate", "high"))
    return f"{name} {estimate} [{low}, {high}]" if trend["estimate"] is not None else f"{name} {MISSING}"
