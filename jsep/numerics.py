"""Arithmetic that holds at every scale and precision: norms without underflow, steps without NaN, float32 inside."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep.types import Array


def absolute(x: Array) -> Array:
    """|x| with derivative sign(x), 0 at x = 0: the symmetric choice.

    `jax.grad(jnp.abs)(0.)` is 1; images have exact zeros, and with Gradient x Input that would pull on every one.
    """
    return x * jax.lax.stop_gradient(jnp.sign(x))


def power_of_two(x: Array) -> Array:
    """() the power of two just above max |x|, 1 where x is zero or not finite; no derivative passes through it.

    Dividing by it brings x to a size of about 1 without rounding a single digit, so that a formula that does not depend
    on the scale of x gives the same number at every scale, where squares of x would underflow or overflow.
    """
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x)))
    _, exponent = jnp.frexp(jnp.where(jnp.isfinite(largest), largest, 0.0))
    return jnp.ldexp(jnp.ones((), x.dtype), jnp.clip(exponent, -120, 120))


def scaled(x: Array) -> Array:
    """x over `power_of_two(x)`: the largest entry is in [1/2, 1), a zero array stays."""
    return x / power_of_two(x)


def norm(x: Array, axis: int | None = None) -> Array:
    """The Euclidean norm at every scale, with derivative 0, not NaN, where it is 0."""
    scale = power_of_two(x)
    square = jnp.sum((x / scale) ** 2, axis=axis)
    is_zero = square == 0
    return scale * jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, square)))


def all_finite(*arrays: Array) -> Array:
    """() bool: every entry of every array is finite."""
    found = jnp.bool_(True)
    for array in arrays:
        found &= jnp.all(jnp.isfinite(array))
    return found


def is_half(dtype: Any) -> bool:
    """Whether a floating-point type has fewer digits than float32."""
    return bool(jnp.issubdtype(dtype, jnp.floating)) and jnp.finfo(dtype).bits < 32


def in_single_precision(function: Callable[..., Any], image: Array) -> Callable[..., Any]:
    """A function of images like `image`, of half precision, as one of float32 images with outputs in float32.

    Where the function takes no float32 image (its own arrays are of half precision, and do not mix), it still sees
    images of its type. An objective that is a dataclass with a field `logits_fn` keeps its methods.
    """
    if dataclasses.is_dataclass(function) and not isinstance(function, type) and hasattr(function, "logits_fn"):
        narrow_fn: Any = function
        return dataclasses.replace(narrow_fn, logits_fn=in_single_precision(narrow_fn.logits_fn, image))
    dtype = image.dtype
    try:
        jax.eval_shape(function, jax.ShapeDtypeStruct(image.shape, jnp.float32))
        seen = jnp.dtype(jnp.float32)
    except (TypeError, ValueError):
        seen = dtype

    def wide(image: Array, *more: Any) -> Any:
        return jax.tree.map(to_single, function(image.astype(seen), *more))

    return wide


def to_single(x: Any) -> Any:
    """The array in float32 where it is of half precision; anything else as it is."""
    return x.astype(jnp.float32) if hasattr(x, "dtype") and is_half(x.dtype) else x


def plain(value: Any) -> Any:
    """The value with Python's numbers in place of those of NumPy and JAX (also arrays of shape ()), for JSON."""
    if isinstance(value, np.generic | np.ndarray | jax.Array) and np.shape(value) == ():
        return np.asarray(value).item()
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(plain(each) for each in value)
    return value
