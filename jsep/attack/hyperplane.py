"""The smallest perturbation that moves an image onto a hyperplane within the box [0, 1]."""

from typing import Any

import jax
import jax.numpy as jnp

from jsep.types import Array

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
