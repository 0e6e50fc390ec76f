"""The figures with axes: training curves, the course of the attack, and the answer at one look."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jsep.record import as_number, mean_of, std_of
from jsep.report.columns import LOSS_SCALE, significant
from jsep.report.records import Maps
from jsep.report.style import colours, drawing, marks, new_figure, plain

_LOG_RANGE = 20.0
"""From this ratio of largest to smallest value on, an axis is logarithmic."""

# (metric, title, unit, scale, logarithmic)
TRAINING_PANELS = (
    ("cross_entropy", "Training loss", "cross-entropy [nats]", 1.0, False),
    ("accuracy", "Training, under attack", "accuracy [%]", 100.0, False),
    ("validation_clean_accuracy", "Validation, clean", "accuracy [%]", 100.0, False),
    ("validation_robust_accuracy", "Validation, under attack", "accuracy [%]", 100.0, False),
    ("sep_penalty", "SEP term", "mean (I(x+ζ) − I(x))²", 1.0, True),
    ("sep_gradient_ratio", "Pull of the SEP term", "ratio of gradient norms", 1.0, True),
)


def by_epoch(metrics: Sequence[Mapping[str, Any]], method: str, key: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per seed the epochs and the mean of one metric over the lines of each epoch."""
    values: dict[str, dict[float, list[float]]] = {}
    for line in metrics:
        epoch, value = as_number(line.get("epoch")), as_number(line.get(key))
        if line["method"] == method and epoch is not None and value is not None:
            values.setdefault(str(line.get("seed")), {}).setdefault(epoch, []).append(value)
    return {
        seed: (np.array(sorted(epochs)), np.array([np.mean(epochs[epoch]) for epoch in sorted(epochs)]))
        for seed, epochs in values.items()
    }


def mean_over_seeds(seeds: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The epochs and the mean of the seeds there; a seed that stopped early must not bend it, so NaN from then on."""
    epochs = np.unique(np.concatenate([own for own, _ in seeds.values()]))
    table = np.full((len(seeds), epochs.size), np.nan)
    for row, (own, values) in zip(table, seeds.values(), strict=True):
        row[np.searchsorted(epochs, own)] = values
    return epochs, np.where(np.isnan(table).any(axis=0), np.nan, table.sum(axis=0) / len(seeds))


def _draw_metric(
    axes: Axes,
    metrics: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    key: str,
    scale: float,
    dotted: bool = False,
) -> bool:
    """One line a method (mean over seeds) and one thin line a seed; False where there is nothing to draw."""
    colour, mark = colours(methods), marks(methods)
    drawn = False
    for method in methods:
        seeds = by_epoch(metrics, method, key)
        if not seeds:
            continue
        drawn = True
        for own, values in seeds.values():
            if len(seeds) > 1 and not dotted:
                point = "." if own.size == 1 else None
                axes.plot(own, scale * values, color=colour[method], linewidth=0.7, alpha=0.4, marker=point)
        epochs, mean = mean_over_seeds(seeds)
        axes.plot(
            epochs,
            scale * mean,
            color=colour[method],
            marker=None if dotted else mark[method],
            markersize=4,
            markevery=max(1, epochs.size // 6),
            linestyle=":" if dotted else "-",
            linewidth=1.2 if dotted else 1.8,
        )
    return drawn


def training_curves(metrics: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> Figure | None:
    """Loss, accuracies and the SEP term against the epoch.

    Args:
        metrics: the lines of metrics.jsonl.
        methods: the methods of the run, in order.

    Returns:
        The figure, or None where the lines hold none of the metrics.
    """
    panels = [panel for panel in TRAINING_PANELS if any(as_number(line.get(panel[0])) is not None for line in metrics)]
    if not panels:
        return None
    with drawing():
        columns = min(3, len(panels))
        rows = -(-len(panels) // columns)
        figure = new_figure(0.5 + 2.5 * rows)
        # Shared, so that what was measured once is seen at its epoch.
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for axes, (key, title, label, scale, logarithmic) in zip(grid.flat, panels, strict=False):
            _draw_metric(axes, metrics, methods, key, scale)
            if key == "cross_entropy":
                with_sep = [method for method in methods if by_epoch(metrics, method, "sep_penalty")]
                lines = [line for line in metrics if line["method"] in with_sep]
                if _draw_metric(axes, lines, methods, "loss", 1.0, dotted=True):
                    axes.plot([], [], ":", color="#555555", linewidth=1.2, label="with the SEP term")
                    axes.legend(loc="upper right", fontsize=8)
            positive = all(not value <= 0 for line in metrics if (value := as_number(line.get(key))) is not None)
            if logarithmic and positive:
                axes.set_yscale("log")
            axes.set(title=title, xlabel="epoch", ylabel=label)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.tick_params(labelbottom=True)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        seen = [method for method in methods if any(line["method"] == method for line in metrics)]
        figure.legend(handles=_handles(seen, methods), loc="outside upper center", ncols=min(6, len(seen)))
    return figure


def _handles(seen: Sequence[str], methods: Sequence[str]) -> list[Line2D]:
    colour, mark = colours(methods), marks(methods)
    return [
        Line2D([], [], color=colour[method], marker=mark[method], markersize=5, label=plain(method)) for method in seen
    ]


def attack_course(maps: Maps, methods: Sequence[str]) -> Figure | None:
    """The explanation loss over the steps of the attack: median over the pairs, with a 10-90 % band.

    Args:
        maps: the maps of the first seed.
        methods: the methods of the run, in order.

    Returns:
        The figure, or None where no method has losses.
    """
    shown = [method for method in methods if "losses" in maps.methods.get(method, {})]
    if not shown:
        return None
    colour, mark = colours(methods), marks(methods)
    with drawing():
        figure = new_figure(4.2)
        axes = figure.subplots()
        medians = []
        for method in shown:
            losses = LOSS_SCALE * np.asarray(maps.methods[method]["losses"], dtype=np.float64)
            steps = np.arange(losses.shape[1])
            low, median, high = np.quantile(losses, (0.1, 0.5, 0.9), axis=0)
            medians += [median[0], median[-1]]
            axes.fill_between(steps, low, high, color=colour[method], alpha=0.13, linewidth=0)
            axes.plot(
                steps,
                median,
                color=colour[method],
                marker=mark[method],
                markevery=max(1, steps.size // 8),
                markersize=5,
                label=f"{plain(method)}: {significant(median[0])} → {significant(median[-1])}",
            )
        if spans_decades(medians):
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set(xlabel="step of the attack on the explanation", ylabel="explanation loss to the target [1e-7]")
        axes.margins(x=0.01)
        axes.legend(title="median over the pairs, start → end", loc="upper right", alignment="left")
    return figure


def spans_decades(values: Sequence[float]) -> bool:
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) > _LOG_RANGE


# (title, unit, scale, metric of the hollow mark, metric of the filled mark)
OVERVIEW_PANELS = (
    ("Explanation loss", "○ start  ● end  [1e-7]", LOSS_SCALE, "explanation_loss_start", "explanation_loss_end"),
    ("Accuracy", "○ clean  ● robust  [%]", 100.0, "clean_accuracy", "robust_accuracy"),
    ("Confound: size of map", "effective pixels", 1.0, None, "effective_pixels"),
    ("Free of scale: cosine", "○ start  ● end", 1.0, "cosine_start", "cosine_end"),
)


def overview(summaries: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Figure:
    """The answer at one look: loss at start and end, robust accuracy, and the confounds, a line a method.

    Args:
        summaries: the methods, as `summarise` gives them.
        rows: the rows of result.json, drawn as small points.

    Returns:
        The figure.
    """
    methods = [summary["method"] for summary in summaries]
    with drawing():
        figure = new_figure(1.35 + 0.46 * len(methods))
        grid = figure.subplots(1, len(OVERVIEW_PANELS), sharey=True, gridspec_kw={"width_ratios": (1.45, 1, 1, 1)})
        for axes, (title, label, scale, hollow, filled) in zip(grid, OVERVIEW_PANELS, strict=True):
            _draw_overview(axes, summaries, rows, scale, hollow, filled)
            axes.set(title=title, xlabel=label, ylim=(len(methods) - 0.5, -0.5))
            axes.grid(visible=False, axis="y")
        grid[0].set_yticks(
            range(len(methods)), [plain(s["method"], 24) + (" *" if s["degraded"] else "") for s in summaries]
        )
        grid[0].tick_params(axis="y", labelsize=9.5, length=0)
        for axes in grid[1:]:
            axes.tick_params(axis="y", length=0, labelleft=False)
        figure.align_xlabels()
        if any(summary["degraded"] for summary in summaries):
            figure.supxlabel("* degraded model: its explanation loss is no sign of robustness", fontsize=8)
    return figure


def _draw_overview(
    axes: Axes,
    summaries: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    scale: float,
    hollow: str | None,
    filled: str,
) -> None:
    methods = [summary["method"] for summary in summaries]
    colour = colours(methods)
    values: list[float] = []
    for height, summary in enumerate(summaries):
        method = summary["method"]
        end = mean_of(summary, filled)
        start = mean_of(summary, hollow) if hollow else None
        if start is not None and end is not None:
            axes.plot(
                [scale * start, scale * end],
                [height, height],
                color=colour[method],
                linewidth=1.4,
                alpha=0.45,
                zorder=2,
            )
        for key, mean, face in ((hollow, start, "white"), (filled, end, colour[method])):
            if key is None or mean is None:
                continue
            axes.errorbar(
                scale * mean,
                height,
                xerr=scale * std_of(summary, key),
                fmt="o",
                markersize=7,
                color=colour[method],
                markerfacecolor=face,
                markeredgewidth=1.5,
                capsize=3.5,
                elinewidth=1.4,
                zorder=4,
            )
            single = [
                scale * value
                for row in rows
                if row["method"] == method and (value := as_number(row.get(key))) is not None
            ]
            if len(single) > 1:
                axes.plot(
                    single,
                    [height + 0.24] * len(single),
                    "|",
                    color=colour[method],
                    markersize=5,
                    alpha=0.8,
                    zorder=3,
                )
            values += [scale * mean, *(value for value in single if math.isfinite(value))]
        if start is not None and end is not None and filled == "explanation_loss_end" and start > 0:
            axes.annotate(
                f"{100 * (end - start) / start:+.0f} %".replace("-", "−"),
                (
                    scale * math.sqrt(abs(start * end)) if spans_decades(values) else scale * (start + end) / 2,
                    height,
                ),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    if not values:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color="#777777")
        return
    low, high, log = overview_bounds(values, filled, scale)
    if log:
        axes.set_xscale("log")
    axes.set_xlim(low, high)


def overview_bounds(values: Sequence[float], filled: str, scale: float) -> tuple[float, float, bool]:
    """The ends of an axis of the overview, and whether it is logarithmic; values are already scaled."""
    smallest, largest = min(values), max(values)
    # Accuracies and cosines are shares: on a logarithmic axis 1 and 10 % would look as far apart as 10 and 100 %.
    if filled in ("explanation_loss_end", "effective_pixels"):
        if spans_decades(values):
            margin = (largest / smallest) ** 0.12
            return smallest / margin, largest * margin, True
        return 0.0, 1.14 * largest or 1.0, False
    # These need no zero, but a small difference must not fill the axis: it spans a fifth of its range.
    middle, half = (largest + smallest) / 2, max(0.6 * (largest - smallest), 0.1 * scale)
    return middle - half, middle + half, False
