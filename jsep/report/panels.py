"""The figures of images and maps: the maps of the methods side by side, and the attack on single pairs."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jsep.report.columns import LOSS_SCALE, significant
from jsep.report.records import Maps
from jsep.report.style import drawing, new_figure, plain

_MAP_COLOURS = "magma"
_DIFFERENCE_COLOURS = "PuOr"
_LOST = "#b23a00"


def first_of_each_class(labels: np.ndarray, images: np.ndarray, count: int) -> list[int]:
    """The first image of each class in turn, then the second; no one picks by the result.

    Args:
        labels: (P,) classes.
        images: (P, H, W, C); an image that came before is left out.
        count: how many at most.

    Returns:
        Places of different images, in their order.
    """
    seen_per_class: dict[int, int] = {}
    seen_images: set[bytes] = set()
    ranked = []
    for index, label in enumerate(labels.tolist()):
        image = images[index].tobytes()
        if image in seen_images:
            continue
        seen_images.add(image)
        seen_per_class[label] = seen_per_class.get(label, 0) + 1
        ranked.append((seen_per_class[label], index))
    return sorted(index for _, index in sorted(ranked)[:count])


def choose_pairs(maps: Maps, count: int) -> list[int]:
    """The pairs to show, `count` at most: those with the first victims of each class."""
    return first_of_each_class(maps.victim_labels, maps.victim_images, count)


def effective_pixels(explanation: np.ndarray) -> float:
    """1 / sum of squares of a map that sums to 1."""
    total = float(np.sum(np.square(explanation, dtype=np.float64)))
    return 1.0 / total if total > 0 else math.nan


def loss(map_a: np.ndarray, map_b: np.ndarray) -> float:
    """The mean squared difference of two maps."""
    return float(np.mean(np.square(np.asarray(map_a, dtype=np.float64) - map_b)))


@dataclasses.dataclass(frozen=True)
class Grid:
    """Square cells of a fixed size in inches, with room for text: faster than an automatic layout."""

    figure: Figure
    cell: float
    step_x: float
    step_y: float
    left: float
    top: float

    def axes(self, row: int, column: float) -> Axes:
        width, height = self.figure.get_size_inches()
        x = self.left + column * self.step_x
        y = height - self.top - row * self.step_y - self.cell
        axes = self.figure.add_axes((x / width, y / height, self.cell / width, self.cell / height))
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set(visible=True, linewidth=0.6, color="#888888")
        return axes

    def colour_bar(
        self, row: int, column: float, mappable: ScalarMappable, label: str = "", num_ticks: int = 4
    ) -> None:
        width, height = self.figure.get_size_inches()
        x = self.left + column * self.step_x
        y = height - self.top - row * self.step_y - self.cell
        axes = self.figure.add_axes((x / width, y / height, 0.09 / width, self.cell / height))
        bar = self.figure.colorbar(mappable, cax=axes)
        bar.outline.set_linewidth(0.5)
        axes.tick_params(labelsize=6.5, width=0.5, length=2, pad=1.5)
        axes.grid(visible=False)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=num_ticks))
        axes.set_ylabel(label, fontsize=7)


def make_grid(
    rows: int,
    columns: int,
    *,
    left: float,
    right: float,
    top: float,
    gap_x: float,
    text: float,
    width: float = 9.6,
) -> Grid:
    step_x = (width - left - right) / columns
    # Few columns would give huge cells: a cell is at most 1.25 inches.
    cell = min(step_x - gap_x, 1.25)
    step_x = cell + gap_x
    step_y = cell + text
    figure = new_figure(top + rows * step_y + 0.05, left + right + columns * step_x, layout=None)
    return Grid(figure, cell, step_x, step_y, left, top)


def show_image(axes: Axes, image: np.ndarray) -> None:
    image = np.clip(np.asarray(image, dtype=np.float32), 0.0, 1.0)
    if image.shape[-1] == 1:
        axes.imshow(image[..., 0], cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    else:
        axes.imshow(image, interpolation="nearest")


def show_map(axes: Axes, explanation: np.ndarray, norm: PowerNorm) -> ScalarMappable:
    return axes.imshow(
        100.0 * np.asarray(explanation, dtype=np.float64),
        cmap=_MAP_COLOURS,
        norm=norm,
        interpolation="nearest",
    )


def map_norm(explanations: Sequence[np.ndarray]) -> PowerNorm:
    """One scale for the maps of a row, in %; by the square root, since a few pixels hold most of a map."""
    largest = max(float(np.nanmax(explanation)) for explanation in explanations)
    return PowerNorm(0.5, vmin=0.0, vmax=100.0 * largest if largest > 0 else 1.0)


def explanations(maps: Maps, methods: Sequence[str], *, num_rows: int = 6) -> Figure:
    """Images in the rows; in the columns the image and the map of each method (Figure 4 of the paper).

    Args:
        maps: the maps of the first seed.
        methods: the methods of the run, in order.
        num_rows: how many images at most.

    Returns:
        The figure.
    """
    shown = [method for method in methods if method in maps.methods]
    chosen = choose_pairs(maps, num_rows)
    with drawing():
        grid = make_grid(len(chosen), 1 + len(shown), left=0.1, right=0.55, top=0.34, gap_x=0.14, text=0.33)
        for row, index in enumerate(chosen):
            axes = grid.axes(row, 0)
            show_image(axes, maps.victim_images[index])
            axes.set_xlabel(plain(maps.class_name(int(maps.victim_labels[index])), 18), fontsize=8.5, labelpad=3)
            if row == 0:
                axes.set_title("image", loc="center", fontsize=9)
            norm = map_norm([maps.methods[method]["victim_map"][index] for method in shown])
            for column, method in enumerate(shown, start=1):
                explanation = maps.methods[method]["victim_map"][index]
                axes = grid.axes(row, column)
                mappable = show_map(axes, explanation, norm)
                axes.set_xlabel(f"{effective_pixels(explanation):.1f} eff. px", fontsize=8.5, labelpad=3)
                if row == 0:
                    axes.set_title(plain(method, 14), loc="center", fontsize=9 if len(shown) < 7 else 7)
            grid.colour_bar(row, 1 + len(shown), mappable, "% of map")
    return grid.figure


def difference_limit(maps: Maps, chosen: Sequence[int]) -> float:
    """The largest change of a pixel (mean over channels), over all methods and the chosen pairs."""
    largest = max(
        float(np.nanmax(np.abs(_difference(maps, method, index)))) for method in maps.methods for index in chosen
    )
    return largest if largest > 0 and math.isfinite(largest) else 1.0 / 255.0


def _difference(maps: Maps, method: str, index: int) -> np.ndarray:
    change = np.asarray(maps.methods[method]["manipulated"][index], dtype=np.float64) - maps.victim_images[index]
    return change.mean(axis=-1)


def _largest_change(maps: Maps, method: str, index: int) -> float:
    """The largest change of a single channel of a pixel: what an attack inside a linf ball is bounded by."""
    return float(
        np.nanmax(
            np.abs(np.asarray(maps.methods[method]["manipulated"][index], dtype=np.float64) - maps.victim_images[index])
        )
    )


def attack_panel(maps: Maps, method: str, *, num_rows: int = 4) -> Figure:
    """The attack on the maps of one method (Figure 1a of the paper): images, amplified difference, maps.

    Args:
        maps: the maps of the first seed.
        method: whose maps.
        num_rows: how many pairs at most; every method shows the same ones.

    Returns:
        The figure.
    """
    own = maps.methods[method]
    chosen = choose_pairs(maps, num_rows)
    limit = difference_limit(maps, chosen)
    titles = (
        "victim",
        "target",
        "manipulated",
        f"difference ×{1 / limit:.3g}",
        "map of victim",
        "map of target",
        "map after attack",
    )
    with drawing():
        grid = make_grid(len(chosen), len(titles), left=0.08, right=1.08, top=0.3, gap_x=0.12, text=0.5)
        # The difference has its own colour bar, so the maps stand a little further right.
        shift = 0.42 / grid.step_x
        for row, index in enumerate(chosen):
            victim, target, manipulated = (own[key][index] for key in ("victim_map", "target_map", "manipulated_map"))
            norm = map_norm([victim, target, manipulated])
            change = _difference(maps, method, index)
            before, after = loss(victim, target), loss(manipulated, target)
            removed = f"({100 * (after - before) / before:+.0f} %)".replace("-", "−") if before > 0 else ""
            texts = (
                plain(maps.class_name(int(maps.victim_labels[index])), 16),
                plain(maps.class_name(int(maps.target_labels[index])), 16),
                _prediction(maps, method, index),
                f"largest change {_largest_change(maps, method, index):.2g}",
                f"loss {significant(LOSS_SCALE * before)}\nto the target",
                "",
                f"loss {significant(LOSS_SCALE * after)}\n{removed}",
            )
            images = (maps.victim_images[index], maps.target_images[index], own["manipulated"][index])
            for column, (title, text) in enumerate(zip(titles, texts, strict=True)):
                axes = grid.axes(row, column + (shift if column > 3 else 0.0))
                if column < 3:
                    show_image(axes, images[column])
                elif column == 3:
                    changes = axes.imshow(
                        change, cmap=_DIFFERENCE_COLOURS, vmin=-limit, vmax=limit, interpolation="nearest"
                    )
                    grid.colour_bar(row, 4 - 0.06 / grid.step_x, changes)
                else:
                    scale = show_map(axes, (victim, target, manipulated)[column - 4], norm)
                if row == 0:
                    axes.set_title(title, loc="center", fontsize=8.5)
                axes.set_xlabel(text, fontsize=8, labelpad=3, color=_LOST if "\nwas " in text else "#1a1a1a")
            grid.colour_bar(row, len(titles) + shift - 0.04 / grid.step_x, scale, "% of map")
    return grid.figure


def _prediction(maps: Maps, method: str, index: int) -> str:
    """What is predicted for the manipulated image, and whether the attack kept the prediction."""
    own = maps.methods[method]
    if "manipulated_predicted" not in own:
        return ""
    after = int(own["manipulated_predicted"][index])
    name = plain(maps.class_name(after), 14)
    if "predicted" not in own:
        return f"predicted {name}"
    before = int(own["predicted"][index])
    return (
        f"{name}\nprediction kept"
        if after == before
        else f"{name} predicted,\nwas {plain(maps.class_name(before), 14)}"
    )
