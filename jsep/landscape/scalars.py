"""The scalar functions of the image whose landscape is computed, by name."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jsep import attack
from jsep.checks import InputError, check_choice, check_count
from jsep.types import Array, LogitsFn, MapFn, Objective


def explanation_loss_to(map_fn: MapFn, target_map: Array) -> Objective:
    """The objective image -> mean((I(image) - target_map)^2): what the explanation attack descends (Definition 1)."""
    target_map = jax.lax.stop_gradient(target_map)

    def objective(image: Array) -> Array:
        map_ = map_fn(image)
        if map_.shape != jnp.shape(target_map):
            raise InputError(
                f"target_map must have the shape of map_fn's maps, {map_.shape}, got {jnp.shape(target_map)}"
            )
        return jnp.mean((map_ - target_map) ** 2)

    return objective


def explanation_loss_to_own(map_fn: MapFn, image: Array) -> Objective:
    """The objective z -> mean((I(z) - I(image))^2), 0 at `image`: how far the map moves, whatever the target.

    Its gradient at `image` is 0 and its Hessian there (2/N) J^T J, with J the Jacobian of the map.
    """
    return explanation_loss_to(map_fn, map_fn(image))


def sep_term(map_fn: MapFn, noise: Array) -> Objective:
    """The objective image -> mean((I(image + noise) - I(image))^2): the SEP term with its noise held fixed
    (Algorithm 1)."""
    return lambda image: jnp.mean((map_fn(image + noise) - map_fn(image)) ** 2)


@dataclasses.dataclass(frozen=True)
class ScalarContext:
    """The ingredients of the scalar functions: a model, an image, and what the functions compare it with.

    logits_fn: image -> logits (K,); label: () the class of the classification losses; map_fn: image -> map (H, W),
    its explained class fixed; image: (H, W, C), the clean image; target_map: (H, W); noise: (H, W, C), pixel units.
    """

    logits_fn: LogitsFn
    label: Array
    image: Array
    map_fn: MapFn | None = None
    target_map: Array | None = None
    noise: Array | None = None


SCALARS: dict[str, tuple[Callable[..., Objective], tuple[str, ...]]] = {
    "cross_entropy": (attack.cross_entropy, ("logits_fn", "label")),
    "margin": (attack.margin, ("logits_fn", "label")),
    "explanation_to_target": (explanation_loss_to, ("map_fn", "target_map")),
    "explanation_to_own": (explanation_loss_to_own, ("map_fn", "image")),
    "sep_term": (sep_term, ("map_fn", "noise")),
}
"""name -> (builder of the objective, the fields of a ScalarContext that it takes)."""


def scalar_fn(name: str, context: ScalarContext) -> Objective:
    """The scalar function called `name` in a context: image (H, W, C) -> ().

    Raises: InputError for an unknown name, or a context without a field that it needs.
    """
    check_choice("scalar function", name, SCALARS)
    build, needs = SCALARS[name]
    missing = [field for field in needs if getattr(context, field) is None]
    if missing:
        raise InputError(f"scalar function {name!r} needs {' and '.join(missing)} of the context, got None")
    return build(*(getattr(context, field) for field in needs))


def check_scalar_fn(function: Objective, point: Array) -> Array:
    """The point as an array. Raises InputError unless it is floating point and `function(point)` one real number."""
    point = jnp.asarray(point)
    if not jnp.issubdtype(point.dtype, jnp.floating):
        raise InputError(f"point must be floating point, got dtype {point.dtype}; divide uint8 images by 255")
    value = jax.eval_shape(function, point)
    shape = getattr(value, "shape", None)
    if shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        got = f"shape {shape} and dtype {value.dtype}" if shape is not None else type(value).__name__
        raise InputError(f"scalar_fn must return one real number of shape (), got {got}; reduce it, as by jnp.mean")
    return point


def check_chunk_size(chunk_size: int | None) -> None:
    """Raises InputError unless it is None (everything at once) or a count."""
    if chunk_size is not None:
        check_count("chunk_size", chunk_size)
