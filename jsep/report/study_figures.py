"""The figures of a study: the overview, the split of the loss, maps, the course of the attack, training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jsep.evaluate import LOSS_UNIT, METRICS
from jsep.record import as_number, mean_curve, mean_of, pixels_of_maps, readable, std_of, summarise, values_by_epoch
from jsep.record.run_files import Run
from jsep.report import shown
from jsep.report.charts import Dot, DotPanel, DotRow, Key, Line, Panel, dot_chart, line_chart
from jsep.report.formatting import DEGRADED_MARK, minus, significant
from jsep.report.map_figures import map_figures
from jsep.report.style import NamedFigure, colours, marks, spans_decades

Rows = Sequence[Mapping[str, Any]]

_DEGRADED = "* degraded model: its explanation loss is no sign of robustness"


def study_figures(run: Run) -> list[NamedFigure]:
    """Every figure that the files of a run allow, in the order of the page."""
    rows = run.result["rows"]
    summaries, pixels = summarise(rows), pixels_of_maps(run.result)
    methods = [summary["method"] for summary in summaries]
    names = "; ".join(map(readable, methods))
    seeds = max(summary["num_seeds"] for summary in summaries)
    spread = (
        f"bars: one standard deviation over {seeds} seeds; ticks below: the single seeds"
        if seeds > 1
        else "one seed, so no error bars"
    )
    found = [
        NamedFigure(
            "overview",
            "The answer at one look",
            f"Dot chart of {overview_words(summaries, pixels)}.",
            "What to look for: whether the end of the explanation loss moves while the robust accuracy "
            "does not. Hollow: before the attack (clean accuracy); filled: after it (robust accuracy); "
            f"{spread}. The percentage is the change from start to end. The third panel shows what confounds "
            "the loss: a map on fewer effective pixels has a higher loss against any target. The fourth, the "
            "cosine, tells how close the attack came whatever the size of the loss.",
            overview(summaries, rows, pixels),
        )
    ]
    figure = loss_and_chance(summaries, pixels)
    if figure is not None:
        found.append(
            NamedFigure(
                "split",
                "Harder to manipulate, or only more concentrated?",
                "Dot chart of the explanation loss, the loss by chance and 1 − concordance, at start and end, for "
                f"{names}; "
                "the numbers are those of the table of concentration and overlap.",
                "Left: the explanation loss before the attack (hollow) and after it (filled), and as upright strokes "
                "the "
                "loss by chance: that of the same maps with their pixels permuted, which grows as maps concentrate. "
                "Right: 1 − concordance of the two maps (Lin 1989), which is free of that: 1 for maps as far apart as "
                "unrelated ones, 0 for equal ones. A method that only concentrates its maps moves on the left and "
                "stays "
                "on the right; one that is harder to manipulate keeps a higher 1 − concordance at the end.",
                figure,
            )
        )
    if run.maps is not None:
        found += map_figures(run.maps, methods)
    figure = training_curves(run.metrics, methods)
    if figure is not None:
        found.append(
            NamedFigure(
                "training",
                "Training",
                f"Curves against the epoch for {names}: training loss, accuracy under attack, validation "
                "accuracies and, for the methods with a SEP term, the term and its gradient ratio.",
                "Thick: mean over the seeds; thin: single seeds; dotted: the loss with the SEP term. Training values "
                "are "
                "means over an epoch, measured on the adversarial batch. The SEP term is the mean squared change of "
                "the "
                "map under noise ζ; the last panel is the norm of its weighted gradient over that of the adversarial "
                "loss: far below 1 the term hardly steers training, far above 1 it drowns the classification.",
                figure,
            )
        )
    return found


def overview_words(summaries: Rows, num_pixels: int | None) -> str:
    """The numbers of the overview as alternative text. Args: num_pixels: N of the maps, None where unknown."""
    parts = []
    for panel in shown.OVERVIEW:
        scale = METRICS[panel.after].of_maps(num_pixels).scale
        values = []
        for summary in summaries:
            ends = [mean_of(summary, key) for key in (panel.before, panel.after) if key]
            known = " to ".join(significant(scale * value) for value in ends if value is not None)
            values.append(f"{readable(summary['method'])} {known or 'not measured'}")
        parts.append(f"{panel.title} ({panel.label}): {'; '.join(values)}")
    return "; ".join(parts)


def overview(
    summaries: Rows,
    rows: Rows,
    num_pixels: int | None,
    colour_of: Mapping[str, str] | None = None,
    width: float = 5.6,
) -> Figure:
    """The overview: loss at start and end, accuracies, and the confounders, one row for each method.

    Args: summaries: one for each method, from `summarise`; rows: of result.json, drawn as ticks; num_pixels: N of the
      maps, None where unknown; colour_of: method -> colour, by default `colours`; width: in inches.
    """
    methods = [summary["method"] for summary in summaries]
    colour = colour_of or colours(methods)
    panels = []
    for ends in shown.OVERVIEW:
        own = [_ends_row(summary, rows, ends, num_pixels, colour[summary["method"]]) for summary in summaries]
        values = [dot.value for row in own for dot in row.dots] + [seed for row in own for seed in row.seeds]
        # The intervals of degraded models would stretch the axes.
        sound = [row for row, summary in zip(own, summaries, strict=True) if not summary["degraded"]]
        values += [end for row in sound for dot in row.dots for end in (dot.low, dot.high) if math.isfinite(end)]
        limits, logarithmic = _limits(values, ends.after) if values else (None, False)
        panels.append(DotPanel(ends.title, ends.label, own, limits, logarithmic))
    starred = [readable(s["method"]) + (DEGRADED_MARK if s["degraded"] else "") for s in summaries]
    footnote = _DEGRADED if any(s["degraded"] for s in summaries) else ""
    return dot_chart(starred, panels, footnote=footnote, columns=2, row_height=0.36, wide_first=1.0, width=width)


def _ends_row(summary: Mapping[str, Any], rows: Rows, ends: shown.Ends, num_pixels: int | None, colour: str) -> DotRow:
    scale = METRICS[ends.after].of_maps(num_pixels).scale
    dots = []
    for key in (ends.before, ends.after):
        mean = mean_of(summary, key) if key else None
        if key and mean is not None:
            deviation = std_of(summary, key)
            low, high = (scale * (mean + sign * deviation) if deviation else math.nan for sign in (-1, 1))
            dots.append(Dot(scale * mean, low, high, colour, hollow=key == ends.before))
    seeds = [as_number(row.get(ends.after)) for row in rows if row["method"] == summary["method"]]
    known = [scale * value for value in seeds if value is not None and math.isfinite(value)]
    remark = ""
    if ends.after == shown.LOSS_END and len(dots) == 2 and dots[0].value > 0:
        remark = minus(f"{100 * (dots[1].value / dots[0].value - 1):+.0f} %")
    return DotRow(dots, known if len(known) > 1 else (), len(dots) == 2, remark)


def _limits(values: Sequence[float], metric: str) -> tuple[tuple[float, float], bool]:
    """Limits of an axis of the overview, and whether it is logarithmic; the values are already in display units."""
    smallest, largest = min(values), max(values)
    # Accuracies and cosines stay linear: on a logarithmic axis 1 and 10 % look as far apart as 10 and 100 %.
    if metric in (shown.LOSS_END, shown.EFFECTIVE_PIXELS):
        if spans_decades(values):
            margin = (largest / smallest) ** 0.12
            return (smallest / margin, largest * margin), True
        return (0.0, 1.14 * largest or 1.0), False
    # No zero needed, but a small difference must not fill the axis: it spans at least a fifth of the metric's range.
    scale = METRICS[metric].scale
    middle, half = (largest + smallest) / 2, max(0.6 * (largest - smallest), 0.1 * scale)
    return (middle - half, middle + half), False


def loss_and_chance(summaries: Rows, num_pixels: int | None) -> Figure | None:
    """The loss at start and end beside the loss by chance, and 1 − concordance; None if no method has them.

    Args: summaries: one for each method, from `summarise`; num_pixels: N of the maps, None where unknown.
    """
    keys = (
        shown.LOSS_START,
        shown.LOSS_END,
        shown.CHANCE_START,
        shown.CHANCE_END,
        shown.ONE_MINUS_CONCORDANCE_START,
        shown.ONE_MINUS_CONCORDANCE_END,
    )
    means = {s["method"]: [mean_of(s, key) for key in keys] for s in summaries}
    known = [s for s in summaries if None not in means[s["method"]]]
    if not known:
        return None
    colour = colours([summary["method"] for summary in summaries])
    scale = METRICS[shown.LOSS_END].of_maps(num_pixels).scale
    names, loss_rows, apart_rows = [], [], []
    for summary in known:
        own = [value for value in means[summary["method"]] if value is not None]
        for place, when in enumerate(("start", "end")):
            names.append(f"{readable(summary['method'])}{DEGRADED_MARK if summary['degraded'] else ''}, {when}")
            style: dict[str, Any] = {"colour": colour[summary["method"]], "hollow": place == 0}
            loss, chance = (scale * own[at + place] for at in (0, 2))
            loss_rows.append(DotRow([Dot(loss, **style)], level=[chance]))
            apart_rows.append(DotRow([Dot(own[4 + place], **style)]))
    losses = [scale * value for own in means.values() for value in own[:4] if value is not None]
    apart = [dot.value for row in apart_rows for dot in row.dots]
    panels = [
        DotPanel(
            "Explanation loss and the loss by chance",
            f"explanation loss [{LOSS_UNIT}]",
            loss_rows,
            (0.0, 1.08 * max(losses)),
        ),
        DotPanel("Free of concentration", "1 − concordance", apart_rows, (0.0, max(1.05, 1.08 * max(apart)))),
    ]
    broken = any(summary["degraded"] for summary in known)
    keys_shown = [Key("start", mark="o", hollow=True), Key("end", mark="o"), Key("loss by chance", mark="|")]
    return dot_chart(
        names, panels, keys=keys_shown, footnote=_DEGRADED if broken else "", columns=2, row_height=0.3, wide_first=1.3
    )


def training_curves(metrics: Rows, methods: Sequence[str]) -> Figure | None:
    """Loss, accuracies and the SEP term against the epoch; None if metrics.jsonl holds none of them."""
    colour, mark = colours(methods), marks(methods)
    panels = []
    for curve in shown.TRAINING:
        lines = []
        for method in methods:
            seeds = values_by_epoch(metrics, method, curve.key)
            if seeds:
                epochs, mean = mean_curve(seeds)
                thin = [(x, curve.scale * y) for x, y in seeds.values()] if len(seeds) > 1 else []
                lines.append(
                    Line(
                        epochs,
                        curve.scale * mean,
                        colour[method],
                        mark[method],
                        thin=thin,
                        every=max(1, len(epochs) // 6),
                    )
                )
        if not lines:
            continue
        if curve is shown.TRAINING[0]:
            for method in methods:
                total = values_by_epoch(metrics, method, shown.TOTAL_LOSS)
                if total and values_by_epoch(metrics, method, shown.PENALTY):
                    lines.append(Line(*mean_curve(total), colour[method], style=":", width=1.2))
        values = np.concatenate([np.asarray(line.y) for line in lines])
        positive = bool((values[np.isfinite(values)] > 0).all())
        panels.append(Panel(curve.title, "epoch", curve.label, lines, _epoch_axes(curve.logarithmic and positive)))
    if not panels:
        return None
    seen = [method for method in methods if any(line["method"] == method for line in metrics)]
    keys = [Key(readable(method), colour[method], mark[method], "-") for method in seen]
    return line_chart(panels, keys=keys, share="x")


def _epoch_axes(logarithmic: bool) -> Any:
    def adjust(axes: Axes) -> None:
        if logarithmic:
            axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))

    return adjust
