"""Projected gradient ascent on any objective of the image."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jsep.attack.entry import attack_method
from jsep.attack.losses import is_success, num_non_finite, value_and_gradient
from jsep.attack.norms import norm_by_name, project_to_ball_and_box
from jsep.checks import InputError, check_count, check_epsilon, check_positive
from jsep.types import Array, Key, Objective


class PgdInfo(NamedTuple):
    """The record of a run of `pgd`.

    objectives: (num_steps,) the objective before each step, for the returned start, NaN where it or its gradient is not
    finite; distance: () norm of the perturbation.
    success: () bool, the returned image is misclassified, if the objective can tell (those of `cross_entropy`,
    `margin`, `dlr` and `targeted_dlr`, see `PredictionObjective`); for any other objective, that it is higher than at
    the clean image.
    num_non_finite: () int, number of the num_steps + 1 iterates with a non-finite objective or gradient; from such an
    iterate the search returns to the last finite one, and it is never returned.
    """

    objectives: Array
    distance: Array
    success: Array
    num_non_finite: Array


@attack_method
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

    >>> import jax, jax.numpy as jnp
    >>> from jsep import attack
    >>> image, weights = jnp.full((1, 2, 1), 0.5), jnp.array([[[1.0], [-2.0]]])
    >>> found, info = attack.pgd(
    ...     jax.random.key(0), lambda x: (x * weights).sum(), image, epsilon=0.25, alpha=0.25, num_steps=4)
    >>> found.ravel().tolist()  # a linear function is largest at a corner of the ball
    [0.75, 0.25]

    Args:
      key: for the random start.
      objective: image -> scalar, maximised; for example `cross_entropy(logits_fn, label)`.
      image: (H, W, C) float in [0, 1].
      norm: "linf" (sign steps) or "l2" (normalised gradient steps).
      epsilon: radius of the ball, in pixel units (linf) or Euclidean pixel units (l2).
      alpha: step length, in the same units.
      num_steps: gradient steps, >= 0.
      random_start: start uniformly in the ball instead of at `image`.
      num_starts: >= 1; with several (which need `random_start`) the result with the highest objective is returned; on
        `margin` that is a misclassified one, if there is any.

    Returns: (adversarial (H, W, C), PgdInfo). One image; batch with `jax.vmap`. Differentiable if `objective` is.
    Raises: InputError for a norm, budget, count or image out of range.
    Reference: Madry et al. 2018.
    """
    check_count("num_starts", num_starts)
    if num_starts > 1 and not random_start:
        raise InputError(f"{num_starts} starts at one image are all the same: pass random_start=True")

    def run(key: Key) -> tuple[Array, Array, Array]:
        end, last_finite, objectives = ascend(
            key, objective, image,
            norm=norm, epsilon=epsilon, alpha=alpha, num_steps=num_steps, random_start=random_start,
        )  # fmt: skip
        reached = objective(end)
        is_finite = jnp.isfinite(reached)
        return jnp.where(is_finite, end, last_finite), objectives, jnp.where(is_finite, reached, jnp.nan)

    best = run(key)
    if num_starts > 1:

        def start_again(best: tuple[Array, Array, Array], key: Key) -> tuple[tuple[Array, Array, Array], None]:
            new = run(key)
            is_better = (new[2] > best[2]) | (jnp.isfinite(new[2]) & jnp.isnan(best[2]))
            return jax.tree.map(lambda a, b: jnp.where(is_better, a, b), new, best), None

        keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(1, num_starts))
        best, _ = jax.lax.scan(start_again, best, keys)
    adversarial, objectives, reached = best
    return adversarial, PgdInfo(
        objectives,
        norm_by_name(norm).size(adversarial - image),
        is_success(objective, image, adversarial),
        num_non_finite(jnp.append(objectives, reached)),
    )


def ascend(
    key: Key,
    objective: Objective,
    image: Array,
    *,
    norm: str = "linf",
    epsilon: Any,
    alpha: Any,
    num_steps: int,
    random_start: bool = True,
) -> tuple[Array, Array, Array]:
    """The loop of `pgd`, for training: the objective is not evaluated at the final image.

    Args: as `pgd`.
    Returns: (final image (H, W, C); the last iterate (H, W, C) with a finite objective and gradient, `image` if there
      is none; objectives (num_steps,) before each step, NaN where one of the two was not finite).
    """
    ball = norm_by_name(norm)
    check_epsilon(epsilon, norm)
    check_positive("alpha", alpha, allow_zero=True)
    check_count("num_steps", num_steps, minimum=0)

    def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        perturbed, last_finite = carry
        value, gradient = value_and_gradient(objective, perturbed)
        is_finite = jnp.isfinite(value)
        last_finite = jnp.where(is_finite, perturbed, last_finite)
        moved = project_to_ball_and_box(ball, image, perturbed + alpha * ball.step(gradient), epsilon)
        return (jnp.where(is_finite, moved, last_finite), last_finite), value

    start = image
    if random_start:
        noise = ball.random(key, image.shape, epsilon).astype(image.dtype)
        start = project_to_ball_and_box(ball, image, image + noise, epsilon)
    (end, last_finite), objectives = jax.lax.scan(step, (start, image), None, length=num_steps)
    return end, last_finite, objectives
