"""Projected gradient ascent on any objective of the image."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jsep.attack.losses import is_success
from jsep.attack.norms import norm_by_name, project_to_ball_and_box
from jsep.checks import InputError, check_count, check_epsilon, check_image, check_positive
from jsep.types import Array, Key, Objective


class PgdInfo(NamedTuple):
    """The record of a run of `pgd`.

    objectives: (num_steps,) the objective before each step, of the start that is returned; distance: () norm of the
    perturbation.
    success: () bool, the returned image is misclassified, where the objective can tell (those of `cross_entropy`,
    `margin`, `dlr` and `targeted_dlr`, see `PredictionObjective`); of any other objective, that it is higher than at
    the clean image.
    """

    objectives: Array
    distance: Array
    success: Array


def pgd(
    key: Key,
    objective: Objective,
    image: Array,
    *,
    norm: str = "linf",
    epsilon: Any,
    alpha: Any,
    num_steps: int,
    random_start: bool = True,
    num_starts: int = 1,
) -> tuple[Array, PgdInfo]:
    """Projected gradient ascent: x <- P(x + alpha * step(grad objective(x))), P onto the ball and the box [0, 1].

    Args:
      key: for the random start.
      objective: image -> scalar, ascended; for example `cross_entropy(logits_fn, label)`.
      image: (H, W, C) float in [0, 1].
      norm: "linf" (sign steps) or "l2" (normalised gradient steps).
      epsilon: radius of the ball, in pixel units (linf) or Euclidean pixel units (l2).
      alpha: length of a step, in the same units.
      num_steps: gradient steps, >= 0.
      random_start: start uniformly in the ball instead of at `image`.
      num_starts: >= 1; of several (which need `random_start`) the one that ends with the highest objective is returned:
        on `margin` one that is misclassified, if there is one.

    Returns: (adversarial (H, W, C), PgdInfo). One image; batch with `jax.vmap`. Differentiable where `objective` is.
    Raises: InputError for a norm, budget, count or image that does not fit.
    Reference: Madry et al. 2018.
    """
    ball = norm_by_name(norm)
    check_image(image)
    check_epsilon(epsilon, norm)
    check_positive("alpha", alpha, allow_zero=True)
    check_count("num_steps", num_steps, minimum=0)
    check_count("num_starts", num_starts)
    if num_starts > 1 and not random_start:
        raise InputError(f"{num_starts} starts at one image are all the same: pass random_start=True")
    image = jnp.asarray(image)

    def step(perturbed: Array, _: None) -> tuple[Array, Array]:
        value, gradient = jax.value_and_grad(objective)(perturbed)
        moved = perturbed + alpha * ball.step(gradient)
        return project_to_ball_and_box(ball, image, moved, epsilon), value

    def run(key: Key) -> tuple[Array, Array]:
        start = image
        if random_start:
            noise = ball.random(key, image.shape, epsilon).astype(image.dtype)
            start = project_to_ball_and_box(ball, image, image + noise, epsilon)
        return jax.lax.scan(step, start, None, length=num_steps)

    adversarial, objectives = run(key)
    if num_starts > 1:

        def start_again(best: tuple[Array, Array, Array], key: Key) -> tuple[tuple[Array, Array, Array], None]:
            candidate, seen = run(key)
            reached = objective(candidate)
            new = candidate, seen, reached
            return jax.tree.map(lambda a, b: jnp.where(reached > best[2], a, b), new, best), None

        first = adversarial, objectives, objective(adversarial)
        keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(1, num_starts))
        (adversarial, objectives, _), _ = jax.lax.scan(start_again, first, keys)
    success = is_success(objective, image, adversarial)
    return adversarial, PgdInfo(objectives, ball.size(adversarial - image), success)
