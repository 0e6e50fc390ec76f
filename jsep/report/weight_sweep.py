"""Both robustnesses against the SEP weight: a table, a figure, and the paper's trend."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jsep.evaluate import METRICS
from jsep.record import Comparison, harder_as_the_weight_falls
from jsep.report.charts import Key, Line, Panel, line_chart
from jsep.report.formatting import coefficient, format_weight, minus
from jsep.report.paper import comparison_table
from jsep.report.shown import (
    CLEAN,
    OF_WEIGHT,
    OVER_WEIGHTS,
    REMOVED,
    ROBUST,
    SCALE_FREE_END,
    SCALE_FREE_SEP_WEIGHT,
    Ends,
    metric,
)
from jsep.report.style import SOFT, NamedFigure, spans_decades
from jsep.report.table import Column, Table, make_table

_BRIEF = (CLEAN, ROBUST, SCALE_FREE_END, REMOVED)
"""The columns that a terminal shows."""

_BEFORE, _AFTER = "#E69F00", "#0072B2"


def weight_sweep_figures(result: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[NamedFigure]:
    """Six metrics against the scale-free SEP weight, with intervals over the seeds."""
    entries = result["weights"]
    weights = np.array([entry["weight"] for entry in entries])
    panels = [_panel(entries, weights, ends) for ends in OVER_WEIGHTS]
    keys = [
        Key("before the attack", _BEFORE, "o"), Key("after the attack", _AFTER, "o"),
        *[Key("degraded in at least one seed", mark="o", hollow=True)] * any(e["num_degraded"] for e in entries),
    ]  # fmt: skip
    figure = line_chart(panels, keys=keys, height=3.0, width=11.0, share="x")
    caption = (
        "Mean over the seeds with Student's 95 % interval (not of degraded ones, whose intervals are wider than the "
        "figure). The axis is logarithmic on both sides of 0, where MAT stands."
    )
    names = ", ".join(ends.title for ends in OVER_WEIGHTS)
    alt = f"Six panels against the SEP weight: {names}; the numbers are those of the table."
    return [NamedFigure("weights", "Both robustnesses against the SEP weight", alt, caption, figure)]


def _panel(entries: Sequence[Mapping[str, Any]], weights: np.ndarray, ends: Ends) -> Panel:
    lines: list[Line] = []
    whole = np.array([not entry["num_degraded"] for entry in entries])
    inside: list[float] = []
    for name, colour in ((ends.before, _BEFORE), (ends.after, _AFTER)):
        if name is None:
            continue
        scale = METRICS[name].scale
        means, low, high = (
            scale * np.array([np.nan if entry[name][key] is None else entry[name][key] for entry in entries], float)
            for key in ("mean", "low", "high")
        )
        inside += [*means, *low[whole & np.isfinite(low)], *high[whole & np.isfinite(high)]]
        lines += [
            Line(weights, means, colour, width=0.8),
            Line(weights[whole], means[whole], colour, "o", "", errors=(low[whole], high[whole])),
            Line(weights[~whole], means[~whole], colour, "o", "", hollow=True),
        ]

    def adjust(axes: Axes) -> None:
        _weight_axis(axes, weights)
        if ends.after == SCALE_FREE_END and spans_decades(inside, 5.0):
            axes.set_yscale("log")
            axes.set_ylim(0.8 * min(inside), 1.25 * max(inside))
            ticks = [digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5)]
            ticks = [tick for tick in ticks if 0.8 * min(inside) <= tick <= 1.25 * max(inside)]
            axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        else:
            room = 0.06 * (max(inside) - min(inside) or 1.0)
            axes.set_ylim(min(inside) - room, max(inside) + room)
        axes.minorticks_off()

    return Panel(ends.title, metric(SCALE_FREE_SEP_WEIGHT).heading, ends.label, lines, adjust)


def _weight_axis(axes: Axes, weights: np.ndarray) -> None:
    """An axis logarithmic on both sides of 0, with ticks at powers of ten."""
    sizes = np.abs(weights[weights != 0])
    threshold = float(sizes.min())
    axes.set_xscale("symlog", linthresh=threshold, linscale=0.5)
    powers = 10.0 ** np.arange(np.ceil(np.log10(threshold) - 1e-9), np.log10(sizes.max()) + 1e-9)
    ticks = [-p for p in powers[::-1] if weights.min() <= -p * 0.999] + [0.0]
    ticks += [float(p) for p in powers if weights.max() >= p * 0.999]
    axes.set_xticks(ticks, ["MAT" if tick == 0 else minus(f"{tick:+g}") for tick in ticks], rotation=45)
    axes.axvline(0, color=SOFT, linewidth=0.8, zorder=0)


def brief_weights(result: Mapping[str, Any]) -> Table:
    """One row for each weight: accuracies, loss at the end, and what the attack removes."""
    rows = [
        [format_weight(entry["weight"]), *(_interval(entry[name], name) for name in _BRIEF)]
        for entry in result["weights"]
    ]
    heads = (Column(METRICS[name].heading, METRICS[name].unit) for name in _BRIEF)
    return make_table([metric(SCALE_FREE_SEP_WEIGHT).heading, *heads], rows)


def trend_claims(result: Mapping[str, Any]) -> list[Comparison]:
    """The paper's claim that explanations get harder to manipulate as the weight falls, on either side of 0."""
    paper = "explanations get harder to manipulate as the SEP weight falls"
    return [
        dataclasses.replace(each, subject=METRICS[finding.claim.metric].heading, paper=f"{paper}, at weights {words}")
        for side, words in (("negative", "up to 0"), ("positive", "from 0 on"))
        for each in harder_as_the_weight_falls(result, side)
        for finding in each.findings
    ]


def weight_sweep_tables(result: Mapping[str, Any]) -> list[Table]:
    """One row for each weight; the rank correlation of each metric with the weight; and the paper's trend."""
    rows = [
        [
            format_weight(entry["weight"]),
            str(entry["num_seeds"]),
            f"{entry['num_degraded']}" if entry["num_degraded"] else "",
            *(_interval(entry[name], name) for name in OF_WEIGHT),
        ]
        for entry in result["weights"]
    ]
    pairs, judged = result["pairs"], result["judged"]
    note = (
        f"{pairs['dataset']}, {pairs['num_pairs']} pairs of images; mean over the seeds ± half of Student's 95 % "
        f"interval; weight 0 is MAT; robust accuracy under {judged['norm']} PGD of {judged['budget_in_tests']:.3g} and "
        f"{judged['test_num_steps']} steps. Degraded: clean accuracy more than 5 points below MAT's with the same seed."
    )
    heads = [metric(SCALE_FREE_SEP_WEIGHT).heading, Column("seeds"), Column("degraded")]
    heads += [Column(METRICS[name].heading, METRICS[name].unit) for name in OF_WEIGHT]
    tables = [make_table(heads, rows, notes=(note,))]
    if result["trends"]:
        tables.append(_trends_table(result["trends"]))
    for side, words in (("negative", "at weights up to 0"), ("positive", "at weights from 0 on")):
        found = harder_as_the_weight_falls(result, side)
        if any(each.findings for each in found):
            title = f"Do explanations get harder to manipulate as the weight falls, {words}?"
            tables.append(comparison_table(found, title))
    return tables


def _interval(value: Mapping[str, Any], name: str) -> str:
    shown = METRICS[name]
    decimals = 2 if shown.decimals is None else shown.decimals
    text = minus(f"{shown.scale * value['mean']:.{decimals}f}")
    if value["low"] is None:
        return text
    return f"{text} ± {shown.scale * (value['high'] - value['low']) / 2:.{decimals}f}"


def _trends_table(trends: Sequence[Mapping[str, Any]]) -> Table:
    sides = {"both": "all weights", "negative": "weights up to 0", "positive": "weights from 0 on"}
    known = [side for side in sides if any(trend["side"] == side for trend in trends)]
    found = {(trend["metric"], trend["side"]): trend for trend in trends}
    rows = []
    for name in dict.fromkeys(trend["metric"] for trend in trends):
        own = [found.get((name, side)) for side in known]
        rows.append([METRICS[name].heading, *(coefficient(*_ends(trend)) if trend else "–" for trend in own)])
    columns = ["metric", *(f"{sides[side]} ({_count(trends, side)})" for side in known)]
    note = (
        "Spearman's rank correlation of each metric with the weight, over the models that are not degraded, with the "
        "95 % bootstrap interval over weights; in brackets the number of weights."
    )
    return make_table(columns, rows, title="Trends over the SEP weight", notes=(note,))


def _ends(trend: Mapping[str, Any]) -> tuple[float, float, float]:
    return trend["estimate"], trend["low"], trend["high"]


def _count(trends: Sequence[Mapping[str, Any]], side: str) -> int:
    return next(trend["num_weights"] for trend in trends if trend["side"] == side)
