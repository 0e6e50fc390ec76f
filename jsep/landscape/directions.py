"""Directions in the input space by name, each scaled to a given size in a norm."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jsep import attack
from jsep.checks import InputError, check_choice, check_epsilon, check_positive
from jsep.compiled import call
from jsep.landscape.curvature import top_eigenvalues
from jsep.types import Array, Key, Objective


def normalize(direction: Array, *, epsilon: Any, norm: str = "linf") -> Array:
    """epsilon * d / ||d||: the direction scaled to the size of the budget.

    Args: direction: (H, W, C), not zero (under jit a zero direction stays zero); epsilon: size in pixel units, > 0;
      norm: "linf" or "l2".
    Returns: (H, W, C). Coordinate 1 along it is one budget, so the axis of a slice is in units of epsilon.
    Raises: InputError for a zero or non-finite direction, a budget that is not > 0, an unknown norm.
    """
    ball = attack.norm_by_name(norm)
    check_epsilon(epsilon, norm)
    check_positive("epsilon", epsilon)
    direction = jnp.asarray(direction)
    check_direction(direction)
    # Divided by the largest entry first: squares of small gradients underflow in float32.
    largest = jnp.max(jnp.abs(direction))
    scaled = direction / jnp.where(largest == 0, 1.0, largest)
    size = ball.size(scaled)
    return epsilon * (scaled / jnp.where(size == 0, 1.0, size))


def check_direction(direction: Array, name: str = "direction") -> None:
    """Raises InputError for a direction that is known to be zero or not finite."""
    if isinstance(direction, jax.core.Tracer):
        return
    if not bool(jnp.all(jnp.isfinite(direction))):
        raise InputError(f"{name} has values that are not finite: look at the function it comes from")
    if not bool(jnp.any(direction != 0)):
        raise InputError(f"{name} is zero everywhere, so there is no line along it; choose another one")


@dataclasses.dataclass(frozen=True)
class DirectionContext:
    """The inputs that directions are made from.

    scalar_fn: image -> (); point: (H, W, C); attacked: (H, W, C), the result of an attack on `point`; other: (H, W, C),
    another image; num_matvecs: Hessian-vector products for an eigenvector.
    """

    scalar_fn: Objective
    point: Array
    attacked: Array | None = None
    other: Array | None = None
    num_matvecs: int = 20


def _gaussian(key: Key, context: DirectionContext) -> Array:
    return jax.random.normal(key, context.point.shape, context.point.dtype)


def _rademacher(key: Key, context: DirectionContext) -> Array:
    return jax.random.rademacher(key, context.point.shape, context.point.dtype)


def _gradient(key: Key, context: DirectionContext) -> Array:
    return call(jax.grad(context.scalar_fn), context.point)


def _gradient_sign(key: Key, context: DirectionContext) -> Array:
    return jnp.sign(_gradient(key, context))


def _attack(key: Key, context: DirectionContext) -> Array:
    if context.attacked is None:
        raise InputError("direction 'attack' needs `attacked`, the image where the attack ended")
    return context.attacked - context.point


def _eigenvector(key: Key, context: DirectionContext) -> Array:
    matvecs = min(context.num_matvecs, context.point.size)
    return top_eigenvalues(key, context.scalar_fn, context.point, num_eigenvalues=1, num_matvecs=matvecs)[1][0]


def _to_image(key: Key, context: DirectionContext) -> Array:
    if context.other is None:
        raise InputError("direction 'to_image' needs `other`, the image that it leads to")
    return context.other - context.point


DIRECTIONS: dict[str, Callable[[Key, DirectionContext], Array]] = {
    "gaussian": _gaussian,
    "rademacher": _rademacher,
    "gradient": _gradient,
    "gradient_sign": _gradient_sign,
    "attack": _attack,
    "eigenvector": _eigenvector,
    "to_image": _to_image,
}
"""name -> (key, context) -> direction of any size; "eigenvector" is that of the eigenvalue of largest magnitude."""

RANDOM_DIRECTIONS = frozenset({"gaussian", "rademacher"})
"""The random directions; each of the others is unique for a function and an image."""


def direction(key: Key, name: str, context: DirectionContext, *, epsilon: Any, norm: str = "linf") -> Array:
    """The direction called `name`, of size `epsilon` in `norm`; (H, W, C).

    Raises: InputError for an unknown name, a missing field of the context, or a direction that is zero, such as the
    gradient of `explanation_loss_to_own` at the clean image.
    """
    check_choice("direction", name, DIRECTIONS)
    raw = DIRECTIONS[name](key, context)
    check_direction(raw, f"direction {name!r}")
    return normalize(raw, epsilon=epsilon, norm=norm)
