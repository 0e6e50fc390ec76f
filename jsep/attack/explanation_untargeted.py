"""Untargeted attacks on an explanation, which change the top pixels, the centre of mass or the whole map of the clean
image."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jsep.attack.entry import attack_method
from jsep.attack.explanation_search import Best, MapObjective, adaptive_search
from jsep.attack.explanation_terms import checked_constraint, mean_square, one_minus_cosine
from jsep.attack.losses import num_non_finite
from jsep.attack.norms import norm_by_name, project_to_ball_and_box
from jsep.checks import InputError, check_choice, check_count, check_positive
from jsep.compiled import depends_on
from jsep.numerics import absolute, scaled
from jsep.types import Array, Key, LogitsFn, MapFn


def top_k_mass(own_map: Array, k: int) -> MapObjective:
    """map -> the sum of its values at the k largest pixels of `own_map`; ties go to the first pixel in reading
    order."""
    # The pixels are chosen once, on the clean map: the choice is not differentiated.
    _, places = jax.lax.top_k(jax.lax.stop_gradient(own_map).ravel(), k)
    return lambda map_: jnp.sum(map_.ravel()[places])


def centre_of_mass(map_: Array) -> Array:
    """(2,) the mean row and column of a map, in pixels, weighted by its absolute values; the centre of the image for a
    zero map."""
    height, width = map_.shape
    weights = absolute(scaled(map_))
    total = jnp.sum(weights)
    weights = jnp.where(total == 0, 1 / map_.size, weights / jnp.where(total == 0, 1.0, total))
    rows, columns = jnp.arange(height, dtype=map_.dtype), jnp.arange(width, dtype=map_.dtype)
    return jnp.stack([jnp.sum(weights, axis=1) @ rows, jnp.sum(weights, axis=0) @ columns])


def centre_shift(own_map: Array, k: int) -> MapObjective:
    """map -> minus the squared distance between its centre of mass and that of `own_map`, in pixels; k is unused.

    Squared, since the distance is not differentiable at zero, where an attack starts.
    """
    own_centre = centre_of_mass(own_map)
    return lambda map_: -jnp.sum((centre_of_mass(map_) - own_centre) ** 2)


def away_from_own(own_map: Array, k: int) -> MapObjective:
    """map -> minus its mean squared difference from `own_map`; k is unused."""
    return lambda map_: -mean_square(map_, own_map)


def away_from_own_cosine(own_map: Array, k: int) -> MapObjective:
    """map -> its cosine with `own_map`, which does not reward mere concentration; k is unused."""
    return lambda map_: 1 - one_minus_cosine(map_, own_map)


UNTARGETED_OBJECTIVES: dict[str, Callable[[Array, int], MapObjective]] = {
    "top_k": top_k_mass,
    "centre_of_mass": centre_shift,
    "distance": away_from_own,
    "cosine": away_from_own_cosine,
}
"""name -> (map of the clean image, k) -> the function of a map that the attack minimises."""

depends_on(UNTARGETED_OBJECTIVES)


class UntargetedExplanationInfo(NamedTuple):
    """The record of a run of `untargeted_explanation_attack`.

    objective_start, objective_end: () for the clean and the returned image's map; minimised, so lower is a stronger
      attack. objectives: (num_steps,) of every iterate.
    label_kept: () bool, the returned image has the clean image's predicted class.
    success: () bool, the returned image keeps the output and has a lower objective than the clean one.
    distance: () norm of the perturbation; num_non_finite: () int, number of non-finite objectives (NaN also where only
      the gradient is non-finite); such images are never returned.
    """

    objective_start: Array
    objective_end: Array
    objectives: Array
    label_kept: Array
    success: Array
    distance: Array
    num_non_finite: Array


@attack_method
def untargeted_explanation_attack(
    key: Key,
    map_fn: MapFn,
    logits_fn: LogitsFn,
    image: Array,
    *,
    objective: str = "top_k",
    k: int = 1,
    norm: str = "linf",
    epsilon: Any,
    num_steps: int,
    alpha: Any = None,
    random_start: bool = True,
    random_signs: bool = False,
    softmax_tolerance: Any = None,
) -> tuple[Array, UntargetedExplanationInfo]:
    """The untargeted attack: changes the map of the image as far as possible while the predicted class is kept.

    Args:
      key: for the random start and the random signs.
      map_fn: image -> map (H, W) of the class predicted on `image`; logits_fn: image -> logits (K,).
      image: (H, W, C) float in [0, 1].
      objective: "top_k" lowers the mass on the k largest pixels of the clean map, "centre_of_mass" moves the map's
        centre of mass, "distance" raises the mean squared difference from the clean map, "cosine" lowers the cosine
        with it.
      k: number of pixels, 1 .. N; for "top_k" only.
      norm, epsilon: the ball, in pixel units; num_steps: gradient steps, or draws with `random_signs`, >= 0.
      alpha: fixed step length, as published; None for adaptive steps.
      random_start: start at a random image of the ball. "distance" and "cosine" have a zero gradient at the clean
        image, so that an attack started there never moves.
      random_signs: the published baseline instead of the attack: each draw is x + epsilon * (random signs).
      softmax_tolerance: the largest change of a softmax entry; None: only the predicted class is kept.

    Returns: (adversarial, UntargetedExplanationInfo): the best iterate that keeps the output; the clean image if none
      does. One image; batch with `jax.vmap`.
    Raises: InputError for an unknown objective, or a k, budget, count or image out of range.
    Reference: Ghorbani et al. 2019, algorithm 1 and section 3 (random sign perturbation).
    """
    check_choice("objective", objective, UNTARGETED_OBJECTIVES)
    ball = norm_by_name(norm)
    check_count("num_steps", num_steps, minimum=0)
    check_count("k", k)
    if alpha is not None:
        check_positive("alpha", alpha)
    num_pixels = image.shape[0] * image.shape[1]
    if k > num_pixels:
        raise InputError(f"k must be at most the {num_pixels} pixels of a map, got {k}")
    constraint = checked_constraint(map_fn, logits_fn, image, softmax_tolerance)
    descended = UNTARGETED_OBJECTIVES[objective](map_fn(image), k)

    def put_back(candidate: Array) -> Array:
        return project_to_ball_and_box(ball, image, candidate, epsilon)

    objective_start = descended(map_fn(image))
    if random_signs:
        # Unit directions of random signs in the norm: corners of the ball under linf.
        def draw(best: Best, key: Key) -> tuple[Best, Array]:
            signs = jnp.sign(jax.random.uniform(key, image.shape, image.dtype, -1, 1))
            candidate = put_back(image + epsilon * signs / ball.size(signs))
            loss = descended(map_fn(candidate))
            return best.with_visited(candidate, loss, constraint.holds(logits_fn(candidate))), loss

        best, objectives = jax.lax.scan(
            draw, Best(image, jnp.full((), jnp.inf, image.dtype)), jax.random.split(key, max(num_steps, 1))[:num_steps]
        )
    else:
        start = put_back(image + ball.random(key, image.shape, epsilon).astype(image.dtype)) if random_start else image
        best, objectives = adaptive_search(
            map_fn, logits_fn, constraint, image, start,
            objective=descended, judge=descended, norm=ball, epsilon=epsilon, num_steps=num_steps, alpha=alpha,
        )  # fmt: skip
    best = Best(image, objective_start).with_visited(best.image, best.loss, jnp.bool_(True))
    distance = ball.size(best.image - image)
    info = UntargetedExplanationInfo(
        objective_start=objective_start,
        objective_end=best.loss,
        objectives=objectives,
        label_kept=constraint.label_kept(logits_fn(best.image)),
        success=(best.loss < objective_start) & (distance > 0),  # not a difference by rounding between two programs
        distance=distance,
        num_non_finite=num_non_finite(objectives),
    )
    return best.image, info
