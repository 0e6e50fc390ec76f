"""The fast gradient method: one gradient step of the length of the budget."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jsep.attack.entry import attack_method
from jsep.attack.losses import is_success, num_non_finite, value_and_gradient
from jsep.attack.norms import norm_by_name, project_to_ball_and_box
from jsep.types import Array, Objective


class FgsmInfo(NamedTuple):
    """success: () bool, the returned image is misclassified (see `PgdInfo`); distance: () norm of the perturbation;
    num_non_finite: () int, as in `PgdInfo`; if it is not 0, the clean image is returned."""

    success: Array
    distance: Array
    num_non_finite: Array


@attack_method
def fgsm(objective: Objective, image: Array, *, norm: str = "linf", epsilon: Any) -> tuple[Array, FgsmInfo]:
    """clip(x + epsilon * step(grad objective(x))): the sign of the gradient under linf, its direction under l2.

    Args:
      objective: image -> scalar, maximised; for example `cross_entropy(logits_fn, label)`.
      image: (H, W, C) float in [0, 1].
      norm: "linf" or "l2"; epsilon: length of the step, pixel units.

    Returns: (adversarial (H, W, C), FgsmInfo). One image; batch with `jax.vmap`.
    Raises: InputError for a norm, budget or image out of range.
    Reference: Goodfellow et al. 2015, section 4.
    """
    ball = norm_by_name(norm)
    value, gradient = value_and_gradient(objective, image)
    end = project_to_ball_and_box(ball, image, image + epsilon * ball.step(gradient), epsilon)
    reached = objective(end)
    adversarial = jnp.where(jnp.isfinite(reached), end, image)
    return adversarial, FgsmInfo(
        is_success(objective, image, adversarial),
        ball.size(adversarial - image),
        num_non_finite(jnp.stack([value, reached])),
    )
