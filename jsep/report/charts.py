"""The chart types of all reports: lines with bands, dots with intervals, matrices, contours."""

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from jsep.plot import draw
from jsep.report.style import FIXED_INK, INK, PAPER, SOFT, WIDTH_INCHES, drawing, in_two_lines, new_figure, plain

Ends = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]


@dataclasses.dataclass(frozen=True)
class Line:
    """A line, or marks alone where style is ""; NaN in y is a gap.

    label: in the legend of its panel, "" for none; band: (low, high) around it; thin: further lines in its colour;
    errors: (low, high) of each mark; hollow: marks without filling; every: spacing of the marks, in points.
    """

    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    colour: str
    mark: str = ""
    style: Any = "-"
    label: str = ""
    band: Ends | None = None
    thin: Sequence[Ends] = ()
    errors: Ends | None = None
    hollow: bool = False
    width: float = 1.8
    size: float = 4.5
    every: int | None = None


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes. adjust: sets everything else on them, such as scales, limits and ticks."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    adjust: Callable[[Axes], None] | None = None


@dataclasses.dataclass(frozen=True)
class Key:
    """An entry of the legend of a whole figure."""

    label: str
    colour: str = SOFT
    mark: str = ""
    style: Any = ""
    hollow: bool = False


def line_chart(
    panels: Sequence[Panel],
    *,
    keys: Sequence[Key] = (),
    columns: int = 3,
    height: float = 2.5,
    width: float = WIDTH_INCHES,
    share: str = "",
) -> Figure:
    """Panels in rows of `columns`; height: of a row, in inches; share: the axes shared by all panels, of "xy"."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with drawing():
        figure = new_figure(0.5 + height * rows, width)
        grid = figure.subplots(rows, columns, squeeze=False, sharex="x" in share, sharey="y" in share)
        for axes, panel in zip(grid.flat, panels, strict=False):
            for line in panel.lines:
                _draw_line(axes, line)
            axes.set_title(panel.title)
            axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
            axes.tick_params(labelbottom=True)
            if panel.adjust is not None:
                panel.adjust(axes)
            if any(line.label for line in panel.lines):
                axes.legend(loc="best", fontsize=8)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        if "y" in share:  # only the first panel of a row has a y label
            for axes in grid[:, 1:].flat:
                axes.set_ylabel("")
        _legend(figure, keys)
    return figure


def _draw_line(axes: Axes, line: Line) -> None:
    if line.band is not None:
        axes.fill_between(line.x, *line.band, color=line.colour, alpha=0.15, linewidth=0)
    for x, y in line.thin:
        axes.plot(x, y, color=line.colour, linewidth=0.6, alpha=0.4, marker="." if len(x) == 1 else None)
    face = PAPER if line.hollow else line.colour
    if line.errors is not None:
        y, low, high = (np.asarray(values, float) for values in (line.y, *line.errors))
        # The intervals of degraded models would stretch the axes: the means set the limits.
        bars = np.nan_to_num(np.abs(np.array([y - low, high - y])))
        axes.errorbar(line.x, y, bars, fmt="none", ecolor=line.colour, elinewidth=1.0, capsize=2)
    axes.plot(
        line.x, line.y, color=line.colour, linestyle=line.style or "none", linewidth=line.width,
        marker=line.mark or None, markersize=line.size, markerfacecolor=face, markevery=line.every,
        label=plain(line.label) or None,
    )  # fmt: skip


def _legend(figure: Figure, keys: Sequence[Key], columns: int = 7) -> None:
    handles = [
        Line2D(
            [], [], color=key.colour, marker=key.mark or None, linestyle=key.style or "none", markersize=5,
            markerfacecolor=PAPER if key.hollow else key.colour, label=plain(key.label),
        )
        for key in keys
    ]  # fmt: skip
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=min(columns, len(handles)))


@dataclasses.dataclass(frozen=True)
class Dot:
    """A value with its interval; shift: offset below the middle of its row."""

    value: float
    low: float = math.nan
    high: float = math.nan
    colour: str = INK
    mark: str = "o"
    hollow: bool = False
    shift: float = 0.0


@dataclasses.dataclass(frozen=True)
class DotRow:
    """One row of a panel. seeds: values of single seeds, as small ticks below; joined: whether a line joins the first
    dot to the last; remark: text above the middle of that line; level: reference values, as vertical strokes."""

    dots: Sequence[Dot] = ()
    seeds: Sequence[float] = ()
    joined: bool = False
    remark: str = ""
    level: Sequence[float] = ()


@dataclasses.dataclass(frozen=True)
class DotPanel:
    """rows: one for each name of the chart; limits: of the axis; zero: whether 0 is marked."""

    title: str
    label: str
    rows: Sequence[DotRow]
    limits: tuple[float, float] | None = None
    logarithmic: bool = False
    zero: bool = False


def dot_chart(
    names: Sequence[str],
    panels: Sequence[DotPanel],
    *,
    keys: Sequence[Key] = (),
    footnote: str = "",
    columns: int = 4,
    row_height: float = 0.46,
    wide_first: float = 1.45,
    width: float = WIDTH_INCHES,
) -> Figure:
    """Dots with intervals: one row for each name in every panel; footnote: one line below the figure;
    width: in inches."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with drawing():
        figure = new_figure(0.3 + rows * (0.95 + row_height * len(names)) + (0.3 if keys else 0.0), width)
        widths = [wide_first, *[1.0] * (columns - 1)]
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False, width_ratios=widths)
        for axes, panel in zip(grid.flat, panels, strict=False):
            _draw_dots(axes, panel)
            axes.set_title(panel.title, fontsize=9)
            axes.set(xlabel=panel.label, ylim=(len(names) - 0.5, -0.5))
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
            if not panel.logarithmic:
                axes.locator_params(axis="x", nbins=5 if columns < 5 else 3)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_yticks(range(len(names)), [plain(name, 48) for name in names])
        _legend(figure, keys)
        if footnote:
            figure.supxlabel(footnote, fontsize=8)
    return figure


def _draw_dots(axes: Axes, panel: DotPanel) -> None:
    if panel.logarithmic:
        axes.set_xscale("log")
    if panel.zero:
        axes.axvline(0, color=SOFT, linewidth=0.8)
    if not any(row.dots for row in panel.rows):
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color=SOFT)
        return
    for height, row in enumerate(panel.rows):
        if row.joined and len(row.dots) > 1:
            ends = [row.dots[0].value, row.dots[-1].value]
            axes.plot(ends, [height] * 2, color=row.dots[-1].colour, linewidth=1.4, alpha=0.45, zorder=2)
            if row.remark:
                positive = panel.logarithmic and min(ends) > 0
                middle = math.sqrt(ends[0] * ends[1]) if positive else sum(ends) / 2
                place: dict[str, Any] = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
                axes.annotate(row.remark, (middle, height), fontsize=8, **place)
        for dot in row.dots:
            face = PAPER if dot.hollow else dot.colour
            bars = None if math.isnan(dot.low) else [[dot.value - dot.low], [dot.high - dot.value]]
            axes.errorbar(
                dot.value, height + dot.shift, xerr=bars, fmt=dot.mark, markersize=6.5, color=dot.colour,
                markerfacecolor=face, markeredgewidth=1.5, capsize=3, elinewidth=1.4, zorder=4,
            )  # fmt: skip
        if row.dots and row.seeds:
            style: dict[str, Any] = {"color": row.dots[-1].colour, "markersize": 5, "alpha": 0.8}
            axes.plot(row.seeds, [height + 0.28] * len(row.seeds), "|", zorder=3, **style)
        for level in row.level:
            axes.plot([level] * 2, [height - 0.22, height + 0.22], color=INK, linewidth=1.8, zorder=5)
    if panel.limits is not None:
        axes.set_xlim(*panel.limits)


@dataclasses.dataclass(frozen=True)
class Matrix:
    """shade: (rows, columns) values that colour the cells, starting at `low`; texts: what is written in them."""

    title: str
    shade: np.ndarray
    texts: Sequence[Sequence[str]]
    low: float


def matrix_chart(
    matrices: Sequence[Matrix],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    boxed: Collection[tuple[int, int]] = (),
    footnote: str = "",
) -> Figure:
    """Matrices side by side; boxed: (row, column) of the cells to frame."""
    with drawing():
        figure = new_figure(1.5 + 0.42 * len(rows), 10.5)
        grid = figure.subplots(1, len(matrices), sharey=True, squeeze=False)[0]
        for axes, matrix in zip(grid, matrices, strict=True):
            top = 1.25 * float(np.nanmax(matrix.shade))
            axes.imshow(matrix.shade, cmap="Blues", vmin=matrix.low, vmax=top, aspect="auto", interpolation="none")
            for (row, column), shade in np.ndenumerate(matrix.shade):
                ink = draw.ON_COLOURS if (shade - matrix.low) / (top - matrix.low) > 0.6 else FIXED_INK
                text = matrix.texts[row][column]
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color=ink)
            for row, column in boxed:
                corner = (column - 0.5, row - 0.5)
                axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=FIXED_INK, linewidth=1.4))
            axes.set_title(matrix.title)
            axes.set_xticks(range(len(columns)), [plain(name, 22) for name in columns], rotation=30, ha="right")
            axes.grid(visible=False)
        grid[0].set_yticks(range(len(rows)), [plain(name, 40) for name in rows])
        figure.supxlabel(footnote, fontsize=8)
    return figure


def contour_chart(
    planes: Mapping[str, np.ndarray], places: np.ndarray, *, x_label: str, y_label: str, colour_label: str
) -> Figure:
    """Contour plots of planes side by side on one colour scale, with a cross at the centre.

    Args: planes: name -> (x, y) values, masked where missing; places: coordinates of the rows and columns.
    """
    low, high = (float(function([function(plane) for plane in planes.values()])) for function in (np.min, np.max))
    levels = np.linspace(low, high if high > low else low + 1.0, 13)
    with drawing():
        figure = new_figure(3.1)
        grid = figure.subplots(1, len(planes), sharey=True, squeeze=False)[0]
        for axes, (name, plane) in zip(grid, planes.items(), strict=True):
            shown = draw.plane(axes, places, plane, levels)
            axes.set(title=in_two_lines(name, 22), xlabel=x_label)
        grid[0].set_ylabel(y_label)
        figure.colorbar(shown, ax=list(grid), label=colour_label, shrink=0.85)
    return figure
