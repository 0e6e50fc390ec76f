"""A grid of images and maps with text below them, in square cells of fixed size."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jsep.plot import draw
from jsep.report.style import INK, WIDTH_INCHES, drawing, new_figure, plain

WARNING = "#b23a00"


@dataclasses.dataclass(frozen=True)
class Tile:
    """One cell. pixels: (H, W, C) image in [0, 1], or (H, W) map or change; below: text of one or two lines; warn:
    whether the text reports a failure."""

    pixels: np.ndarray
    kind: Literal["image", "map", "change"]
    below: str = ""
    warn: bool = False


@dataclasses.dataclass(frozen=True)
class Layout:
    """Sizes of the grid, in inches. left: space for the row names; below: for the text below a cell; width: of all
    columns together, each cell being at most `largest`; one_scale: whether all maps share one colour scale, instead of
    one for each row."""

    left: float = 0.1
    top: float = 0.34
    gap: float = 0.13
    below: float = 0.33
    width: float = WIDTH_INCHES
    largest: float = 1.25
    one_scale: bool = False


_BAR = 0.62
"""Width of a colour bar with its numbers, in inches."""


def image_grid(
    rows: Sequence[Sequence[Tile]],
    *,
    titles: Sequence[str],
    names: Sequence[str] = (),
    limit: float = 1.0,
    heading: str = "",
    layout: Layout = Layout(),
) -> Figure:
    """Images as they are, maps in % of the map on a square-root scale, changes on one scale from -limit to limit.

    Args: titles: of the columns; names: of the rows; heading: above the figure.
    """
    has_change = any(tile.kind == "change" for tile in rows[0])
    right = _BAR + (_BAR - 0.1 if has_change else 0.0)
    count = len(titles)
    cell = min((layout.width - layout.left - right) / count - layout.gap, layout.largest)
    step_x, step_y = cell + layout.gap, cell + layout.below
    with drawing():
        figure = new_figure(layout.top + len(rows) * step_y + 0.05, layout.left + right + count * step_x, layout=None)
        width, height = figure.get_size_inches()

        def axes_at(row: int, x: float, wide: float) -> Axes:
            y = height - layout.top - row * step_y - cell
            axes = figure.add_axes((x / width, y / height, wide / width, cell / height))
            return axes

        scale = draw.map_scale([tile.pixels for row in rows for tile in row if tile.kind == "map"])
        for number, row in enumerate(rows):
            own = [tile.pixels for tile in row if tile.kind == "map"]
            norm = scale if layout.one_scale or not own else draw.map_scale(own)
            x = layout.left
            for place, tile in enumerate(row):
                axes = axes_at(number, x, cell)
                shown = _show(axes, tile, norm, limit)
                axes.set_xlabel(tile.below, fontsize=8, labelpad=3, color=WARNING if tile.warn else INK)
                if number == 0 and titles[place]:
                    axes.set_title(titles[place], loc="center", fontsize=8.5)
                if place == 0 and names:
                    axes.set_ylabel(names[number], rotation=0, ha="right", va="center", fontsize=8, labelpad=5)
                x += step_x
                if tile.kind == "change":
                    _bar(figure, axes_at(number, x - layout.gap + 0.06, 0.09), shown)
                    x += _BAR - 0.1
            if own:
                _bar(figure, axes_at(number, x - layout.gap + 0.08, 0.09), shown, "% of map")
        if heading:
            figure.suptitle(heading, fontsize=9, y=1 - 0.08 / height)
    return figure


def _show(axes: Axes, tile: Tile, norm: PowerNorm, limit: float) -> ScalarMappable:
    if tile.kind == "map":
        return draw.explanation(axes, tile.pixels, norm)
    return draw.change(axes, tile.pixels, limit) if tile.kind == "change" else draw.image(axes, tile.pixels)


def _bar(figure: Figure, axes: Axes, shown: ScalarMappable, label: str = "") -> None:
    bar = figure.colorbar(shown, cax=axes)
    bar.outline.set_linewidth(0.5)
    assert bar.solids is not None
    bar.solids.set_rasterized(True)  # else each of its 256 colours is a vector path
    axes.tick_params(labelsize=6.5, width=0.5, length=2, pad=1.5)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.set_ylabel(label, fontsize=7)


def first_of_each_class(
    labels: np.ndarray, images: np.ndarray, count: int, among: np.ndarray | None = None
) -> list[int]:
    """The first image of each class in turn, then the second, and so on: a choice blind to what an attack achieves.

    Args:
        labels: (P,) classes.
        images: (P, H, W, C); repeated images are left out.
        count: how many at most.
        among: (P,) bool, the images to choose from, such as those classified correctly; all where it is nowhere true.

    Returns:
        Indices of different images, in the order chosen.
    """
    seen_per_class: dict[int, int] = {}
    seen_images: set[bytes] = set()
    ranked = []
    if among is None or not np.any(among):
        among = np.ones(len(labels), bool)
    for index in np.flatnonzero(among).tolist():
        label, image = int(labels[index]), images[index].tobytes()
        if image in seen_images:
            continue
        seen_images.add(image)
        seen_per_class[label] = seen_per_class.get(label, 0) + 1
        ranked.append((seen_per_class[label], index))
    return sorted(index for _, index in sorted(ranked)[:count])


def class_words(name: str) -> str:
    """The name of a class as shown in a figure."""
    return plain(name, 16)
