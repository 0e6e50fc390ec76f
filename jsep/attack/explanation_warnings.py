"""Automatic warnings of `auto_explanation_attack`: signs that the robustness of an explanation is overestimated."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep.numerics import scaled
from jsep.types import Array, Key, LogitsFn


class ExplanationWarnings(NamedTuple):
    """The automatic warnings of one pair, () bool each ((P,) of P pairs); `WARNING_SENTENCES` says what each means."""

    black_box_beats_white_box: Array
    loss_not_falling: Array
    zero_second_derivative: Array
    collapsed_map: Array
    not_finite: Array


WARNING_SENTENCES = {
    "black_box_beats_white_box": "a search without derivatives ended lower than every one with: the map's gradient "
    "misleads or leads to a local minimum, so a white-box attack alone overstates the robustness",
    "loss_not_falling": "no gradient step lowered the loss: the gradient of the map is zero or wrong (a quantised map, "
    "a clipped value), or the map cannot be moved",
    "zero_second_derivative": "the model has no second derivative at the image, so gradients do not see how its maps "
    "change: if its activation is ReLU, attack a softplus twin and evaluate the result on the ReLU model",
    "collapsed_map": "a map lies on a few pixels: its loss to any target is high whatever the attack does, so look at "
    "the cosine",
    "not_finite": "a loss on the way was not finite: those images were passed over, so the attack may be weaker",
}
"""field of `ExplanationWarnings` -> what it means, and what to do."""

BEATS_BY = 0.01
"""Share of the starting loss by which a black-box search must be lower to count."""

FALLS_BY = 1e-3
"""Share of the starting loss that a working gradient takes off at the least."""

FEW_PIXELS = 0.02
"""A map on fewer effective pixels than this share of them, or than two, has collapsed."""


def effective_share_is_small(map_: Array) -> Array:
    """() bool: (sum |I|)^2 / sum I^2 is below max(2, FEW_PIXELS N)."""
    map_ = scaled(map_)
    total, square = jnp.sum(jnp.abs(map_)), jnp.sum(map_ * map_)
    pixels = jnp.where(square == 0, map_.size, total**2 / jnp.where(square == 0, 1.0, square))
    return pixels < max(2.0, FEW_PIXELS * map_.size)


def has_no_second_derivative(key: Key, logits_fn: LogitsFn, image: Array, label: Array) -> Array:
    """() bool: the Hessian of the explained logit times a random vector is exactly zero, as of a ReLU network."""
    vector = jax.random.normal(key, image.shape).astype(image.dtype)
    product = jax.jvp(jax.grad(lambda z: logits_fn(z)[label]), (image,), (vector,))[1]
    return jnp.all(product == 0)


def warnings_of_pair(
    *,
    loss_start: Array,
    white_box_loss: Array,
    black_box_loss: Array,
    white_box_losses: Array,
    from_clean_losses: Array,
    maps: Sequence[Array],
    no_second_derivative: Array,
    has_budget: Array,
) -> ExplanationWarnings:
    """The warnings of one pair.

    Args: losses () at the start, of the best white-box and the best black-box member (inf where there was none);
      white_box_losses: at every visited image, any shape; from_clean_losses: those of searches from the clean image;
      maps: the victim's, the target's and the manipulated one (H, W); has_budget: () bool, a radius above 0.
    """
    collapsed = jnp.stack([effective_share_is_small(map_) for map_ in maps])
    return ExplanationWarnings(
        black_box_beats_white_box=has_budget & (black_box_loss < white_box_loss - BEATS_BY * loss_start),
        # From the clean image, which holds: a random start may be lower by itself, and be moved for its label alone.
        loss_not_falling=has_budget & ~(jnp.min(from_clean_losses) < loss_start * (1 - FALLS_BY)),
        zero_second_derivative=no_second_derivative,
        collapsed_map=jnp.any(collapsed),
        not_finite=~jnp.isfinite(loss_start) | ~jnp.all(jnp.isfinite(white_box_losses)),
    )


def warnings_in_words(warnings: ExplanationWarnings) -> list[str]:
    """The raised warnings, one line each: the name, the number of pairs that raised it, and what it means."""
    lines = []
    for name, values in warnings._asdict().items():
        raised = np.atleast_1d(np.asarray(values))
        if raised.any():
            lines.append(f"{name} on {raised.sum()} of {raised.size} pairs: {WARNING_SENTENCES[name]}")
    return lines
