"""Automatic warnings of `auto_explanation_attack`: signs that the robustness of an explanation is overestimated."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep.numerics import scaled
from jsep.types import Array, Key, LogitsFn


class ExplanationWarnings(NamedTuple):
    """The automatic warnings of one pair, () bool each ((P,) for P pairs); explained by `WARNING_SENTENCES`."""

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
    "change: if its activation is ReLU, attack a softplus twin (the network built with softplus, of the same weights) "
    "and evaluate the result on the ReLU model",
    "collapsed_map": "a map lies on a few pixels: its loss to any target is high whatever the attack does, so look at "
    "the cosine",
    "not_finite": "a loss on the way was not finite: those images were passed over, so the attack may be weaker",
}
"""field of `ExplanationWarnings` -> its meaning, and what to do."""

BEATS_BY = 0.01
"""How much lower than the white-box loss a black-box loss must be to count, as a fraction of the starting loss."""

FALLS_BY = 1e-3
"""The smallest reduction by a working gradient, as a fraction of the starting loss."""

FEW_PIXELS = 0.02
"""A map has collapsed if its effective pixels are fewer than two or than this fraction of its pixels."""


def effective_share_is_small(map_: Array) -> Array:
    """() bool: (sum |I|)^2 / sum I^2 is below max(2, FEW_PIXELS N)."""
    map_ = scaled(map_)
    total, square = jnp.sum(jnp.abs(map_)), jnp.sum(map_ * map_)
    pixels = jnp.where(square == 0, map_.size, total**2 / jnp.where(square == 0, 1.0, square))
    return pixels < max(2.0, FEW_PIXELS * map_.size)


def has_no_second_derivative(key: Key, logits_fn: LogitsFn, image: Array, label: Array) -> Array:
    """() bool: the Hessian of the explained logit times a random vector is exactly zero, as for a ReLU network."""
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

    Args: loss_start: () of the clean image; white_box_loss, black_box_loss: () of the best member of each kind (inf for
      none); white_box_losses: of every iterate, any shape; from_clean_losses: those of searches from the clean image;
      maps: (H, W) of victim, target and manipulated image; has_budget: () bool, a radius above 0.
    """
    collapsed = jnp.stack([effective_share_is_small(map_) for map_ in maps])
    return ExplanationWarnings(
        black_box_beats_white_box=has_budget & (black_box_loss < white_box_loss - BEATS_BY * loss_start),
        # Searches from the clean image only: a random start may itself be lower, or move only to keep the output.
        loss_not_falling=has_budget & ~(jnp.min(from_clean_losses) < loss_start * (1 - FALLS_BY)),
        zero_second_derivative=no_second_derivative,
        collapsed_map=jnp.any(collapsed),
        not_finite=~jnp.isfinite(loss_start) | ~jnp.all(jnp.isfinite(white_box_losses)),
    )


def warnings_in_words(warnings: ExplanationWarnings) -> list[str]:
    """The raised warnings, one line each: the name, the number of pairs, and its meaning."""
    lines = []
    for name, values in warnings._asdict().items():
        raised = np.atleast_1d(np.asarray(values))
        if raised.any():
            lines.append(f"{name} on {raised.sum()} of {raised.size} pairs: {WARNING_SENTENCES[name]}")
    return lines
