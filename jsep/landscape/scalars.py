"""The scalar functions of the image whose landscape is analysed, by name."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jsep import attack
from jsep.checks import InputError, check_choice, check_count, check_noise, check_pixels
from jsep.compiled import call, shape_of
from jsep.map_checks import as_map, floating
from jsep.types import Array, LogitsFn, MapFn, Objective


def explanation_loss_to(map_fn: MapFn, target_map: Array) -> Objective:
    """The objective image -> mean((I(image) - target_map)^2), which the explanation attack minimises (Definition 1)."""
    target_map = jax.lax.stop_gradient(as_map(target_map, "target_map"))

    def objective(image: Array) -> Array:
        map_ = floating(map_fn(image))
        if map_.shape != jnp.shape(target_map):
            raise InputError(
                f"target_map must have the shape of map_fn's maps, {map_.shape}, got {jnp.shape(target_map)}"
            )
        return jnp.mean((map_ - target_map) ** 2)

    return objective


def explanation_loss_to_own(map_fn: MapFn, image: Array) -> Objective:
    """The objective z -> mean((I(z) - I(image))^2), 0 at `image`: the change of the map, without a target.

    At `image` its gradient is 0 and its Hessian (2/N) J^T J, with J the Jacobian of the map.
    """
    return explanation_loss_to(map_fn, call(map_fn, image))


def sep_term(map_fn: MapFn, noise: Array) -> Objective:
    """The objective image -> mean((I(image + noise) - I(image))^2): the SEP term for fixed noise (Algorithm 1).

    Raises: InputError, when called, if the noise would be broadcast: it must have the shape of the image.
    """
    check_noise(noise, noise)

    def objective(image: Array) -> Array:
        check_noise(noise, image)
        return jnp.mean((floating(map_fn(image + noise)) - floating(map_fn(image))) ** 2)

    return objective


@dataclasses.dataclass(frozen=True)
class ScalarContext:
    """The inputs of the scalar functions: a model, an image, and the quantities compared with it.

    logits_fn: image -> logits (K,); label: () the class of the classification losses; map_fn: image -> map (H, W) for a
    fixed class; image: (H, W, C), the clean image; target_map: (H, W); noise: (H, W, C), pixel units.
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
"""name -> (builder of the objective, the fields of `ScalarContext` that it needs)."""


def scalar_fn(name: str, context: ScalarContext) -> Objective:
    """The scalar function called `name`, built from a context: image (H, W, C) -> ().

    Raises: InputError for an unknown name, or a context that lacks a needed field.
    """
    check_choice("scalar function", name, SCALARS)
    build, needs = SCALARS[name]
    missing = [field for field in needs if getattr(context, field) is None]
    if missing:
        raise InputError(f"scalar function {name!r} needs {' and '.join(missing)} of the context, got None")
    return build(*(getattr(context, field) for field in needs))


def check_scalar_fn(function: Objective, point: Array, *, in_box: bool = False) -> Array:
    """Checks a scalar function and a point, and returns the point as a JAX array.

    Args: in_box: whether the pixels must lie in [0, 1].
    Raises: InputError unless the point is floating point and finite, and `function(point)` is one real number.
    """
    array = point if isinstance(point, jax.Array | np.ndarray) else np.asarray(point)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        hint = "; divide uint8 images by 255" if array.dtype == np.uint8 else "; convert it, as by .astype('float32')"
        raise InputError(f"point must be floating point, got dtype {array.dtype}{hint}")
    if array.size == 0:
        raise InputError(f"point must have at least one entry, got shape {array.shape}")
    check_pixels(array, "point", in_box=in_box)
    point = jnp.asarray(array)
    value = shape_of(function, point)
    shape = getattr(value, "shape", None)
    if shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        got = f"shape {shape} and dtype {value.dtype}" if shape is not None else type(value).__name__
        raise InputError(f"scalar_fn must return one real number of shape (), got {got}; reduce it, as by jnp.mean")
    return point


def check_chunk_size(chunk_size: int | None) -> None:
    """Raises InputError unless it is None (everything at once) or a positive integer."""
    if chunk_size is not None:
        check_count("chunk_size", chunk_size)
