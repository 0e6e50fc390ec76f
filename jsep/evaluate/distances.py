"""Distances and similarities of two maps: pure functions of (H, W) maps, batched by `jax.vmap`.

All take floating-point maps; maps of half precision are computed and returned in float32. Metrics that are scale-free
by definition are so numerically for maps scaled from 1e-30 to 1e30; only the zero map is a special case. A concrete
map that is not finite raises InputError, a traced one gives NaN.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from jsep.checks import InputError, check_count
from jsep.map_checks import as_map
from jsep.numerics import power_of_two, scaled
from jsep.types import Array


def as_maps(map_a: Any, map_b: Any) -> tuple[Array, Array]:
    """Both maps as arrays, at least float32. Raises InputError unless they are (H, W) of one size, see `as_map`."""
    if jnp.shape(map_a) != jnp.shape(map_b) or jnp.ndim(map_a) != 2:
        raise InputError(
            f"both maps must be (H, W) of the same size, got {jnp.shape(map_a)} and {jnp.shape(map_b)}; "
            "for batches use jax.vmap"
        )
    return as_map(map_a, "map_a"), as_map(map_b, "map_b")


def explanation_loss(map_a: Array, map_b: Array) -> Array:
    """mean((a - b)^2) over the N pixels: the paper's explanation loss.

    >>> import jax.numpy as jnp
    >>> from jsep import evaluate
    >>> float(evaluate.explanation_loss(jnp.array([[0.5, 0.5]]), jnp.array([[1.0, 0.0]])))
    0.25

    Args: map_a, map_b: (H, W). Returns: () in [0, 2/N] for non-negative maps that sum to 1; about 2/N^2 for unrelated
    maps.
    Raises: InputError for maps of different size.
    Reference: PAPER Definition 1.
    """
    map_a, map_b = as_maps(map_a, map_b)
    return jnp.mean((map_a - map_b) ** 2)


def scale_free_loss(map_a: Array, map_b: Array) -> Array:
    """N^2 * explanation_loss: comparable between image sizes; about 2 for unrelated maps with exponential pixel values.

    Args, Raises: as `explanation_loss`. Returns: () in [0, 2N].
    """
    return float(jnp.size(map_a)) ** 2 * explanation_loss(map_a, map_b)


def as_losses(values: Any, name: str) -> Array:
    """The values as an array. Raises: InputError for other values than real numbers."""
    try:
        array = jnp.asarray(values)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be numbers, got {type(values).__name__}") from None
    if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        raise InputError(f"{name} must be real numbers, got dtype {array.dtype}")
    return array


def relative_reduction(loss_start: Any, loss_end: Any) -> Array:
    """(start - end) / start: the fraction of the explanation loss removed by an attack; 0 where the start is 0.

    >>> import jax.numpy as jnp
    >>> from jsep import evaluate
    >>> float(evaluate.relative_reduction(jnp.array(4.0), jnp.array(1.0)))
    0.75

    Args: losses of any shape, >= 0. Returns: the same shape, at most 1.
    """
    start, end = as_losses(loss_start, "loss_start"), as_losses(loss_end, "loss_end")
    return jnp.where(start == 0, 0.0, (start - end) / jnp.where(start == 0, 1.0, start))


def cosine_similarity(map_a: Array, map_b: Array) -> Array:
    """<a, b> / (|a| |b|): 1 for maps equal up to scale; 0 if one of them is zero.

    >>> import jax.numpy as jnp
    >>> from jsep import evaluate
    >>> float(evaluate.cosine_similarity(jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])))
    0.0

    Args, Raises: as `explanation_loss`. Returns: () in [-1, 1], in [0, 1] for non-negative maps.
    """
    map_a, map_b = as_maps(map_a, map_b)
    map_a, map_b = scaled(map_a), scaled(map_b)
    square = jnp.sum(map_a**2) * jnp.sum(map_b**2)
    return jnp.where(square == 0, 0.0, jnp.sum(map_a * map_b) / jnp.sqrt(jnp.where(square == 0, 1.0, square)))


def _unit(map_: Array) -> Array:
    map_ = scaled(map_)
    square = jnp.sum(map_**2)
    return map_ / jnp.sqrt(jnp.where(square == 0, 1.0, square))


def unit_l2_distance(map_a: Array, map_b: Array) -> Array:
    """|a/|a| - b/|b|| = sqrt(2 - 2 cosine): the L2 distance of the maps scaled to unit length.

    Args, Raises: as `explanation_loss`. Returns: () in [0, 2], at most sqrt(2) for non-negative maps; a zero map stays
    zero, at distance 1 from every other.
    """
    map_a, map_b = as_maps(map_a, map_b)
    square = jnp.sum((_unit(map_a) - _unit(map_b)) ** 2)
    return jnp.where(square == 0, 0.0, jnp.sqrt(jnp.where(square == 0, 1.0, square)))


def _centred(map_: Array) -> Array:
    # Rounding of the mean would otherwise leave a constant map with a non-zero remainder that correlates.
    return jnp.where(jnp.max(map_) == jnp.min(map_), 0.0, map_ - jnp.mean(map_))


def pearson(map_a: Array, map_b: Array) -> Array:
    """The Pearson correlation of the pixel values: the cosine of the maps minus their means.

    Args, Raises: as `explanation_loss`. Returns: () in [-1, 1]; 0 if one of them is constant.
    """
    map_a, map_b = as_maps(map_a, map_b)
    return cosine_similarity(_centred(scaled(map_a)), _centred(scaled(map_b)))


def ssim(map_a: Array, map_b: Array, *, filter_size: int | None = None) -> Array:
    """The mean structural similarity of two maps, with the joint range of their values as dynamic range.

    The stabilising constants are (0.01 R)^2 and (0.03 R)^2 with R = max(a, b) - min(a, b). With R = 1, the usual
    default, they are a hundred times the squares of maps that sum to 1, so that any two such maps have SSIM 1.00.

    Args: maps (H, W); filter_size: side of the Gaussian window, odd, at most H and W; default: 11 (standard deviation
      1.5, Wang et al.), for smaller maps the largest that fits, with a standard deviation in proportion. Averaged over
      windows inside the map only.
    Returns: () in [-1, 1]; 1 for equal maps, including two constant ones.
    Raises: InputError as `explanation_loss`, or for a window that does not fit.
    Reference: Wang et al. 2004, equation 13; computed by dm-pix.
    """
    map_a, map_b = as_maps(map_a, map_b)
    side = min(map_a.shape)
    if filter_size is None:
        filter_size = min(11, side - 1 + side % 2)
    check_count("filter_size", filter_size)
    if filter_size % 2 == 0 or filter_size > side:
        raise InputError(f"filter_size must be odd and at most {side} for maps of {map_a.shape}, got {filter_size}")
    import dm_pix  # not installed on every accelerator machine

    scale = power_of_two(jnp.stack([map_a, map_b]))
    map_a, map_b = map_a / scale, map_b / scale
    value_range = jnp.maximum(map_a.max(), map_b.max()) - jnp.minimum(map_a.min(), map_b.min())
    value_range = jnp.where(value_range == 0, 1.0, value_range)
    # Scaled to range 1 first: the squares of small values would lose digits in float32.
    scaled = [map_[..., None] / value_range for map_ in (map_a, map_b)]
    return dm_pix.ssim(*scaled, filter_size=filter_size, filter_sigma=1.5 * filter_size / 11)


def earth_movers_distance(map_a: Array, map_b: Array, *, num_directions: int = 8) -> Array:
    """The sliced 1-Wasserstein distance: the mean over directions of the exact 1-D distance of the projected maps.

    mean_k integral |F_a,k(t) - F_b,k(t)| dt, where F_a,k(t) is the fraction of the mass |a| on pixels whose centre,
    projected on the direction pi k / num_directions, lies at most at t. Directions 0 and pi/2 give the two marginals.
    It is at most the exact 2-D distance, and 2/pi of it (for many directions) if all mass moves by one vector.

    Args: maps (H, W), of which absolute values are taken and scaled to sum 1; a zero map counts as the uniform one.
      num_directions: >= 1.
    Returns: () in pixels, in [0, the diagonal].
    Raises: InputError as `explanation_loss`, or for a count < 1.
    Reference: Rubner et al. 2000; sliced: Bonneel et al. 2015.
    """
    map_a, map_b = as_maps(map_a, map_b)
    check_count("num_directions", num_directions)
    height, width = map_a.shape
    angles = math.pi * np.arange(num_directions) / num_directions
    rows, columns = np.divmod(np.arange(height * width), width)
    # Rounded, so that rounding errors do not order pixels that project to the same point.
    places = np.round(np.cos(angles)[:, None] * columns + np.sin(angles)[:, None] * rows, 9)
    order = np.argsort(places, axis=1, kind="stable")
    gaps = np.diff(np.take_along_axis(places, order, axis=1), axis=1)

    def share(map_: Array) -> Array:
        mass = jnp.abs(scaled(map_)).ravel()
        total = jnp.sum(mass)
        return jnp.where(total == 0, 1 / mass.size, mass / jnp.where(total == 0, 1.0, total))

    difference = (share(map_a) - share(map_b))[order]
    return jnp.mean(jnp.sum(jnp.abs(jnp.cumsum(difference, axis=1)[:, :-1]) * gaps.astype(difference.dtype), axis=1))
