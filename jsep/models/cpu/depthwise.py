"""The depthwise 2-D convolution, fast on CPU at every order of derivative.

On other platforms it is the grouped convolution of `jax.lax`. On CPU that takes 30 to 60 times as long as a sum of
shifted images, which it is there. The convolution and its weight gradient are primitives that are each other's
transposes, so that derivatives have the same form: JAX's own transpose of a sum of slices, a sum of padded images, runs
9 to 17 times slower inside a compiled loop.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching

from jsep.models.cpu.lax_conv import lax_conv
from jsep.models.cpu.patches import Padding, im2col, pad
from jsep.models.cpu.platform import Forms, lower_by_platform
from jsep.types import Array


@functools.partial(jax.jit, static_argnums=(2, 3))
def depthwise_conv2d(images: Array, kernel: Array, strides: int, padding: Padding) -> Array:
    """Depthwise cross-correlation of images (B, H, W, C) with kernel (kh, kw, 1, C) -> (B, H', W', C).

    Differentiable to any order, forward and reverse. Jitted so that it stays one named operation in a jaxpr, which
    `jsep.explain.program` recognises as a convolution.
    """
    out = functools.partial(_conv, padding=padding)
    weights = kernel.reshape(*kernel.shape[:2], -1)
    if strides == 1:
        return out(images, weights)
    return jax.lax.platform_dependent(
        images, weights,
        # XLA for CPU computes only the outputs that the slice keeps.
        cpu=lambda images, weights: out(images, weights)[:, ::strides, ::strides],
        default=functools.partial(_grouped, padding=padding, strides=strides),
    )  # fmt: skip


# Two primitives of stride 1: (images (B, H, W, C), weights (kh, kw, C)) -> out (B, H', W', C), and
# (images, cotangent of out) -> gradient in the weights.
_conv_p = Primitive("jsep_depthwise_conv2d")
_weights_p = Primitive("jsep_depthwise_weights")


def _conv(images: Array, weights: Array, padding: Padding) -> Array:
    return _conv_p.bind(images, weights, padding=padding)


def _weights(images: Array, out: Array, padding: Padding) -> Array:
    return _weights_p.bind(images, out, padding=padding)


def _grouped(images: Array, weights: Array, *, padding: Padding, strides: int = 1) -> Array:
    return lax_conv(images, weights[:, :, None], padding=padding, strides=strides, groups=weights.shape[-1])


def _grouped_weights(images: Array, out: Array, *, padding: Padding) -> Array:
    shape = jax.ShapeDtypeStruct((*_kernel_size(images, out, padding), images.shape[-1]), images.dtype)
    return jax.linear_transpose(lambda weights: _grouped(images, weights, padding=padding), shape)(out)[0]


def _padded(images: Array, padding: Padding) -> Array:
    # Without the barrier XLA fuses the computation of the images into every shift and repeats it.
    return jax.lax.optimization_barrier(pad(images, padding))


def _sum_of_shifted(images: Array, weights: Array, *, padding: Padding) -> Array:
    rows, columns, channels = weights.shape
    met = im2col(_padded(images, padding), rows, columns)
    entries = weights.reshape(-1, channels)
    return sum((x * w for x, w in zip(met[1:], entries[1:], strict=True)), met[0] * entries[0])


def _sums_over_pixels(images: Array, out: Array, *, padding: Padding) -> Array:
    rows, columns = _kernel_size(images, out, padding)
    out = jax.lax.optimization_barrier(out)
    sums = [jnp.sum(x * out, axis=(0, 1, 2)) for x in im2col(_padded(images, padding), rows, columns)]
    return jnp.stack(sums).reshape(rows, columns, -1)


def _kernel_size(images: Any, out: Any, padding: Padding) -> tuple[int, int]:
    rows, columns = (images.shape[axis + 1] + sum(padding[axis]) - out.shape[axis + 1] + 1 for axis in range(2))
    return rows, columns


def _of_images(cotangent: Array, weights: Array, padding: Padding) -> Array:
    """The cotangent of the images: the cotangent of the output convolved with the mirrored kernel."""
    rows, columns = ((n - 1 - low, n - 1 - high) for n, (low, high) in zip(weights.shape, padding, strict=False))
    return _conv(cotangent, weights[::-1, ::-1], (rows, columns))


def _batch(
    bind: Callable[..., Array], args: tuple[Array, Array], dims: tuple[Any, Any], *, padding: Padding
) -> tuple[Array, int]:
    (images, other), (images_dim, other_dim) = args, dims
    if bind is _conv and other_dim is None:
        images = jnp.moveaxis(images, images_dim, 0)
        out = _conv(images.reshape(-1, *images.shape[2:]), other, padding)
        return out.reshape(*images.shape[:2], *out.shape[1:]), 0
    # Channels are independent of each other, so the mapped axis is merged into them.
    size = images.shape[images_dim] if images_dim is not None else other.shape[other_dim]

    def merged(x: Array, dim: Any) -> Array:
        x = jnp.repeat(x[..., None, :], size, axis=-2) if dim is None else jnp.moveaxis(x, dim, -2)
        return x.reshape(*x.shape[:-2], -1)

    out = bind(merged(images, images_dim), merged(other, other_dim), padding)
    return out.reshape(*out.shape[:-1], size, -1), out.ndim - 1


def _conv_shape(images: Any, weights: Any, *, padding: Padding) -> Any:
    height, width = (images.shape[axis + 1] + sum(padding[axis]) - weights.shape[axis] + 1 for axis in range(2))
    return jax.core.ShapedArray((images.shape[0], height, width, images.shape[3]), images.dtype)


def _weights_shape(images: Any, out: Any, *, padding: Padding) -> Any:
    return jax.core.ShapedArray((*_kernel_size(images, out, padding), images.shape[3]), images.dtype)


def _define(primitive: Primitive, bind: Any, forms: Forms, shape: Any, of_first: Any, of_second: Any) -> None:
    primitive.def_abstract_eval(shape)
    lower_by_platform(primitive, forms, ("padding",))
    ad.defbilinear(primitive, of_first, of_second)
    batching.primitive_batchers[primitive] = functools.partial(_batch, bind)


_define(
    _conv_p, _conv, (_sum_of_shifted, _grouped), _conv_shape,
    lambda cotangent, images, weights, *, padding: _of_images(cotangent, weights, padding),
    lambda cotangent, images, weights, *, padding: _weights(images, cotangent, padding),
)  # fmt: skip
_define(
    _weights_p, _weights, (_sums_over_pixels, _grouped_weights), _weights_shape,
    lambda cotangent, images, out, *, padding: _of_images(out, cotangent, padding),
    lambda cotangent, images, out, *, padding: _conv(images, cotangent, padding),
)  # fmt: skip
