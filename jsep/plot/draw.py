"""An image, a map, a change or a plane on one pair of axes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm

MAP_COLOURS, CHANGE_COLOURS, PLANE_COLOURS = "magma", "PuOr", "cividis"
"""Colour maps for explanations, for changes of an image, and for landscapes."""

ON_COLOURS = "#fffffe"
"""What is drawn on a colour map: white on light and dark pages alike."""


def map_scale(maps: Sequence[Any]) -> PowerNorm:
    """One colour scale in % of a map, with square-root spacing, since a few pixels hold most of a map."""
    largest = max((float(np.nanmax(np.asarray(own, np.float64))) for own in maps), default=0.0)
    return PowerNorm(0.5, vmin=0.0, vmax=100.0 * largest if largest > 0 else 1.0)


def _framed(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.6)


def image(axes: Axes, pixels: Any) -> ScalarMappable:
    """Draws an image. pixels: (H, W, C) in [0, 1], C = 1 or 3."""
    _framed(axes)
    pixels = np.asarray(pixels, np.float64)
    pixels = np.clip(np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels, 0.0, 1.0)
    return axes.imshow(pixels, interpolation="none")


def explanation(axes: Axes, pixels: Any, scale: PowerNorm) -> ScalarMappable:
    """Draws an explanation map in % of its sum. pixels: (H, W); scale: of `map_scale`."""
    _framed(axes)
    shown = 100.0 * np.asarray(pixels, np.float64)
    return axes.imshow(shown, cmap=MAP_COLOURS, norm=scale, interpolation="none")


def change(axes: Axes, pixels: Any, limit: float) -> ScalarMappable:
    """Draws a change of an image, orange lower and purple higher. pixels: (H, W); limit: of the colours, both signs."""
    _framed(axes)
    limit = limit if limit > 0 and math.isfinite(limit) else 1.0 / 255.0
    shown = np.asarray(pixels, np.float64)
    return axes.imshow(shown, cmap=CHANGE_COLOURS, vmin=-limit, vmax=limit, interpolation="none")


def plane(axes: Axes, places: Any, values: Any, levels: Any) -> ScalarMappable:
    """Draws contours of values in a plane, and a cross at its centre.

    Args:
        places: (n,) coordinates along both axes.
        values: (n, n), rows along the horizontal axis; those that are not finite are left blank.
        levels: of the contours, or how many of them.
    """
    shown = np.ma.masked_invalid(np.asarray(values, np.float64).T)
    filled = axes.contourf(places, places, shown, levels=levels, cmap=PLANE_COLOURS)
    axes.contour(places, places, shown, levels=levels, colors=ON_COLOURS, linewidths=0.5)
    axes.plot([0], [0], "+", color=ON_COLOURS, markersize=9, markeredgewidth=1.8)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    return filled
