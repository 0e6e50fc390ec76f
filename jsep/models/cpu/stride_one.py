"""The 2-D convolution of stride 1: a primitive whose transposes are again calls of itself, or of a second one.

On other platforms than CPU both are lowered to the convolution of `jax.lax`. On CPU gradients of every order keep the
memory layout of the forward pass in this way; the weight gradient of JAX has another layout, with which it ran 14 to 20
times slower in a compiled loop than outside. For CPU the lowering depends on the shapes:

* A weight gradient is a sum over blocks of images, transposed block by block: transposing a whole batch took a quarter
  of the time of the gradient in all parameters of a ResNet-18. For a 1x1 kernel it is one matrix product, without the
  copy of the cotangent that XLA otherwise makes in a second derivative.
* Few input channels, as in an image, use im2col: from 3 to 32 channels the convolution of `jax.lax` took up to 4 times
  as long. Computing two output columns at once took 0.5 to 0.9 of the time of one, including the softplus (128 images
  of 64x64: the same). Few output pixels use im2col too: on 4x4 `jax.lax` took up to twice as long.

Winograd's minimal filtering of 3x3 kernels with many channels is not used: it saved 14 % of a MAT step of a ResNet-18
(Intel, 128 images) and 3 % of one of the ConvNet (`benchmarks/convolution_forms.py`), less than the required 15 %.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching

from jsep.models.cpu.blocking import sum_blocks
from jsep.models.cpu.lax_conv import lax_conv
from jsep.models.cpu.patches import NO_PADDING, Padding, im2col_conv, im2col_conv_by_two_columns
from jsep.models.cpu.platform import lower_by_platform, mapped_by_platform
from jsep.types import Array

FEW_CHANNELS = 4
_FEW_PIXELS = 16
_FEW_ENTRIES = 25  # most entries of a kernel; a larger one is the cotangent in a weight gradient

# lhs (B, H, W, C), rhs (kh, kw, C, F) -> (B, H', W', F).
_conv_p = Primitive("jsep_conv2d")
# The gradient of a small one in its images: cotangent (B, H', W', F), rhs (kh, kw, C, F) -> (B, H, W, C).
_images_p = Primitive("jsep_conv2d_images")


def conv(lhs: Array, rhs: Array, padding: Padding) -> Array:
    """Cross-correlation of images (B, H, W, C) with kernel (kh, kw, C, F) -> (B, H', W', F)."""
    return _conv_p.bind(lhs, rhs, padding=padding)


def _run_conv(lhs: Array, rhs: Array, *, padding: Padding) -> Array:
    if _is_contraction(lhs, rhs, padding):
        return _contraction(lhs, rhs)
    if _is_weight_gradient(lhs, rhs, padding):
        return _in_blocks(lhs, rhs, padding)
    return _convolved(lhs, rhs, padding=padding)


def _convolved(lhs: Array, rhs: Array, *, padding: Padding) -> Array:
    if _is_small(lhs, rhs, padding):
        form = im2col_conv_by_two_columns if _has_pairs(lhs, rhs, padding) else im2col_conv
        return form(lhs, rhs, padding=padding)
    return lax_conv(lhs, rhs, padding=padding)


def _is_weight_gradient(lhs: Any, rhs: Any, padding: Padding) -> bool:
    """Whether the call is a weight gradient, whose kernel is a cotangent: it fits into the image and has more entries
    than the output has pixels. An ordinary kernel has fewer, or is larger than the image."""
    _, rows, columns, _ = _out_shape(lhs, rhs, padding=padding).shape
    is_inside = rhs.shape[0] <= lhs.shape[1] and rhs.shape[1] <= lhs.shape[2]
    return is_inside and rhs.shape[0] * rhs.shape[1] > rows * columns


def _is_contraction(lhs: Any, rhs: Any, padding: Padding) -> bool:
    """Whether the call is the weight gradient of a 1x1 kernel: image and cotangent have the same height and width."""
    return padding == NO_PADDING and rhs.shape[:2] == lhs.shape[1:3] != (1, 1)


def _contraction(lhs: Array, rhs: Array) -> Array:
    images, cotangent = jnp.transpose(lhs, (3, 1, 2, 0)), jnp.transpose(rhs, (2, 0, 1, 3))
    pairs = images.reshape(-1, images.shape[3]), cotangent.reshape(-1, cotangent.shape[3])
    return jax.lax.dot_general(*pairs, (((0,), (0,)), ((), ())))[:, None, None]


def _is_small(lhs: Any, rhs: Any, padding: Padding) -> bool:
    _, rows, columns, _ = _out_shape(lhs, rhs, padding=padding).shape
    has_few = rhs.shape[:2] == (1, 1) or rhs.shape[2] <= FEW_CHANNELS or rows * columns <= _FEW_PIXELS
    return has_few and rhs.shape[0] * rhs.shape[1] <= _FEW_ENTRIES


def _has_pairs(lhs: Any, rhs: Any, padding: Padding) -> bool:
    """Whether there are few channels, several kernel columns and an even number of output columns."""
    is_even = _out_shape(lhs, rhs, padding=padding).shape[2] % 2 == 0
    return rhs.shape[1] > 1 and rhs.shape[2] <= FEW_CHANNELS and is_even


def _in_blocks(lhs: Array, rhs: Array, padding: Padding) -> Array:
    """A weight gradient as a sum over blocks of images, which are the channels of `lhs`. Transposed block by block: the
    transposition of a whole batch reads with a stride of one image and took longer than the product."""

    def of(images: Array, cotangents: Array) -> Array:
        turned = jnp.transpose(images, (3, 1, 2, 0)), jnp.transpose(cotangents, (1, 2, 0, 3))
        return _convolved(*turned, padding=padding)

    images, cotangents = jnp.transpose(lhs, (3, 1, 2, 0)), jnp.transpose(rhs, (2, 0, 1, 3))
    return sum_blocks(of, images, cotangents)


def _mirrored(kernel: Array) -> Array:
    """kernel[::-1, ::-1]; for few entries by concatenation, which XLA hoists out of a loop with constant weights; it
    does not hoist a reversal."""
    height, width = kernel.shape[:2]
    if height * width > _FEW_ENTRIES:
        return kernel[::-1, ::-1]
    entries = [kernel[y : y + 1, x] for y in reversed(range(height)) for x in reversed(range(width))]
    return jnp.concatenate(entries).reshape(kernel.shape)


def _transpose_lhs(cotangent: Array, lhs: Any, rhs: Array, *, padding: Padding) -> Array:
    if _is_small(lhs.aval, rhs, padding):
        _, height, width, _ = lhs.aval.shape
        return _images_p.bind(cotangent, rhs, padding=padding, height=height, width=width)
    # d lhs = cotangent * mirrored kernel, with input and output channels swapped.
    mirrored = _mirrored(jnp.swapaxes(rhs, 2, 3))
    pads = tuple((length - 1 - low, length - 1 - high) for length, (low, high) in zip(rhs.shape, padding, strict=False))
    return conv(cotangent, mirrored, pads)  # type: ignore[arg-type]


def _run_images(
    form: Callable[..., Array], cotangent: Array, rhs: Array, *, padding: Padding, height: int, width: int
) -> Array:
    shape = jax.ShapeDtypeStruct((len(cotangent), height, width, rhs.shape[2]), cotangent.dtype)
    return jax.linear_transpose(functools.partial(form, kernel=rhs, padding=padding), shape)(cotangent)[0]


_IMAGES = functools.partial(_run_images, im2col_conv), functools.partial(_run_images, lax_conv)


def _transpose_rhs(cotangent: Array, lhs: Array, rhs: Any, *, padding: Padding) -> Array:
    # d rhs: a convolution whose batch is the channels of the input, whose channels are its batch, and whose kernel is
    # the cotangent.
    out = conv(jnp.transpose(lhs, (3, 1, 2, 0)), jnp.transpose(cotangent, (1, 2, 0, 3)), padding)
    return jnp.transpose(out, (1, 2, 0, 3))


def _batch(args: tuple[Array, Array], dims: tuple[Any, Any], *, padding: Padding) -> tuple[Array, int]:
    lhs, rhs = args
    lhs_dim, rhs_dim = dims
    if rhs_dim is None:
        lhs = jnp.moveaxis(lhs, lhs_dim, 0)
        out = conv(lhs.reshape(-1, *lhs.shape[2:]), rhs, padding)
        return out.reshape(*lhs.shape[:2], *out.shape[1:]), 0
    if lhs_dim is None:
        rhs = jnp.moveaxis(rhs, rhs_dim, 3)
        out = conv(lhs, rhs.reshape(*rhs.shape[:3], -1), padding)
        return out.reshape(*out.shape[:3], *rhs.shape[3:]), 3
    each = jax.vmap(functools.partial(lax_conv, padding=padding), in_axes=(lhs_dim, rhs_dim))
    return each(lhs, rhs), 0


def _out_shape(lhs: Any, rhs: Any, *, padding: Padding) -> Any:
    rows, columns = (lhs.shape[axis + 1] + sum(padding[axis]) - rhs.shape[axis] + 1 for axis in range(2))
    return jax.core.ShapedArray((lhs.shape[0], rows, columns, rhs.shape[3]), lhs.dtype)


def _images_shape(cotangent: Any, rhs: Any, *, height: int, width: int, **_: Any) -> Any:
    return jax.core.ShapedArray((cotangent.shape[0], height, width, rhs.shape[2]), cotangent.dtype)


def _batch_of_images(args: tuple[Array, Array], dims: tuple[Any, Any], **sizes: Any) -> tuple[Array, int]:
    cotangent, rhs = args
    cotangent_dim, rhs_dim = dims
    if rhs_dim is None:
        cotangent = jnp.moveaxis(cotangent, cotangent_dim, 0)
        out = _images_p.bind(cotangent.reshape(-1, *cotangent.shape[2:]), rhs, **sizes)
        return out.reshape(*cotangent.shape[:2], *out.shape[1:]), 0
    return mapped_by_platform(_IMAGES, args, dims, **sizes), 0


_conv_p.def_abstract_eval(_out_shape)
lower_by_platform(_conv_p, (_run_conv, lax_conv), ("padding",))
ad.defbilinear(_conv_p, _transpose_lhs, _transpose_rhs)
batching.primitive_batchers[_conv_p] = _batch

_images_p.def_abstract_eval(_images_shape)
lower_by_platform(_images_p, _IMAGES, ("padding", "height", "width"))
ad.defbilinear(
    _images_p,
    lambda images, cotangent, rhs, *, padding, **_: conv(images, rhs, padding),
    lambda images, cotangent, rhs, *, padding, **_: _transpose_rhs(cotangent, images, rhs, padding=padding),
)
batching.primitive_batchers[_images_p] = _batch_of_images
