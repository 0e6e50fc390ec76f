"""The 2-D convolution of the models, in the form that the backend runs fast, at every order of differentiation.

On GPU and TPU it is `lax.conv_general_dilated`. On CPU five things are slow there, and all are written differently:

* The weight gradient inside a compiled loop. The one that JAX writes has another layout than the forward one, and
  in a loop it ran 14 to 20 times slower than alone. Here a stride-1 convolution is a primitive whose transposes are
  written as the same primitive, always in the layout of the forward one.
* The gradients of a strided convolution: the dilated cotangent of the one, the layout of the other. Here its forward
  pass is the library's, and its transposes are those of a sum of products, one for each entry of the kernel.
* Few input channels, as of an image: from 3 to 32 channels it ran 4 times slower than as a product of patches and
  kernel matrix, whose transposes are products too.
* Few pixels: on 4x4 it ran up to twice as long as such a product, and its gradient copies the mirrored kernel.
* The weight gradient of many images: of 128 it ran 1.5 to 2.5 times as long as in groups of 32.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jsep.types import Array

Padding = tuple[tuple[int, int], tuple[int, int]]

_NHWC = ("NHWC", "HWIO", "NHWC")
_FEW_CHANNELS = 4
_FEW_PIXELS = 16
_MANY_IMAGES = 32


def conv2d(images: Array, kernel: Array, *, strides: int, padding: int) -> Array:
    """Cross-correlation of images (B, H, W, C) with kernel (k, k, C, F), zero padding on all sides -> (B, H', W', F).

    Differentiable to any order, forward and reverse; equal to `lax.conv_general_dilated` up to rounding.
    """
    if jax.default_backend() != "cpu":
        pads = [(padding, padding)] * 2
        return jax.lax.conv_general_dilated(images, kernel, (strides, strides), pads, dimension_numbers=_NHWC)
    if strides == 1 and kernel.shape[0] > 1 and kernel.shape[2] > _FEW_CHANNELS:
        return _conv(images, kernel, ((padding, padding), (padding, padding)))
    return strided_conv2d(images, kernel, strides, padding)


@functools.partial(jax.jit, static_argnums=(2, 3))
def strided_conv2d(images: Array, kernel: Array, strides: int, padding: int) -> Array:
    """A convolution with strides, with a 1x1 kernel or of few channels. Jitted for its name: it stays one operation in
    a jaxpr, which `jsep.explain.program` knows as a convolution."""
    size, _, channels, features = kernel.shape
    if size > 1 and channels > _FEW_CHANNELS:
        return _conv(images, kernel, ((padding, padding), (padding, padding)), strides)
    shifted = _shifted(images, size, strides, padding)
    patches = jnp.concatenate(shifted, axis=-1) if size > 1 else shifted[0]
    product = patches.reshape(-1, size * size * channels) @ kernel.reshape(size * size * channels, features)
    return product.reshape(*patches.shape[:3], features)


def _sum_of_products(images: Array, kernel: Array, *, padding: Padding, strides: int) -> Array:
    """The pixels that each kernel entry meets times that entry, (C, F), summed over the entries."""
    (pad, _), _ = padding
    shifted = _shifted(images, kernel.shape[0], strides, pad)
    entries = kernel.reshape(-1, *kernel.shape[2:])
    products = [x.reshape(-1, x.shape[-1]) @ entry for x, entry in zip(shifted, entries, strict=True)]
    return sum(products[1:], products[0]).reshape(*shifted[0].shape[:3], kernel.shape[3])


def _shifted(images: Array, size: int, strides: int, padding: int) -> list[Array]:
    """The pixels that each of the size * size kernel entries meets, (B, H', W', C) each."""
    batch, height, width, channels = images.shape
    padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows = (height + 2 * padding - size) // strides + 1
    columns = (width + 2 * padding - size) // strides + 1
    return [
        jax.lax.slice(
            padded,
            (0, row, column, 0),
            (batch, row + (rows - 1) * strides + 1, column + (columns - 1) * strides + 1, channels),
            (1, strides, strides, 1),
        )
        for row in range(size)
        for column in range(size)
    ]


# The primitive: lhs (B, H, W, C), rhs (kh, kw, C, F), no dilation; with strides its padding is the same on all sides.
_conv_p = Primitive("jsep_conv2d")


def _conv(lhs: Array, rhs: Array, padding: Padding, strides: int = 1) -> Array:
    return _conv_p.bind(lhs, rhs, padding=padding, strides=strides)


def _run_conv(lhs: Array, rhs: Array, *, padding: Padding, strides: int) -> Array:
    height, width, images, _ = rhs.shape
    out = _out_shape(lhs, rhs, padding=padding, strides=strides)
    is_weight_gradient = strides == 1 and height * width > out.shape[1] * out.shape[2]
    if is_weight_gradient and images > _MANY_IMAGES:
        return _in_groups(lhs, rhs, padding)
    if _few_pixels(lhs, rhs, padding, strides):
        return _product(lhs, rhs, padding)
    return _library_conv(lhs, rhs, padding=padding, strides=strides)


def _in_groups(lhs: Array, rhs: Array, padding: Padding) -> Array:
    """A weight gradient, in which the images play the channels, as a sum over groups of images."""
    images, cotangent = jnp.transpose(lhs, (3, 1, 2, 0)), jnp.transpose(rhs, (2, 0, 1, 3))
    num_groups = len(images) // _MANY_IMAGES
    cut = num_groups * _MANY_IMAGES

    def of_group(x: Array, c: Array) -> Array:
        return _run_conv(jnp.transpose(x, (3, 1, 2, 0)), jnp.transpose(c, (1, 2, 0, 3)), padding=padding, strides=1)

    groups = tuple(z[:cut].reshape(num_groups, _MANY_IMAGES, *z.shape[1:]) for z in (images, cotangent))
    rest = of_group(images[cut:], cotangent[cut:]) if cut < len(images) else None
    start = jnp.zeros(_out_shape(lhs, rhs, padding=padding, strides=1).shape, lhs.dtype) if rest is None else rest
    return jax.lax.scan(lambda total, group: (total + of_group(*group), None), start, groups)[0]


def _few_pixels(lhs: Any, rhs: Any, padding: Padding, strides: int) -> bool:
    rows, columns = (lhs.shape[axis + 1] + sum(padding[axis]) - rhs.shape[axis] + 1 for axis in range(2))
    return strides == 1 and rows * columns <= _FEW_PIXELS and rhs.shape[0] * rhs.shape[1] <= _FEW_PIXELS


def _product(lhs: Array, rhs: Array, padding: Padding) -> Array:
    """Patches times the kernel as a matrix."""
    rows, columns = (lhs.shape[axis + 1] + sum(padding[axis]) - rhs.shape[axis] + 1 for axis in range(2))
    zero = jnp.zeros((), lhs.dtype)
    padded = jax.lax.pad(lhs, zero, ((0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)))
    shifted = [
        padded[:, row : row + rows, column : column + columns]
        for row in range(rhs.shape[0])
        for column in range(rhs.shape[1])
    ]
    patches = jnp.concatenate(shifted, axis=-1)
    product = patches.reshape(-1, patches.shape[-1]) @ rhs.reshape(-1, rhs.shape[-1])
    return product.reshape(*patches.shape[:3], -1)


def _library_conv(lhs: Array, rhs: Array, *, padding: Padding, strides: int) -> Array:
    return jax.lax.conv_general_dilated(lhs, rhs, (strides, strides), padding, dimension_numbers=_NHWC)


def _transpose_lhs(cotangent: Array, lhs: Any, rhs: Array, *, padding: Padding, strides: int) -> Array:
    if _few_pixels(lhs.aval, rhs, padding, strides):
        shape = jax.ShapeDtypeStruct(lhs.aval.shape, lhs.aval.dtype)
        return jax.linear_transpose(lambda x: _product(x, rhs, padding), shape)(cotangent)[0]
    if strides > 1:
        shape = jax.ShapeDtypeStruct(lhs.aval.shape, lhs.aval.dtype)
        products = functools.partial(_sum_of_products, kernel=rhs, padding=padding, strides=strides)
        return jax.linear_transpose(products, shape)(cotangent)[0]
    # d lhs = cotangent * mirrored kernel with input and output features exchanged.
    mirrored = jnp.swapaxes(rhs[::-1, ::-1], 2, 3)
    pads = tuple((length - 1 - low, length - 1 - high) for length, (low, high) in zip(rhs.shape, padding, strict=False))
    return _conv(cotangent, mirrored, pads)  # type: ignore[arg-type]


def _transpose_rhs(cotangent: Array, lhs: Array, rhs: Any, *, padding: Padding, strides: int) -> Array:
    if strides > 1:
        shape = jax.ShapeDtypeStruct(rhs.aval.shape, rhs.aval.dtype)
        products = functools.partial(_sum_of_products, lhs, padding=padding, strides=strides)
        return jax.linear_transpose(products, shape)(cotangent)[0]
    # d rhs: the input's channels play the batch, its batch the channels, and the cotangent the kernel.
    out = _conv(jnp.transpose(lhs, (3, 1, 2, 0)), jnp.transpose(cotangent, (1, 2, 0, 3)), padding)
    return jnp.transpose(out, (1, 2, 0, 3))


def _batch(args: tuple[Array, Array], dims: tuple[Any, Any], *, padding: Padding, strides: int) -> tuple[Array, int]:
    lhs, rhs = args
    lhs_dim, rhs_dim = dims
    if rhs_dim is None:
        lhs = jnp.moveaxis(lhs, lhs_dim, 0)
        out = _conv(lhs.reshape(-1, *lhs.shape[2:]), rhs, padding, strides)
        return out.reshape(*lhs.shape[:2], *out.shape[1:]), 0
    if lhs_dim is None:
        rhs = jnp.moveaxis(rhs, rhs_dim, 3)
        out = _conv(lhs, rhs.reshape(*rhs.shape[:3], -1), padding, strides)
        return out.reshape(*out.shape[:3], *rhs.shape[3:]), 3
    return jax.vmap(lambda x, w: _library_conv(x, w, padding=padding, strides=strides))(
        jnp.moveaxis(lhs, lhs_dim, 0), jnp.moveaxis(rhs, rhs_dim, 0)
    ), 0


def _out_shape(lhs: Any, rhs: Any, *, padding: Padding, strides: int) -> Any:
    rows, columns = ((lhs.shape[axis + 1] + sum(padding[axis]) - rhs.shape[axis]) // strides + 1 for axis in range(2))
    return jax.core.ShapedArray((lhs.shape[0], rows, columns, rhs.shape[3]), lhs.dtype)


_conv_p.def_impl(jax.jit(_run_conv, static_argnames=("padding", "strides")))
_conv_p.def_abstract_eval(_out_shape)
mlir.register_lowering(_conv_p, mlir.lower_fun(_run_conv, multiple_results=False))
ad.defbilinear(_conv_p, _transpose_lhs, _transpose_rhs)
batching.primitive_batchers[_conv_p] = _batch
