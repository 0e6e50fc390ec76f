"""Numerically safe arithmetic: norms without under- or overflow, no NaN derivatives, float32 for half precision."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep.types import Array


def absolute(x: Array) -> Array:
    """|x| with derivative sign(x), which is 0 at x = 0.

    `jax.grad(jnp.abs)(0.)` is 1: with Gradient x Input every pixel that is exactly 0 would get a spurious gradient.
    """
    return x * jax.lax.stop_gradient(jnp.sign(x))


def power_of_two(x: Array) -> Array:
    """() the smallest power of two above max |x|; 1 if x is zero or not finite. Its derivative is 0.

    Dividing by it scales x to about 1 without rounding error, so that scale-invariant formulas give the same result at
    every scale, also where squares of x would underflow or overflow.
    """
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x)))
    _, exponent = jnp.frexp(jnp.where(jnp.isfinite(largest), largest, 0.0))
    return jnp.ldexp(jnp.ones((), x.dtype), jnp.clip(exponent, -120, 120))


def scaled(x: Array) -> Array:
    """x / `power_of_two(x)`: max |x| becomes a number in [1/2, 1); a zero array is unchanged."""
    return x / power_of_two(x)


def norm(x: Array, axis: int | None = None) -> Array:
    """The Euclidean norm without under- or overflow; its derivative at 0 is 0, not NaN."""
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


def softmax(logits: Array) -> Array:
    """The softmax over the last axis, NaN where a logit is NaN.

    XLA's CPU compiler takes the exponential of a NaN that it knows when it compiles, as of a model whose weights are
    constants, for any number: `jax.jit(lambda x: jax.nn.softmax(x * jnp.nan))(jnp.arange(3.0))` is finite in jax 0.10.
    """
    is_nan = jnp.any(jnp.isnan(logits), axis=-1, keepdims=True)
    return jnp.where(is_nan, jnp.nan, jax.nn.softmax(logits))


def is_half(dtype: Any) -> bool:
    """Whether `dtype` is a floating-point type of less than 32 bits."""
    return bool(jnp.issubdtype(dtype, jnp.floating)) and jnp.finfo(dtype).bits < 32


def in_single_precision(function: Callable[..., Any], image: Array) -> Callable[..., Any]:
    """Wraps a function of half-precision images like `image` as a function of float32 images with float32 outputs.

    If `function` rejects float32 images (its own half-precision arrays do not promote), they are cast to the dtype of
    `image` first. An objective that is a dataclass with a field `logits_fn` keeps its type and methods.
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
    """A half-precision array as float32; anything else unchanged."""
    return x.astype(jnp.float32) if hasattr(x, "dtype") and is_half(x.dtype) else x


def plain(value: Any) -> Any:
    """The value with NumPy and JAX scalars (and arrays of shape ()) replaced by Python numbers, for JSON."""
    if isinstance(value, np.generic | np.ndarray | jax.Array) and np.shape(value) == ():
        return np.asarray(value).item()
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(plain(each) for each in value)
    return value
