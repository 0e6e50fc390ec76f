"""Rank correlation over images with a bootstrap interval."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jsep.checks import InputError, check_count
from jsep.memory import check_memory
from jsep.types import Array, Key


class RankCorrelation(NamedTuple):
    """Spearman's rho and the ends of its interval; each ()."""

    rho: Array
    low: Array
    high: Array


def _spearman(first: Array, second: Array) -> Array:
    ranks = [jax.scipy.stats.rankdata(values) for values in (first, second)]
    centred = [rank - jnp.mean(rank) for rank in ranks]
    square = jnp.sum(centred[0] ** 2) * jnp.sum(centred[1] ** 2)
    return jnp.where(square == 0, 0.0, jnp.sum(centred[0] * centred[1]) / jnp.sqrt(jnp.where(square == 0, 1.0, square)))


@functools.partial(jax.jit, static_argnames=("num_resamples", "between"))
def _estimate(
    key: Key, first: Array, second: Array, num_resamples: int, confidence: float, between: bool
) -> RankCorrelation:
    def statistic(rows: Array) -> Array:
        x, y = first[:, rows], second[:, rows]
        return _spearman(x.mean(1), y.mean(1)) if between else jnp.mean(jax.vmap(_spearman)(x, y))

    num_images = first.shape[1]
    rows = jax.random.randint(key, (num_resamples, num_images), 0, num_images)
    tails = jnp.array([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = jnp.quantile(jax.lax.map(statistic, rows, batch_size=min(num_resamples, 200)), tails)
    return RankCorrelation(statistic(jnp.arange(num_images)), low, high)


def rank_correlation(
    key: Key, first: Array, second: Array, *, num_resamples: int = 1000, confidence: float = 0.95, between: bool = False
) -> RankCorrelation:
    """Spearman's rank correlation of two quantities measured on every image of one or several models.

    Within models (default): rho over the images of each model, averaged over the models. Between models: rho over the
    models, of the means over the images. The percentile bootstrap interval resamples the images, the same for all
    models, but not the models: it does not generalise to other models.

    Args:
      key: for the bootstrap; first, second: (M, n) or (n,); num_resamples: of the bootstrap; confidence: of the
        interval, in (0, 1).
      between: see above; needs M >= 3.

    Returns: RankCorrelation; rho is 0 if one of the two is constant.
    Raises: InputError for mismatched shapes, sizes or a confidence out of range, or non-finite numbers.
    """
    first, second = jnp.atleast_2d(jnp.asarray(first)), jnp.atleast_2d(jnp.asarray(second))
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] < 3:
        raise InputError(f"expected two arrays (M, n) with n >= 3 images, got {first.shape} and {second.shape}")
    if between and len(first) < 3:
        raise InputError(f"a correlation between models needs at least 3 of them, got {len(first)}")
    check_count("num_resamples", num_resamples)
    check_memory(f"{num_resamples} resamples", 4.0 * num_resamples * first.shape[1])
    if not 0 < confidence < 1:
        raise InputError(f"confidence must be in (0, 1), got {confidence}")
    if not bool(jnp.all(jnp.isfinite(first) & jnp.isfinite(second))):
        raise InputError("the numbers must be finite: leave out the images where one is not")
    return _estimate(key, first, second, num_resamples, confidence, between)
