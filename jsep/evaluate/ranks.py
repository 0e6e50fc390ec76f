"""Rank similarities of two maps: pure functions of (H, W) maps, batched by `jax.vmap`.

None is usefully differentiable: ranks are piecewise constant.
"""

import jax
import jax.numpy as jnp

from jsep.checks import InputError, check_count
from jsep.compiled import compiled
from jsep.evaluate.distances import as_maps
from jsep.numerics import all_finite, scaled
from jsep.types import Array


def spearman(map_a: Array, map_b: Array) -> Array:
    """Spearman's rank correlation of two maps: the Pearson correlation of their ranks, ties sharing the mean rank.

    Args: map_a, map_b: (H, W). Returns: () in [-1, 1]; 0 if one of them is constant.
    Raises: InputError for maps of different size.
    """
    map_a, map_b = as_maps(map_a, map_b)
    ranks = [jax.scipy.stats.rankdata(map_.ravel()) for map_ in (map_a, map_b)]
    centred = [rank - jnp.mean(rank) for rank in ranks]
    square = jnp.sum(centred[0] ** 2) * jnp.sum(centred[1] ** 2)
    rho = jnp.where(square == 0, 0.0, jnp.sum(centred[0] * centred[1]) / jnp.sqrt(jnp.where(square == 0, 1.0, square)))
    return _or_nan(rho, map_a, map_b)


def _or_nan(value: Array, *maps: Array) -> Array:
    """The value; NaN if a map is not finite, since its pixels have no order."""
    return jnp.where(all_finite(*maps), value, jnp.nan)


@compiled
def kendall(map_a: Array, map_b: Array, *, chunk_size: int = 256) -> Array:
    """Kendall's tau-b: (pairs of pixels in the same order - pairs in opposite order) / sqrt(n_a n_b).

    n_a is the number of pixel pairs not tied in `map_a`. All N^2 pairs are compared, `chunk_size` x N at a time.

    Args, Raises: as `spearman`. Returns: () in [-1, 1]; 0 if one of them is constant.
    Reference: Kendall 1945; as `scipy.stats.kendalltau`.
    """
    map_a, map_b = as_maps(map_a, map_b)
    check_count("chunk_size", chunk_size)
    a, b = scaled(map_a).ravel(), scaled(map_b).ravel()

    def row(values: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        sign_a, sign_b = jnp.sign(values[0] - a), jnp.sign(values[1] - b)
        return jnp.mean(sign_a * sign_b), jnp.mean(sign_a**2), jnp.mean(sign_b**2)

    agreement, untied_a, untied_b = (jnp.mean(z) for z in jax.lax.map(row, (a, b), batch_size=min(chunk_size, a.size)))
    square = untied_a * untied_b
    tau = jnp.where(square == 0, 0.0, agreement / jnp.sqrt(jnp.where(square == 0, 1.0, square)))
    return _or_nan(tau, map_a, map_b)


def _check_k(map_: Array, k: int) -> None:
    check_count("k", k)
    if k > map_.size:
        raise InputError(f"k must be at most the {map_.size} pixels of a map, got {k}")


def top_k_intersection(map_a: Array, map_b: Array, k: int) -> Array:
    """The fraction of the k largest pixels of `map_a` that are among the k largest of `map_b`.

    Args: maps (H, W); k in 1 .. N; ties go to the first pixel in reading order. Returns: () in [0, 1]; about k/N for
    unrelated maps.
    Raises: InputError if k is out of range or the sizes differ.
    Reference: Ghorbani et al. 2019.
    """
    return top_k_near(map_a, map_b, k, window=0)


def top_k_near(map_a: Array, map_b: Array, k: int, *, window: int = 1) -> Array:
    """The fraction of the k largest pixels of `map_a` with one of the k largest of `map_b` within `window` pixels.

    A map shifted by one pixel looks the same, but its top-k intersection is near 0; this similarity stays at 1.
    Swapping the maps exchanges recall and precision in the terms of Kamath et al.

    Args: maps (H, W); k in 1 .. N, ties as in `top_k_intersection`; window: largest distance in rows and in columns,
      >= 0; 0 is `top_k_intersection`.
    Returns: () in [0, 1], at least the intersection.
    Raises: InputError if k or the window is out of range or the sizes differ.
    Reference: Kamath et al. 2024 (LENS).
    """
    map_a, map_b = as_maps(map_a, map_b)
    _check_k(map_a, k)
    check_count("window", window, minimum=0)
    (mask_a, mask_b) = (
        jnp.zeros(m.size, bool).at[jax.lax.top_k(m.ravel(), k)[1]].set(True).reshape(m.shape) for m in (map_a, map_b)
    )
    side = 2 * window + 1
    near_b = jax.lax.reduce_window(mask_b, False, jax.lax.bitwise_or, (side, side), (1, 1), "SAME")
    return _or_nan(jnp.sum(mask_a & near_b) / k, map_a, map_b)
