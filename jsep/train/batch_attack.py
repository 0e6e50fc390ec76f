"""Attacks inside adversarial training on a whole batch at once, as batch normalisation in training mode needs it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jsep import attack
from jsep.numerics import all_finite
from jsep.types import Array

BATCH_NORM_MODES = ("evaluation", "training")
"""How the inner attack normalises: by the running statistics, each image alone (Pang et al. 2021: robust accuracy moves
by points), or by the statistics of the perturbed batch, through which gradients flow.

The loss that is minimised is computed in training mode, on the clean or attacked batch, and is what updates the running
statistics; the explanation regularisers and every test are in evaluation mode. The SEP term has a choice of its own
between the same modes, where "training" stands for the statistics of the clean batch (`SepConfig`)."""


def ascend_batch(
    objective: Callable[[Array], Array],
    images: Array,
    start: Array,
    *,
    norm: str,
    epsilon: Any,
    alpha: Any,
    num_steps: int,
) -> Array:
    """Projected gradient ascent on an objective of all images together: each image steps along its own gradient.

    Args: objective: (B, H, W, C) -> (), a sum over the images; images: (B, H, W, C) in [0, 1]; start: where the ascent
      begins, as images; norm, epsilon, alpha, num_steps: as `attack.pgd`, for each image.
    Returns: (B, H, W, C), each in the ball around its image and in [0, 1].
    """
    ball = attack.norm_by_name(norm)

    def step(perturbed: Array, _: None) -> tuple[Array, None]:
        gradients = jax.grad(objective)(perturbed)

        def move(image: Array, at: Array, gradient: Array) -> Array:
            gradient = jnp.where(all_finite(gradient), gradient, 0.0)  # never out of the finite numbers
            return attack.project_to_ball_and_box(ball, image, at + alpha * ball.step(gradient), epsilon)

        return jax.vmap(move)(images, perturbed, gradients), None

    return jax.lax.scan(step, start, None, length=num_steps)[0]
