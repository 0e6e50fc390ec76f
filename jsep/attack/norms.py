"""The norms that bound a perturbation, each with its steepest ascent direction, projections and random start.

Everything is per image: an (H, W, C) perturbation, never the norm of a whole batch.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

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


_MAX_ROUNDS = 64  # each round clips at least one more pixel; a handful suffices on images


def linf_to_hyperplane(image: Array, normal: Array, gap: Array) -> Array:
    """argmin |d|_inf over d with <normal, d> = gap and image + d in [0, 1]: every pixel moves by the same length."""
    return _to_hyperplane(image, normal, gap, jnp.ones_like(normal))


def l2_to_hyperplane(image: Array, normal: Array, gap: Array) -> Array:
    """argmin |d|_2 over d with <normal, d> = gap and image + d in [0, 1]: pixels move in proportion to the normal."""
    return _to_hyperplane(image, normal, gap, jnp.abs(normal))


def _to_hyperplane(image: Array, normal: Array, gap: Array, speed: Array) -> Array:
    """d_i = s_i min(t speed_i, room_i), with s the sign towards the hyperplane and room the distance to the bound.

    sum_i |normal_i| min(t speed_i, room_i) is concave and piecewise linear in t, so that Newton's method from t = 0
    approaches the root from below and reaches it in finitely many rounds. If the box does not reach the hyperplane,
    every pixel moves to its bound.
    """
    weight = jnp.abs(normal)
    direction = jnp.sign(normal) * jnp.where(gap < 0, -1.0, 1.0).astype(image.dtype)
    room = jnp.where(direction > 0, 1 - image, image)
    needed = jnp.abs(gap)

    def next_length(length: Array) -> Array:
        moving = length * speed < room
        slope = jnp.sum(jnp.where(moving, weight * speed, 0.0))
        rest = needed - jnp.sum(jnp.where(moving, 0.0, weight * room))
        # If no pixel can move further there is no root: every pixel moves to its bound.
        return jnp.where(slope > 0, rest / jnp.where(slope > 0, slope, 1.0), jnp.inf)

    def more(state: tuple[Array, Array, Any]) -> Array:
        length, before, count = state
        return (length > before) & jnp.isfinite(length) & (count < _MAX_ROUNDS)

    def advance(state: tuple[Array, Array, Any]) -> tuple[Array, Array, Any]:
        length, _, count = state
        return jnp.maximum(next_length(length), length), length, count + 1

    zero = jnp.zeros((), image.dtype)
    length, _, _ = jax.lax.while_loop(more, advance, (next_length(zero), zero, 0))
    # A pixel of speed 0 does not move, even for infinite t.
    return direction * jnp.minimum(jnp.where(speed > 0, length * jnp.where(speed > 0, speed, 1.0), 0.0), room)


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
