"""The fast gradient method: one step as long as the budget."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jsep.attack.losses import is_success
from jsep.attack.norms import norm_by_name, project_to_ball_and_box
from jsep.checks import check_epsilon, check_image
from jsep.types import Array, Objective


class FgsmInfo(NamedTuple):
    """success: () bool, the returned image is misclassified (see `PgdInfo`); distance: () norm of the perturbation."""

    success: Array
    distance: Array


def fgsm(objective: Objective, image: Array, *, norm: str = "linf", epsilon: Any) -> tuple[Array, FgsmInfo]:
    """clip(x + epsilon * step(grad objective(x))): the sign of the gradient under linf, its direction under l2.

    Args:
      objective: image -> scalar, ascended; for example `cross_entropy(logits_fn, label)`.
      image: (H, W, C) float in [0, 1].
      norm: "linf" or "l2"; epsilon: length of the step, pixel units.

    Returns: (adversarial (H, W, C), FgsmInfo). One image; batch with `jax.vmap`.
    Raises: InputError for a norm, budget or image that does not fit.
    Reference: Goodfellow et al. 2015, section 4.
    """
    ball = norm_by_name(norm)
    check_image(image)
    check_epsilon(epsilon, norm)
    image = jnp.asarray(image)
    step = epsilon * ball.step(jax.grad(objective)(image))
    adversarial = project_to_ball_and_box(ball, image, image + step, epsilon)
    return adversarial, FgsmInfo(is_success(objective, image, adversarial), ball.size(adversarial - image))
