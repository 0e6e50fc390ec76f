"""Terms of the attacks on explanations: losses between maps, and the constraint on the model's output."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jsep.checks import check_output, check_positive
from jsep.compiled import call
from jsep.map_checks import check_finite_map
from jsep.numerics import absolute, all_finite, scaled, softmax
from jsep.types import Array, LogitsFn, MapFn

MapLoss = Callable[[Array, Array], Array]
"""(map (H, W), target map (H, W)) -> scalar, 0 if they agree."""


def mean_square(map_: Array, target: Array) -> Array:
    """mean((a - b)^2): the explanation loss itself."""
    return jnp.mean((map_ - target) ** 2)


def one_minus_cosine(map_: Array, target: Array) -> Array:
    """1 - <a, b> / (|a| |b|), independent of the scale of the maps; 1 if one of them is zero."""
    map_, target = scaled(map_), scaled(target)
    square = jnp.sum(map_ * map_) * jnp.sum(target * target)
    is_zero = square == 0
    return 1 - jnp.where(is_zero, 0.0, jnp.sum(map_ * target) / jnp.sqrt(jnp.where(is_zero, 1.0, square)))


def half_absolute_sum(map_: Array, target: Array) -> Array:
    """sum |a - b| / 2: the total variation distance for maps that sum to 1."""
    return jnp.sum(absolute(map_ - target)) / 2


def smoothed_divergence(map_: Array, target: Array) -> Array:
    """KL(b' || a'), where a' and b' are the absolute maps averaged with the uniform one, so that logarithm and
    derivative stay finite at empty pixels; plus sum (a' - b'), which is 0 for maps that sum to 1."""
    uniform = 1 / map_.size
    ours, theirs = ((absolute(m) + uniform) / 2 for m in (map_, target))
    return jnp.sum(theirs * (jnp.log(theirs) - jnp.log(ours)) + ours - theirs)


MAP_LOSSES: dict[str, MapLoss] = {
    "mse": mean_square,
    "cosine": one_minus_cosine,
    "l1": half_absolute_sum,
    "kl": smoothed_divergence,
}
"""name -> MapLoss."""


class OutputConstraint(NamedTuple):
    """The constraint of an explanation attack: the predicted class stays, and with a tolerance the whole softmax.

    label: () int, the class predicted on the clean image; clean_output: (K,) its softmax;
    softmax_tolerance: () the largest change of a softmax entry, or None for no limit.
    """

    label: Array
    clean_output: Array
    softmax_tolerance: Any

    def label_kept(self, logits: Array) -> Array:
        """() bool: the logits are finite and the class is kept; of NaN the argmax is 0, the class of no one."""
        return all_finite(logits) & (jnp.argmax(logits) == self.label)

    def holds(self, logits: Array) -> Array:
        """() bool: the logits are finite, the class is kept, and the softmax within its tolerance."""
        kept = self.label_kept(logits)
        if self.softmax_tolerance is None:
            return kept
        return kept & (self.softmax_change(logits) <= self.softmax_tolerance)

    def softmax_change(self, logits: Array) -> Array:
        """() max_k |softmax f(z)_k - softmax f(x)_k|."""
        return jnp.max(absolute(softmax(logits) - self.clean_output))

    def excess(self, logits: Array) -> Array:
        """() violation of the constraint, to be minimised where `holds` is false: the lead of another class in logits,
        or if the class is kept, the change of the softmax beyond its tolerance."""
        others = jnp.where(jnp.arange(logits.size) == self.label, -jnp.inf, logits)
        margin = jnp.max(others) - logits[self.label]
        if self.softmax_tolerance is None:
            return margin
        # The sum of squares, since the derivative of the maximum involves one class only.
        change = jnp.sum((softmax(logits) - self.clean_output) ** 2)
        return jnp.where(jnp.argmax(logits) == self.label, change, margin)


def output_constraint(clean_logits: Array, softmax_tolerance: Any = None) -> OutputConstraint:
    """The constraint of an attack on an image with these logits (K,).

    Raises: InputError if the tolerance is negative, or the logits are not (K,) or, if concrete, are probabilities.
    """
    if softmax_tolerance is not None:
        check_positive("softmax_tolerance", softmax_tolerance, allow_zero=True)
    check_output(clean_logits)
    return OutputConstraint(jnp.argmax(clean_logits), softmax(clean_logits), softmax_tolerance)


def checked_constraint(map_fn: MapFn, logits_fn: LogitsFn, image: Array, softmax_tolerance: Any) -> OutputConstraint:
    """The constraint of an attack on `image`, after checking both functions there if its values are concrete."""
    is_traced = isinstance(image, jax.core.Tracer)
    constraint = output_constraint(logits_fn(image) if is_traced else call(logits_fn, image), softmax_tolerance)
    if not is_traced:
        check_finite_map("map_fn's map of the image", call(map_fn, image))
    return constraint
