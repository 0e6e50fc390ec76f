"""The checks of maps, and of functions that give them; what does not fit is an `InputError` of one line."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jsep.checks import InputError, _as_array, _is_traced
from jsep.compiled import shape_of
from jsep.noting import of_values
from jsep.types import Array, MapFn


def as_map(map_: Any, name: str = "map_") -> Array:
    """The checked map as a JAX array; half precision becomes float32.

    Raises: InputError unless it is one (H, W) map, floating point and, if it is not traced, finite.
    """
    array = _as_array(map_, name)
    if array.ndim != 2 or 0 in array.shape:
        hint = "; for a batch use jax.vmap" if array.ndim == 3 else ""
        raise InputError(f"{name} must be one (H, W) map, got shape {array.shape}{hint}")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise InputError(
            f"{name} must be floating point, got dtype {array.dtype}; convert it, as by .astype('float32')"
        )
    _check_values(array, name)
    return jnp.asarray(array).astype(jnp.promote_types(array.dtype, jnp.float32))


@of_values(0)
def _check_values(array: Any, name: str) -> None:
    if not _is_traced(array) and not np.all(np.isfinite(np.asarray(array))):
        raise InputError(f"{name} has values that are not finite: look at the model and at the image")


@of_values(1)
def check_finite_map(name: str, map_: Any) -> None:
    """Raises InputError if a concrete map has non-finite values."""
    # In NumPy: under jit jax.numpy turns even constants into tracers.
    if not _is_traced(map_) and not np.all(np.isfinite(np.asarray(map_))):
        raise InputError(f"{name} has values that are not finite: look at the model, the image and the map function")


def floating(output: Any, name: str = "map_fn") -> Array:
    """The output of a function of an image, which has derivatives. Raises: InputError unless it is a floating array."""
    got = getattr(output, "dtype", type(output).__name__)
    if not hasattr(output, "dtype") or not jnp.issubdtype(got, jnp.floating):
        raise InputError(f"{name} must map an image to a floating-point array, got {got}")
    return output


def check_map_fn(map_fn: MapFn, image: Array, target_map: Any) -> None:
    """Raises InputError if `map_fn` returns no (H, W) map, or `target_map` has another shape or is known non-finite."""
    found = shape_of(map_fn, image)
    shape = getattr(found, "shape", None)
    if shape is None or len(shape) != 2 or not jnp.issubdtype(found.dtype, jnp.floating):
        got = type(found).__name__ if shape is None else f"{found.dtype} of shape {shape}"
        raise InputError(f"map_fn must map one image (H, W, C) to a map (H, W), floating point, got {got}")
    dtype = target_map.dtype if hasattr(target_map, "dtype") else np.asarray(target_map).dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError(f"target_map must be floating point, got dtype {dtype}; convert it, as by .astype('float32')")
    if shape != jnp.shape(target_map):
        raise InputError(f"target_map must have the shape of map_fn's maps, {shape}, got {jnp.shape(target_map)}")
    check_finite_map("target_map", target_map)
