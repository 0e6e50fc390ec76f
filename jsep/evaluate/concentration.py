"""Concentration of maps, and its contribution to an explanation loss: functions of (H, W) maps.

As in `distances`: floating-point input, float32 computation, any scale. Each function takes single maps; a batch is
refused, since it would be treated as one map.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jsep.evaluate.distances import as_maps, explanation_loss
from jsep.map_checks import as_map
from jsep.numerics import power_of_two, scaled
from jsep.types import Array


def effective_pixels(map_: Array) -> Array:
    """(sum |I|)^2 / sum I^2: the effective number of pixels of the map; N for a uniform one, 1 for a single pixel, 0
    for a zero map.

    >>> import jax.numpy as jnp
    >>> from jsep import evaluate
    >>> float(evaluate.effective_pixels(jnp.array([[0.5, 0.5, 0.0, 0.0]])))
    2.0

    Args: map_: (H, W). Returns: () in {0} or [1, N]. For a map of sum 1 it is 1 / sum I^2, so that the explanation
      loss of two maps is (1/n_a + 1/n_b - 2 <a, b>) / N: concentrated maps have a high loss unless they overlap.
    """
    map_ = scaled(as_map(map_))
    total, square = jnp.sum(jnp.abs(map_)), jnp.sum(map_**2)
    return jnp.where(square == 0, 0.0, total**2 / jnp.where(square == 0, 1.0, square))


def gini(map_: Array) -> Array:
    """sum_i (2i - N - 1) m_i / (N sum m) with m = |I| sorted ascending: the Gini index of the pixels.

    Args: map_: (H, W). Returns: () in [0, 1 - 1/N]: 0 for a uniform map (and, by definition, a zero one), 1 - 1/N for a
    single pixel.
    Reference: Chalasani et al. 2020, section 5 ("sparseness").
    """
    mass = jnp.sort(jnp.abs(scaled(as_map(map_))).ravel())
    weights = 2 * jnp.arange(1, mass.size + 1, dtype=mass.dtype) - mass.size - 1
    total = jnp.sum(mass)
    return jnp.where(total == 0, 0.0, jnp.sum(weights * mass) / (mass.size * jnp.where(total == 0, 1.0, total)))


def entropy(map_: Array) -> Array:
    """-sum p log p with p = |I| / sum |I|: the entropy of the map as a distribution over its pixels.

    Args: map_: (H, W). Returns: () in nats, in [0, log N]: 0 for a single pixel (and, by definition, a zero map), log N
    for a uniform one. Its exponential also measures the number of effective pixels, and is >= `effective_pixels`.
    Reference: Bhatt et al. 2020, definition 5 ("complexity").
    """
    mass = jnp.abs(scaled(as_map(map_)))
    total = jnp.sum(mass)
    share = mass / jnp.where(total == 0, 1.0, total)
    return -jnp.sum(share * jnp.log(jnp.where(share == 0, 1.0, share)))


class LossSplit(NamedTuple):
    """The decomposition of an explanation loss by `split_loss`: concentration_a + concentration_b - overlap, each ().

    chance: the expected explanation loss when the pixels of one map are permuted at random, which keeps both
      concentrations and removes any spatial relation.
    one_minus_concordance: loss / chance = 1 - Lin's concordance correlation of the pixels of two maps; 1 for unrelated
      maps, 0 for equal ones, above 1 for maps that avoid each other.
    """

    concentration_a: Array
    concentration_b: Array
    overlap: Array
    chance: Array
    one_minus_concordance: Array


def split_loss(map_a: Array, map_b: Array) -> LossSplit:
    """Decomposes the explanation loss into concentration and overlap, and compares it with its expectation by chance.

    mean((a - b)^2) = sum a^2 / N + sum b^2 / N - 2 <a, b> / N. For maps that sum to 1 the first two terms are 1 / (N
    n_a) and 1 / (N n_b), with n the `effective_pixels`. If the pixels of one map are permuted at random, the
    expectation of <a, b> is sum a sum b / N, so that

        chance = (sum a^2 + sum b^2 - 2 sum a sum b / N) / N = (1/n_a + 1/n_b - 2/N) / N for maps that sum to 1,

    which equals var a + var b + (mean a - mean b)^2. Hence loss / chance is exactly 1 - 2 cov(a, b) / chance: one minus
    the concordance correlation coefficient. It separates "harder to manipulate" from "more concentrated": concentrating
    both maps in the same places raises the loss but not the ratio.

    Args: map_a, map_b: (H, W). Returns: LossSplit; the ratio is 0 where the chance is 0 (both maps uniform).
    Raises: InputError for maps of different size.
    """
    map_a, map_b = as_maps(map_a, map_b)
    num_pixels = map_a.size
    part_a, part_b = (jnp.sum(map_**2) / num_pixels for map_ in (map_a, map_b))
    overlap = 2 * jnp.sum(map_a * map_b) / num_pixels
    # As two variances and a difference of means: the three terms above cancel if the maps are nearly uniform.
    # Maps are scaled to size 1: the ratio does not depend on their scale, and squares of small numbers underflow.
    scale = power_of_two(jnp.stack([map_a, map_b]))
    one, other = map_a / scale, map_b / scale
    spread = jnp.var(one) + jnp.var(other)
    chance = spread + (jnp.mean(one) - jnp.mean(other)) ** 2
    ratio = jnp.where(chance == 0, 0.0, explanation_loss(one, other) / jnp.where(chance == 0, 1.0, chance))
    return LossSplit(part_a, part_b, overlap, chance * scale**2, ratio)
