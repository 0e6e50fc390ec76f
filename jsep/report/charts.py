"""The charts of a page: the answer at one look, the course of the attack, training; each with its legend."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jsep.record import as_number, mean_of, std_of
from jsep.report.columns import LOSS_SCALE, decimals_for, significant
from jsep.report.curves import (
    OVERVIEW_PANELS,
    TRAINING_PANELS,
    by_epoch,
    mean_over_seeds,
    overview_bounds,
    spans_decades,
)
from jsep.report.parts import text
from jsep.report.records import Maps
from jsep.report.style import colours, marks
from jsep.report.svg import Dots, Series, dot_chart, legend, line_chart


def _panel(title: str, unit: str, chart: str) -> str:
    return f"<div><h4>{text(title)} <small>{text(unit)}</small></h4>{chart}</div>\n"


def _change(start: float | None, end: float | None) -> str:
    """How much of the start is gone at the end."""
    return "" if not start or end is None else f"{100 * (end - start) / start:+.0f} %".replace("-", "−")


def method_legend(seen: Sequence[str], methods: Sequence[str]) -> str:
    """The marks of the methods that are `seen`, of all the `methods` of a page."""
    colour, mark = colours(methods), marks(methods)
    return legend([(method, colour[method], mark[method]) for method in seen])


def overview_panels(
    summaries: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    *,
    colour_of: Mapping[str, str] | None = None,
) -> str:
    """The answer at one look: loss at start and end, accuracies, and the confounds, a row a method.

    Args:
        summaries: the methods, as `summarise` gives them.
        rows: the rows of result.json, drawn as ticks.
        colour_of: method -> colour; by default `colours`.

    Returns:
        HTML.
    """
    colour = colour_of or colours([summary["method"] for summary in summaries])
    panels = ""
    for title, unit, scale, hollow, filled in OVERVIEW_PANELS:
        dots, values = [], []
        for summary in summaries:
            start = mean_of(summary, hollow) if hollow else None
            end = mean_of(summary, filled)
            seeds = [
                scale * value
                for row in rows
                if row["method"] == summary["method"]
                and (value := as_number(row.get(filled))) is not None
                and math.isfinite(value)
            ]
            seeds = seeds if len(seeds) > 1 else []
            values += [scale * value for value in (start, end) if value is not None] + seeds
            dots.append(
                Dots(
                    summary["method"] + (" *" if summary["degraded"] else ""),
                    colour[summary["method"]],
                    None if end is None else scale * end,
                    None if start is None else scale * start,
                    scale * std_of(summary, filled),
                    scale * std_of(summary, hollow) if hollow else 0.0,
                    tuple(seeds),
                    _change(start, end) if filled == "explanation_loss_end" else "",
                )
            )
        if not values:
            panels += _panel(title, "not measured", "")
            continue
        low, high, log = overview_bounds(values, filled, scale)
        alt = f"{title}, {unit}: " + "; ".join(
            f"{dot.name} " + " to ".join(significant(value) for value in (dot.hollow, dot.filled) if value is not None)
            for dot in dots
        )
        decimals = 1 if scale == 100.0 else decimals_for([dot.filled for dot in dots])
        chart = dot_chart(dots, alt=alt, bounds=(low, high), log=log, decimals=decimals)
        panels += _panel(title, unit, chart)
    return f'<div class="panels two">{panels}</div>'


def course_chart(maps: Maps, methods: Sequence[str]) -> str:
    """The explanation loss over the steps of the attack, median over the pairs and a 10-90 % band; "" without losses.

    Args:
        maps: the maps of the first seed.
        methods: the methods of the run, in order.

    Returns:
        HTML.
    """
    shown = [method for method in methods if "losses" in maps.methods.get(method, {})]
    if not shown:
        return ""
    colour, mark = colours(methods), marks(methods)
    series, words, ends = [], [], []
    for method in shown:
        losses = LOSS_SCALE * np.asarray(maps.methods[method]["losses"], dtype=np.float64)
        low, median, high = np.quantile(losses, (0.1, 0.5, 0.9), axis=0)
        ends += [median[0], median[-1]]
        words.append(f"{method} {significant(median[0])} → {significant(median[-1])}")
        # Every step of a long attack would be a megabyte of path: 150 places draw the same line.
        places = np.unique(np.linspace(0, median.size - 1, 150).round().astype(int))
        series.append(Series(places, median[places], colour[method], mark[method], (low[places], high[places])))
    log = spans_decades(ends) and min(float(one.band[0].min()) for one in series if one.band) > 0
    chart = line_chart(
        series,
        alt=f"Explanation loss against the step of the attack, median over the pairs: {'; '.join(words)} (1e-7).",
        x_label="step of the attack on the explanation",
        log=log,
        from_zero=not log,
        height=270.0,
    )
    entries = [(word, colour[method], mark[method]) for word, method in zip(words, shown, strict=True)]
    return f'{legend(entries)}<div class="panels">{_panel("Explanation loss to the target", "[1e-7]", chart)}</div>'


def training_panels(metrics: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> str:
    """Loss, accuracies and the SEP term against the epoch; "" where the lines hold none of them.

    Args:
        metrics: the lines of metrics.jsonl.
        methods: the methods of the run, in order.

    Returns:
        HTML.
    """
    colour, mark = colours(methods), marks(methods)

    def series_of(key: str, scale: float, chosen: Sequence[str], dotted: bool = False) -> list[Series]:
        found = []
        for method in chosen:
            seeds = by_epoch(metrics, method, key)
            if seeds:
                epochs, mean = mean_over_seeds(seeds)
                several = len(seeds) > 1 and not dotted
                thin = tuple((x, scale * y) for x, y in seeds.values()) if several else ()
                found.append(Series(epochs, scale * mean, colour[method], mark[method], None, thin, dotted))
        return found

    panels = ""
    for key, title, unit, scale, logarithmic in TRAINING_PANELS:
        series = series_of(key, scale, methods)
        if key == "cross_entropy":
            series += series_of("loss", 1.0, [m for m in methods if by_epoch(metrics, m, "sep_penalty")], dotted=True)
        values = np.concatenate([one.y for one in series]) if series else np.array([])
        if not np.isfinite(values).any():
            continue
        positive = bool((values[np.isfinite(values)] > 0).all())
        names = ", ".join(method for method in methods if by_epoch(metrics, method, key))
        chart = line_chart(
            series,
            alt=f"{title}, {unit}, against the epoch, for {names}.",
            x_label="epoch",
            log=logarithmic and positive,
        )
        panels += _panel(title, unit, chart)
    if not panels:
        return ""
    seen = [method for method in methods if any(line["method"] == method for line in metrics)]
    return f'{method_legend(seen, methods)}<div class="panels">{panels}</div>'
