"""A scalar function evaluated along lines and in planes through a point."""

import warnings
from numbers import Real
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep.checks import InputError, check_choice, check_count
from jsep.compiled import compiled
from jsep.landscape.directions import check_direction
from jsep.landscape.scalars import check_chunk_size, check_scalar_fn
from jsep.memory import check_memory
from jsep.types import Array, Objective, PyTree

OUTSIDE_MODES = ("clip", "warn")
"""Treatment of points outside [0, 1]: clip them, or evaluate them and warn."""


class Slice(NamedTuple):
    """A function along lines, or in a plane.

    coordinates: (num_points,) multiples of the directions; 1 is one budget if the directions are normalised.
    values: (D, num_points) along lines; (num_points, num_points) in a plane, the first direction along the rows.
    share_outside: shape of `values`, the fraction of the entries of each evaluated point that lay outside [0, 1],
      before any clipping.
    num_non_finite: () number of values that are not finite; they stay in `values`, so that figures can mask them.
    """

    coordinates: Array
    values: Array
    share_outside: Array
    num_non_finite: Array


def grid_coordinates(extent: Any, num_points: int) -> np.ndarray:
    """The coordinates of a slice: `num_points` equally spaced values on [-extent, extent], or on a pair [low, high].

    Returns: (num_points,) float32; an odd number of points on a symmetric interval includes 0.
    Raises: InputError for an extent or a count out of range.
    """
    pair = tuple(np.ravel(extent)) if isinstance(extent, tuple | list | np.ndarray) and np.ndim(extent) else extent
    if isinstance(pair, tuple):
        if len(pair) != 2:
            raise InputError(f"extent must be a number > 0 or a pair (low, high), got {extent!r}")
        low, high = pair
    else:
        low, high = pair, pair
    for end in (low, high):
        if isinstance(end, bool | np.bool_) or not isinstance(end, Real):
            raise InputError(f"extent must be a number > 0 or a pair (low, high), got {extent!r}")
    low = low if isinstance(pair, tuple) else -high
    if not (max(abs(low), abs(high)) <= np.finfo(np.float32).max and low < high):
        raise InputError(f"extent must be a number > 0 or a pair (low, high) with low < high, got {extent!r}")
    check_count("num_points", num_points, minimum=2)
    check_memory(f"{num_points} points", 8.0 * num_points)
    points = np.linspace(low, high, num_points)
    if low == -high and num_points % 2:
        points[num_points // 2] = 0.0  # exactly, so that the centre of the slice is the point itself
    return points.astype(np.float32)


def _check_directions(directions: Array, point: Array, num: int | None) -> Array:
    directions = jnp.asarray(directions, point.dtype)
    if directions.ndim != point.ndim + 1 or directions.shape[1:] != point.shape or len(directions) == 0:
        raise InputError(f"directions must be (D, *{point.shape}) with D >= 1, got shape {directions.shape}")
    if num is not None and len(directions) != num:
        raise InputError(f"a plane has {num} directions, got {len(directions)}; use slice_1d for lines")
    for index in range(len(directions)):
        check_direction(directions[index], f"directions[{index}]")
    return directions


def _evaluate(
    scalar_fn: Objective, point: Array, offset: Any, places: PyTree, outside: str, chunk_size: int | None
) -> tuple[Array, Array]:
    """Values and fractions outside [0, 1] at point + offset(place) for every place, in chunks."""
    num_places = len(jax.tree.leaves(places)[0])

    def one(place: PyTree) -> tuple[Array, Array]:
        place = point + offset(place)
        share = jnp.mean((place < 0) | (place > 1), dtype=point.dtype)
        return scalar_fn(jnp.clip(place, 0.0, 1.0) if outside == "clip" else place), share

    return jax.lax.map(one, places, batch_size=min(chunk_size or num_places, num_places))


def _finish(points: np.ndarray, values: Array, share: Array, outside: str) -> Slice:
    if outside == "warn" and not isinstance(share, jax.core.Tracer) and bool(jnp.any(share > 0)):
        warnings.warn(
            f"the slice leaves [0, 1]: up to {float(jnp.max(share)):.0%} of the entries of a point; "
            "take a smaller extent, or outside='clip'",
            stacklevel=3,
        )
    return Slice(jnp.asarray(points), values, share, jnp.sum(~jnp.isfinite(values)))


def slice_1d(
    scalar_fn: Objective,
    point: Array,
    directions: Array,
    extent: float | tuple[float, float],
    num_points: int,
    *,
    outside: str = "clip",
    chunk_size: int | None = None,
) -> Slice:
    """f(point + t * d) for every direction d and every t of a grid on [-extent, extent].

    >>> import jax.numpy as jnp
    >>> from jsep import landscape
    >>> point, directions = jnp.full((1, 1, 1), 0.5), jnp.full((1, 1, 1, 1), 0.25)
    >>> landscape.slice_1d(jnp.sum, point, directions, extent=1.0, num_points=3).values.tolist()
    [[0.25, 0.5, 0.75]]

    Args:
      scalar_fn: image -> scalar.
      point: (H, W, C) float in [0, 1].
      directions: (D, H, W, C), not zero; if each has the size of the budget (`landscape.direction`), t is in units of
        epsilon.
      extent: largest t, or a pair (lowest, largest).
      num_points: values of t, >= 2; an odd number on a symmetric interval includes t = 0, the point itself.
      outside: "clip" clips every point to [0, 1] before it is evaluated; "warn" evaluates it unclipped and warns (no
        warning under jit; `share_outside` reports it either way).
      chunk_size: points in memory at once; None: all.

    Returns: Slice with values (D, num_points). One image; batch with `jax.lax.map` or `jax.vmap`.
    Raises: InputError for a function that is not scalar, zero directions, an extent or a count out of range.
    Reference: PAPER, Figures 1b and 3.
    """
    check_choice("outside", outside, OUTSIDE_MODES)
    check_chunk_size(chunk_size)
    point = check_scalar_fn(scalar_fn, point, in_box=outside == "clip")
    directions = _check_directions(directions, point, None)
    points = grid_coordinates(extent, num_points)
    values, share = _along_lines(scalar_fn, point, directions, points, outside, chunk_size)
    return _finish(points, values, share, outside)


@compiled
def _along_lines(
    scalar_fn: Objective, point: Array, directions: Array, points: Any, outside: str, chunk_size: int | None
) -> tuple[Array, Array]:
    index, factor = jnp.meshgrid(jnp.arange(len(directions)), jnp.asarray(points, point.dtype), indexing="ij")

    def offset(place: tuple[Array, Array]) -> Array:
        return place[1] * directions[place[0]]

    values, share = _evaluate(scalar_fn, point, offset, (index.ravel(), factor.ravel()), outside, chunk_size)
    return values.reshape(index.shape), share.reshape(index.shape)


def slice_2d(
    scalar_fn: Objective,
    point: Array,
    directions: Array,
    extent: float | tuple[float, float],
    num_points: int,
    *,
    outside: str = "clip",
    chunk_size: int | None = None,
) -> Slice:
    """f(point + s * d_1 + t * d_2) for every s and t of a grid on [-extent, extent]^2.

    >>> import jax.numpy as jnp
    >>> from jsep import landscape
    >>> point, directions = jnp.full((1, 2, 1), 0.5), 0.5 * jnp.eye(2).reshape(2, 1, 2, 1)
    >>> landscape.slice_2d(jnp.sum, point, directions, extent=1.0, num_points=3).values.diagonal().tolist()
    [0.0, 1.0, 2.0]

    Args: as `slice_1d`, with two directions.
    Returns: Slice with values (num_points, num_points): rows are s, columns t.
    Raises: InputError as `slice_1d`.
    """
    check_choice("outside", outside, OUTSIDE_MODES)
    check_chunk_size(chunk_size)
    point = check_scalar_fn(scalar_fn, point, in_box=outside == "clip")
    directions = _check_directions(directions, point, 2)
    points = grid_coordinates(extent, num_points)
    check_memory(f"{num_points} x {num_points} points", 16.0 * num_points**2)
    values, share = _in_plane(scalar_fn, point, directions, points, outside, chunk_size)
    return _finish(points, values, share, outside)


@compiled
def _in_plane(
    scalar_fn: Objective, point: Array, directions: Array, points: Any, outside: str, chunk_size: int | None
) -> tuple[Array, Array]:
    grid = jnp.stack(jnp.meshgrid(*[jnp.asarray(points, point.dtype)] * 2, indexing="ij"), axis=-1)

    def offset(place: Array) -> Array:
        return place[0] * directions[0] + place[1] * directions[1]

    values, share = _evaluate(scalar_fn, point, offset, grid.reshape(-1, 2), outside, chunk_size)
    return values.reshape(grid.shape[:2]), share.reshape(grid.shape[:2])
