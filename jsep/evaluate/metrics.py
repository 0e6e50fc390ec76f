"""What is measured on two maps, or on one: pure functions of (H, W) maps, batched by `jax.vmap`."""

from typing import Any

import jax
import jax.numpy as jnp

from jsep.checks import InputError, check_count
from jsep.types import Array


def _check_same_shape(map_a: Array, map_b: Array) -> None:
    if jnp.shape(map_a) != jnp.shape(map_b) or jnp.ndim(map_a) != 2:
        raise InputError(
            f"both maps must be (H, W) of the same size, got {jnp.shape(map_a)} and {jnp.shape(map_b)}; "
            "for batches use jax.vmap"
        )


def explanation_loss(map_a: Array, map_b: Array) -> Array:
    """mean((a - b)^2) over the N pixels: the paper's explanation loss.

    Args: map_a, map_b: (H, W). Returns: () in [0, 2/N] for non-negative maps that sum to 1; about 2/N^2 for unrelated
    ones.
    Raises: InputError when the maps differ in size.
    Reference: PAPER Definition 1.
    """
    _check_same_shape(map_a, map_b)
    return jnp.mean((map_a - map_b) ** 2)


def scale_free_loss(map_a: Array, map_b: Array) -> Array:
    """N^2 * explanation_loss: comparable between image sizes; about 2 for unrelated maps with exponential pixel values.

    Args, Raises: as `explanation_loss`. Returns: () in [0, 2N].
    """
    return map_a.size**2 * explanation_loss(map_a, map_b)


def relative_reduction(loss_start: Any, loss_end: Any) -> Array:
    """(start - end) / start: the share of the explanation loss that an attack removed; 0 where the start is 0.

    Args: losses of any shape, >= 0. Returns: the same shape, at most 1.
    """
    start, end = jnp.asarray(loss_start), jnp.asarray(loss_end)
    return jnp.where(start == 0, 0.0, (start - end) / jnp.where(start == 0, 1.0, start))


def cosine_similarity(map_a: Array, map_b: Array) -> Array:
    """<a, b> / (|a| |b|): 1 for maps equal up to scale; 0 when one of them is zero.

    Args, Raises: as `explanation_loss`. Returns: () in [-1, 1], in [0, 1] for non-negative maps.
    """
    _check_same_shape(map_a, map_b)
    square = jnp.sum(map_a**2) * jnp.sum(map_b**2)
    return jnp.where(square == 0, 0.0, jnp.sum(map_a * map_b) / jnp.sqrt(jnp.where(square == 0, 1.0, square)))


def spearman(map_a: Array, map_b: Array) -> Array:
    """The rank correlation of two maps: the Pearson correlation of their ranks, equal values sharing the mean rank.

    Args, Raises: as `explanation_loss`. Returns: () in [-1, 1]; 0 when one of them is constant. It has no useful
    derivative: ranks are piecewise constant.
    """
    _check_same_shape(map_a, map_b)
    ranks = [jax.scipy.stats.rankdata(map_.ravel()) for map_ in (map_a, map_b)]
    centred = [rank - jnp.mean(rank) for rank in ranks]
    square = jnp.sum(centred[0] ** 2) * jnp.sum(centred[1] ** 2)
    return jnp.where(square == 0, 0.0, jnp.sum(centred[0] * centred[1]) / jnp.sqrt(jnp.where(square == 0, 1.0, square)))


def effective_pixels(map_: Array) -> Array:
    """(sum |I|)^2 / sum I^2: how many pixels carry the map; N for a uniform one, 1 for a single pixel, 0 for a zero
    map.

    Args: map_: (H, W). Returns: () in {0} or [1, N]. For a map that sums to 1 it is 1 / sum I^2, so that the
    explanation loss
      of two maps is (1/n_a + 1/n_b - 2 <a, b>) / N: concentrated maps have a high loss whatever their overlap.
    """
    total, square = jnp.sum(jnp.abs(map_)), jnp.sum(map_**2)
    return jnp.where(square == 0, 0.0, total**2 / jnp.where(square == 0, 1.0, square))


def top_k_intersection(map_a: Array, map_b: Array, k: int) -> Array:
    """The share of the k largest pixels of `map_a` that are among the k largest of `map_b`.

    Args: maps (H, W); k in 1 .. N; ties go to the first pixel in reading order. Returns: () in [0, 1].
    Raises: InputError when k or the sizes do not fit.
    Reference: Ghorbani et al. 2019.
    """
    _check_same_shape(map_a, map_b)
    check_count("k", k)
    if k > map_a.size:
        raise InputError(f"k must be at most the {map_a.size} pixels of a map, got {k}")
    top_a, top_b = (jax.lax.top_k(m.ravel(), k)[1] for m in (map_a, map_b))
    return jnp.mean(jnp.any(top_a[:, None] == top_b[None, :], axis=1))
