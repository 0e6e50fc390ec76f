"""Attacks of a whole batch at once, as adversarial training with batch normalisation in training mode needs them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jsep import attack
from jsep.checks import check_images, check_labels
from jsep.numerics import all_finite
from jsep.types import Array, ModelFn, PyTree

BATCH_NORM_MODES = ("evaluation", "training")
"""Modes of batch normalisation in the inner attack: with the running statistics, each image attacked independently, or
with the statistics of the perturbed batch, through which gradients flow. The choice changes robust accuracy by
percentage points (Pang et al. 2021).

The training loss itself is computed in training mode, on the clean or attacked batch, and updates the running
statistics; explanation regularisers and evaluation use evaluation mode. The SEP term has its own choice between the
same modes, in which "training" uses the statistics of the clean batch (`SepConfig`)."""


def check_batch_labels(model_fn: ModelFn, variables: PyTree, images: Array, labels: Array) -> None:
    """Raises: InputError unless `labels` are one class of the model for each image; nothing is checked under jit."""
    if isinstance(labels, jax.core.Tracer) or isinstance(images, jax.core.Tracer):
        return
    check_images(images)
    output = jax.eval_shape(model_fn, variables, jax.ShapeDtypeStruct(jnp.shape(images)[1:], jnp.float32))
    check_labels(labels, len(images), output.shape[-1])


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
    """Projected gradient ascent on an objective of the whole batch; each image steps along its own gradient.

    Args: objective: (B, H, W, C) -> (), a sum over the images; images: (B, H, W, C) in [0, 1]; start: (B, H, W, C), the
      starting points; norm, epsilon, alpha, num_steps: as `attack.pgd`, for each image.
    Returns: (B, H, W, C), each in the ball around its image and in [0, 1].
    """
    ball = attack.norm_by_name(norm)

    def step(perturbed: Array, _: None) -> tuple[Array, None]:
        gradients = jax.grad(objective)(perturbed)

        def move(image: Array, at: Array, gradient: Array) -> Array:
            gradient = jnp.where(all_finite(gradient), gradient, 0.0)  # no step where it is not finite
            return attack.project_to_ball_and_box(ball, image, at + alpha * ball.step(gradient), epsilon)

        return jax.vmap(move)(images, perturbed, gradients), None

    return jax.lax.scan(step, start, None, length=num_steps)[0]
