"""The norms that bound a perturbation, each with its steepest ascent direction, projections and random start.

Everything is per image: an (H, W, C) perturbation, never the norm of a whole batch.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jsep.attack.hyperplane import l2_to_hyperplane, linf_to_hyperplane
from jsep.checks import InputError, check_choice, check_pixels, check_positive
from jsep.compiled import depends_on
from jsep.types import Array, Key


@dataclasses.dataclass(frozen=True)
class Norm:
    """A norm on perturbations.

    size: (delta) -> (); its value.
    step: (gradient) -> steepest ascent direction of unit size; 0 for a zero gradient.
    project: (delta, epsilon) -> nearest delta of size <= epsilon.
    random: (key, shape, epsilon) -> a perturbation drawn uniformly from the ball.
    to_hyperplane: (image, normal, gap) -> the smallest delta with <normal, delta> = gap and image + delta in [0, 1].
    """

    size: Callable[[Array], Array]
    step: Callable[[Array], Array]
    project: Callable[[Array, Array], Array]
    random: Callable[[Key, tuple[int, ...], Array], Array]
    to_hyperplane: Callable[[Array, Array, Array], Array]


def _l2_size(delta: Array) -> Array:
    return jnp.sqrt(jnp.sum(delta * delta))


def _l2_step(gradient: Array) -> Array:
    # Divided by the largest entry first: squares of small gradients underflow in float32.
    largest = jnp.max(jnp.abs(gradient))
    scaled = gradient / jnp.where(largest == 0, 1.0, largest)
    return scaled / jnp.maximum(_l2_size(scaled), 1.0)  # the size is >= 1 unless the gradient is zero


def _l2_project(delta: Array, epsilon: Array) -> Array:
    size = _l2_size(delta)
    return delta * jnp.where(size > epsilon, epsilon / jnp.where(size == 0, 1.0, size), 1.0)


def _l2_random(key: Key, shape: tuple[int, ...], epsilon: Array) -> Array:
    direction_key, radius_key = jax.random.split(key)
    direction = _l2_step(jax.random.normal(direction_key, shape))
    count = 1
    for length in shape:
        count *= length
    return epsilon * direction * jax.random.uniform(radius_key) ** (1 / count)


NORMS: dict[str, Norm] = {
    "linf": Norm(
        size=lambda delta: jnp.max(jnp.abs(delta)),
        step=jnp.sign,
        project=lambda delta, epsilon: jnp.clip(delta, -epsilon, epsilon),
        random=lambda key, shape, epsilon: jax.random.uniform(key, shape, minval=-epsilon, maxval=epsilon),
        to_hyperplane=linf_to_hyperplane,
    ),
    "l2": Norm(size=_l2_size, step=_l2_step, project=_l2_project, random=_l2_random, to_hyperplane=l2_to_hyperplane),
}
"""name -> Norm."""


depends_on(NORMS)


def norm_by_name(name: str) -> Norm:
    """The norm called `name`. Raises InputError, listing the known names, for any other."""
    check_choice("norm", name, NORMS)
    return NORMS[name]


def project_to_ball_and_box(norm: Norm, image: Array, perturbed: Array, epsilon: Array) -> Array:
    """Projects `perturbed` to the ball of radius `epsilon` around `image`, then clips to [0, 1].

    Clipping moves every pixel towards `image`, which lies in [0, 1], so the result stays in the ball.
    """
    check_positive("epsilon", epsilon, allow_zero=True)
    check_pixels(image)
    if jnp.shape(image) != jnp.shape(perturbed) or not all(
        jnp.issubdtype(jnp.result_type(each), jnp.floating) for each in (image, perturbed)
    ):
        got = f"{jnp.shape(image)} and {jnp.shape(perturbed)}"
        raise InputError(f"image and perturbed must be floating point of one shape, got {got}")
    return jnp.clip(image + norm.project(perturbed - image, epsilon), 0.0, 1.0)
