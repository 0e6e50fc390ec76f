"""Figures for a notebook: a map, an attack, several models on one pair of images, a landscape."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from jsep import evaluate
from jsep.checks import InputError
from jsep.evaluate import LOSS_UNIT
from jsep.plot import draw


def _grid(axes: Any, rows: int, columns: int) -> np.ndarray:
    """The axes as an array (rows, columns); new ones where the caller has none."""
    if axes is None:
        import matplotlib.pyplot as plt  # only here: it may open a window

        _, axes = plt.subplots(rows, columns, figsize=(1.9 * columns, 2.15 * rows), squeeze=False, layout="compressed")
    grid = np.atleast_1d(np.asarray(axes, dtype=object))
    if grid.size != rows * columns:
        raise InputError(f"axes: expected {rows} x {columns} = {rows * columns} axes, got {grid.size}")
    return grid.reshape(rows, columns)


def _text(axes: Axes, title: str = "", below: str = "") -> None:
    axes.set_title(title, fontsize=9, loc="center")
    axes.set_xlabel(below, fontsize=8)


def _pixels(explanation: Any) -> str:
    return f"{float(evaluate.effective_pixels(jnp.asarray(explanation))):.1f} effective pixels"


def _loss(explanation: Any, target: Any) -> float:
    """The explanation loss as it is displayed, N²·MSE: free of the size of the image."""
    return np.size(explanation) ** 2 * float(evaluate.explanation_loss(jnp.asarray(explanation), jnp.asarray(target)))


def map(image: Any, maps: Any, *, title: str = "", axes: Any = None) -> np.ndarray:
    """Draws an image and, beside it, its explanation map, or the maps of several methods.

    Args:
        image: (H, W, C) in [0, 1].
        maps: (H, W), or several as {name: map}; all on one colour scale, with their effective pixels below.
        title: above the image, such as the prediction.
        axes: one for the image and one a map; default: new ones.

    Returns:
        The axes, (1 + number of maps,).

    >>> import numpy as np, matplotlib
    >>> matplotlib.use("Agg")
    >>> image = np.linspace(0, 1, 64).reshape(8, 8, 1)
    >>> len(map(image, {"gradient": image[..., 0] / image.sum()}, title="predicted 3"))
    2
    """
    named = {str(name): own for name, own in maps.items()} if isinstance(maps, Mapping) else {"map": maps}
    grid = _grid(axes, 1, 1 + len(named))[0]
    draw.image(grid[0], image)
    _text(grid[0], title)
    scale = draw.map_scale(list(named.values()))
    for place, (name, own) in zip(grid[1:], named.items(), strict=True):
        draw.explanation(place, own, scale)
        _text(place, name, _pixels(own))
    return grid


def attack(
    victim: Any,
    manipulated: Any,
    target: Any = None,
    *,
    maps: Sequence[Any],
    losses: Any = None,
    below: Sequence[str] = (),
    axes: Any = None,
) -> np.ndarray:
    """Draws an attack: the images above, their maps below, in the last column the change and the course of the loss.

    Args:
        victim: (H, W, C) in [0, 1], the clean image.
        manipulated: (H, W, C), what the attack made of it.
        target: (H, W, C), the image whose map was aimed at; None where the attack has no target.
        maps: (H, W) each, one for every image, in the order of the images; drawn on one colour scale.
        losses: (num_steps + 1,) explanation loss along the attack, as in the info of the attack.
        below: a text below each image, such as its class and prediction.
        axes: two rows with a column for each image and one more; default: new ones.

    Returns:
        The axes, (2, 1 + number of images).
    """
    images = [victim, manipulated, *([] if target is None else [target])]
    if len(maps) != len(images):
        raise InputError(f"maps: expected one for each of the {len(images)} images, got {len(maps)}")
    grid = _grid(axes, 2, 1 + len(images))
    scale, below = draw.map_scale(maps), [*below, "", "", ""]
    for column, pixels in enumerate(images):
        draw.image(grid[0, column], pixels)
        _text(grid[0, column], ("victim", "manipulated", "target")[column], below[column])
        draw.explanation(grid[1, column], maps[column], scale)
        is_target = target is not None and column < 2
        said = f"{LOSS_UNIT} to target {_loss(maps[column], maps[2]):.2f}" if is_target else _pixels(maps[column])
        _text(grid[1, column], ("its map", "map after", "target map")[column], said)
    change = np.asarray(manipulated, np.float64) - np.asarray(victim, np.float64)
    mean = change.mean(axis=-1)
    limit = float(np.nanmax(np.abs(mean)))
    draw.change(grid[0, -1], mean, limit)
    _text(grid[0, -1], f"change ×{1 / limit:.2g}" if limit > 0 else "no change", f"at most {np.abs(change).max():.2g}")
    last = grid[1, -1]
    if losses is None:
        last.set_axis_off()
    else:
        last.plot(np.asarray(maps[0]).size ** 2 * np.asarray(losses))
        last.set(ylim=(0, None))
        last.tick_params(labelsize=7)
        _text(last, LOSS_UNIT, "step of the attack")
    return grid


def compare(victim: Any, results: Mapping[str, Any], *, pair: int = 0, axes: Any = None) -> np.ndarray:
    """Draws several models under the attack on one pair: a row a model with its map, after the attack, and the target.

    Args:
        victim: (H, W, C) in [0, 1], the victim of the pair.
        results: {name of a model: its `evaluate.PairResults`}, all on the same pairs.
        pair: which of the pairs.
        axes: a row for each model and four columns; default: new ones.

    Returns:
        The axes, (number of models, 4). One colour scale for each model.
    """
    grid = _grid(axes, len(results), 4)
    titles = ("map", "after the attack", "target map")
    for number, (name, found) in enumerate(results.items()):
        row = grid[number]
        own = [np.asarray(each)[pair] for each in (found.victim_map, found.manipulated_map, found.target_map)]
        draw.image(row[0], victim)
        _text(row[0], name)
        scale = draw.map_scale(own)
        said = [*(f"{LOSS_UNIT} {_loss(each, own[2]):.2f}" for each in own[:2]), _pixels(own[2])]
        for place, each, title, below in zip(row[1:], own, titles, said, strict=True):
            draw.explanation(place, each, scale)
            _text(place, "" if number else title, below)
    return grid


def landscape(
    drawn: Any, *, label: str = "", bold: Sequence[int] = (), colour: Any = None, title: str = "", axes: Any = None
) -> Axes:
    """Draws what `landscape.slice_1d` or `slice_2d` found: lines, or the contours of a plane.

    Args:
        drawn: a `landscape.Slice`; as many lines as points are taken for a plane.
        label: of the lines, for a legend of yours.
        bold: which lines are thick, by their place; the others are thin. Default: all are alike.
        colour: of all the lines; default: the next of the axes.
        title: above the axes.
        axes: where to draw; default: new ones.

    Returns:
        The axes.

    Raises:
        InputError: for several axes.
    """
    place: Axes = _grid(axes, 1, 1)[0, 0]
    places, values = np.asarray(drawn.coordinates), np.asarray(drawn.values)
    _text(place, title, "distance [budgets]")
    if values.shape == (len(places), len(places)):
        place.figure.colorbar(draw.plane(place, places, values, 13), ax=place)
        place.set_ylabel("distance [budgets]", fontsize=8)
        return place
    colour = place.plot([], [])[0].get_color() if colour is None else colour
    thick = {index % len(values) for index in bold}
    for index, line in enumerate(values):
        style: dict[str, Any] = {"linewidth": 0.7, "alpha": 0.6} if thick and index not in thick else {"linewidth": 1.8}
        named = label if index == max(thick, default=0) else None
        place.plot(places, line, color=colour, label=named or None, **style)
    return place
