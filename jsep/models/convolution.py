"""The 2-D convolution of the models, in the form that the backend runs fast, at every order of differentiation.

On GPU and TPU it is `lax.conv_general_dilated`. On CPU several things are slow there, and all are written differently:

* The weight gradient inside a compiled loop. The one that JAX writes has another layout than the forward one, and
  in a loop it ran 14 to 20 times slower than alone. Here the convolution is a primitive whose transposes are
  written as the same primitive, always in the layout of the forward one. Of many images it is a sum over groups of
  16 to 32, which took 0.4 to 0.7 of the time; of a 1x1 kernel it is one product, without the copy that XLA else makes
  of the cotangent in a second derivative.
* The gradients of a strided convolution: the dilated cotangent of the one, the layout of the other. Here its forward
  pass is the library's. Its transposes are those of patches times kernel where the patches are small, and where they
  are not of a sum of stride-1 convolutions, one for each phase of the pixels.
* Few input channels, as of an image: from 3 to 32 channels it ran up to 4 times as long as a product of patches and
  kernel matrix.
* Few pixels: on 4x4 it ran up to twice as long as such a product.
* 3x3 kernels of many channels: by minimal filtering (`jsep.models.winograd`) 30 images and more take 0.5 to 0.8 of the
  time.
* Cores: most convolutions of small images run on one, unless `jsep.devices.use_all_cores` came first.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jsep.models.shifted import Padding, pad, shifted
from jsep.models.winograd import is_wide, suits, winograd_conv
from jsep.types import Array

_NHWC = ("NHWC", "HWIO", "NHWC")
_FEW_CHANNELS = 4
_FEW_PIXELS = 16
_FEW_ENTRIES = 25  # of the kernel: a larger one is a cotangent
_MANY_IMAGES = 32
_SMALL_PATCHES = 1 << 22  # numbers: 16 MiB
_NONE = ((0, 0), (0, 0))
_by_definition = contextvars.ContextVar("_by_definition", default=False)


@contextlib.contextmanager
def by_definition() -> Iterator[None]:
    """Functions that are lowered inside have the library's convolution: to count operations, whose number a form may
    change."""
    token = _by_definition.set(True)
    try:
        yield
    finally:
        _by_definition.reset(token)


def conv2d(images: Array, kernel: Array, *, strides: int, padding: int) -> Array:
    """Cross-correlation of images (B, H, W, C) with kernel (k, k, C, F), zero padding on all sides -> (B, H', W', F).

    Differentiable to any order, forward and reverse; equal to `lax.conv_general_dilated` up to rounding.
    """
    if jax.default_backend() != "cpu":
        pads = [(padding, padding)] * 2
        return jax.lax.conv_general_dilated(images, kernel, (strides, strides), pads, dimension_numbers=_NHWC)
    if strides == 1:
        return _conv(images, kernel, ((padding, padding), (padding, padding)))
    return strided_conv2d(images, kernel, strides, padding)


@functools.partial(jax.jit, static_argnums=(2, 3))
def strided_conv2d(images: Array, kernel: Array, strides: int, padding: int) -> Array:
    """A convolution with strides. Jitted for its name: it stays one operation in
    a jaxpr, which `jsep.explain.program` knows as a convolution."""
    pads = ((padding, padding), (padding, padding))
    if kernel.shape[:2] == (1, 1):
        return _conv(pad(images, pads)[:, ::strides, ::strides], kernel, _NONE)
    if kernel.shape[2] > _FEW_CHANNELS:
        return _conv(images, kernel, pads, strides)
    return _product(images, kernel, padding=pads, strides=strides)


def _product(images: Array, kernel: Array, *, padding: Padding, strides: int = 1) -> Array:
    """Patches times the kernel, summed over its entries and the channels. The two stay dimensions of their own: in a
    weight gradient the channels are the images, which may lie on several devices."""
    patches = jnp.stack(shifted(pad(images, padding), kernel.shape[0], kernel.shape[1], strides), axis=3)
    entries = kernel.reshape(-1, *kernel.shape[2:])
    return jax.lax.dot_general(patches, entries, (((3, 4), (0, 1)), ((), ())))


def _sum_over_phases(images: Array, kernel: Array, *, padding: Padding, strides: int) -> Array:
    """The convolution with strides as a sum of such without: of the pixels whose row and column leave the same rests on
    division by the strides, with the kernel entries that meet them."""
    rows, columns = _out_shape(images, kernel, padding=padding, strides=strides).shape[1:3]
    total: Any = 0
    for entries, pixels in zip(_entries(kernel, strides), _phases(pad(images, padding), strides), strict=True):
        height, width = entries.shape[:2]
        if height * width:
            met = pixels[:, : rows + height - 1, : columns + width - 1]
            total += _product(met, entries, padding=_NONE) if height * width == 1 else _conv(met, entries, _NONE)
    return total


def _entries(kernel: Array, strides: int) -> list[Array]:
    return [kernel[row::strides, column::strides] for row in range(strides) for column in range(strides)]


def _phases(images: Array, strides: int) -> list[Array]:
    """The pixels whose row and column leave each pair of rests. By splitting: its transpose lays them side by side,
    where that of slices with strides would write every one into an image of zeros."""
    count, height, width, channels = images.shape
    rows, columns = -(-height // strides), -(-width // strides)
    whole = jnp.pad(images, ((0, 0), (0, rows * strides - height), (0, columns * strides - width), (0, 0)))
    whole = whole.reshape(count, rows, strides, columns, strides, channels)
    ones = (1,) * strides
    return [
        phase.reshape(count, rows, columns, channels)
        for row in jax.lax.split(whole, ones, axis=2)
        for phase in jax.lax.split(row, ones, axis=4)
    ]


# The primitive: lhs (B, H, W, C), rhs (kh, kw, C, F), no dilation; with strides its padding is the same on all sides.
_conv_p = Primitive("jsep_conv2d")


def _conv(lhs: Array, rhs: Array, padding: Padding, strides: int = 1) -> Array:
    return _conv_p.bind(lhs, rhs, padding=padding, strides=strides)


def _run_conv(lhs: Array, rhs: Array, *, padding: Padding, strides: int) -> Array:
    if _by_definition.get():
        return _library_conv(lhs, rhs, padding=padding, strides=strides)
    if _is_contraction(lhs, rhs, padding):
        return _contraction(lhs, rhs)
    if strides == 1 and rhs.shape[2] > _group_size(rhs.shape[2]) and _is_weight_gradient(lhs, rhs, padding):
        return _in_groups(lhs, rhs, padding)
    if strides == 1 and suits(_out_shape(lhs, rhs, padding=padding, strides=1).shape[:3], rhs.shape, lhs.dtype):
        return winograd_conv(lhs, rhs, padding)
    if _is_small(lhs, rhs, padding, strides):
        return _product(lhs, rhs, padding=padding)
    return _library_conv(lhs, rhs, padding=padding, strides=strides)


def _is_weight_gradient(lhs: Any, rhs: Any, padding: Padding) -> bool:
    """Its kernel is an image that fits into the other and leaves few places; a kernel proper leaves more, or is larger
    than the image."""
    _, rows, columns, _ = _out_shape(lhs, rhs, padding=padding, strides=1).shape
    is_inside = rhs.shape[0] <= lhs.shape[1] and rhs.shape[1] <= lhs.shape[2]
    return is_inside and rhs.shape[0] * rhs.shape[1] > rows * columns


def _is_contraction(lhs: Any, rhs: Any, padding: Padding) -> bool:
    """The weight gradient of a 1x1 kernel: image and cotangent meet in one place."""
    return padding == _NONE and rhs.shape[:2] == lhs.shape[1:3] != (1, 1)


def _contraction(lhs: Array, rhs: Array) -> Array:
    images, cotangent = jnp.transpose(lhs, (3, 1, 2, 0)), jnp.transpose(rhs, (2, 0, 1, 3))
    pairs = images.reshape(-1, images.shape[3]), cotangent.reshape(-1, cotangent.shape[3])
    return jax.lax.dot_general(*pairs, (((0,), (0,)), ((), ())))[:, None, None]


def _is_small(lhs: Any, rhs: Any, padding: Padding, strides: int) -> bool:
    _, rows, columns, _ = _out_shape(lhs, rhs, padding=padding, strides=strides).shape
    has_few = rhs.shape[:2] == (1, 1) or rhs.shape[2] <= _FEW_CHANNELS or rows * columns <= _FEW_PIXELS
    return strides == 1 and has_few and rhs.shape[0] * rhs.shape[1] <= _FEW_ENTRIES


def _strided_form(lhs: Any, rhs: Any, padding: Padding, strides: int) -> Callable[..., Array]:
    """The form of a convolution with strides to be transposed."""
    count, rows, columns, _ = _out_shape(lhs, rhs, padding=padding, strides=strides).shape
    patches = count * rows * columns * rhs.shape[0] * rhs.shape[1] * rhs.shape[2]
    return _product if count <= _MANY_IMAGES and patches <= _SMALL_PATCHES else _sum_over_phases


def _in_groups(lhs: Array, rhs: Array, padding: Padding) -> Array:
    """A weight gradient, in which the images play the channels, as a sum over groups of images, each from all over the
    batch, so that every device of a mesh has its part of each."""
    size = _group_size(rhs.shape[2])
    images = lhs.reshape(*lhs.shape[:3], size, -1)
    cotangents = rhs.reshape(*rhs.shape[:2], size, -1, rhs.shape[3])

    def add(total: Array, group: Array) -> tuple[Array, None]:
        pair = (jax.lax.dynamic_index_in_dim(z, group, axis, False) for z, axis in ((images, 4), (cotangents, 3)))
        return total + _run_conv(*pair, padding=padding, strides=1), None

    nothing = jnp.zeros(_out_shape(lhs, rhs, padding=padding, strides=1).shape, lhs.dtype)
    return jax.lax.scan(add, nothing, jnp.arange(rhs.shape[2] // size))[0]


def _group_size(num_images: int) -> int:
    """The largest divisor from 16 to 32; all of them for a number of images that has none."""
    divisors = (size for size in range(_MANY_IMAGES, _MANY_IMAGES // 2 - 1, -1) if num_images % size == 0)
    return next(divisors, num_images)


def _library_conv(lhs: Array, rhs: Array, *, padding: Padding, strides: int) -> Array:
    return jax.lax.conv_general_dilated(lhs, rhs, (strides, strides), padding, dimension_numbers=_NHWC)


def _mirrored(kernel: Array) -> Array:
    """kernel[::-1, ::-1]; of few entries by concatenation, which XLA takes out of a loop over the same weights, and a
    reversal it does not."""
    height, width = kernel.shape[:2]
    if height * width > _FEW_ENTRIES:
        return kernel[::-1, ::-1]
    entries = [kernel[y : y + 1, x] for y in reversed(range(height)) for x in reversed(range(width))]
    return jnp.concatenate(entries).reshape(kernel.shape)


def _transpose_lhs(cotangent: Array, lhs: Any, rhs: Array, *, padding: Padding, strides: int) -> Array:
    shape = jax.ShapeDtypeStruct(lhs.aval.shape, lhs.aval.dtype)
    if _is_small(lhs.aval, rhs, padding, strides) and not is_wide(rhs.shape, rhs.dtype):
        return jax.linear_transpose(functools.partial(_product, kernel=rhs, padding=padding), shape)(cotangent)[0]
    if strides > 1:
        strided = functools.partial(_strided_form(lhs.aval, rhs, padding, strides), kernel=rhs)
        return jax.linear_transpose(functools.partial(strided, padding=padding, strides=strides), shape)(cotangent)[0]
    # d lhs = cotangent * mirrored kernel with input and output features exchanged.
    mirrored = _mirrored(jnp.swapaxes(rhs, 2, 3))
    pads = tuple((length - 1 - low, length - 1 - high) for length, (low, high) in zip(rhs.shape, padding, strict=False))
    return _conv(cotangent, mirrored, pads)  # type: ignore[arg-type]


def _transpose_rhs(cotangent: Array, lhs: Array, rhs: Any, *, padding: Padding, strides: int) -> Array:
    if strides > 1:
        shape = jax.ShapeDtypeStruct(rhs.aval.shape, rhs.aval.dtype)
        strided = functools.partial(_strided_form(lhs, rhs.aval, padding, strides), lhs)
        return jax.linear_transpose(functools.partial(strided, padding=padding, strides=strides), shape)(cotangent)[0]
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
