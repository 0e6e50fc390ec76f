"""The strided 2-D convolution and its two gradients: three primitives, each other's transposes.

    out = conv(images, kernel),  images = gradient_in_images(out, kernel),  kernel = gradient_in_kernel(images, out)

All three are bilinear, so derivatives of any order consist of them. On other platforms than CPU they are those of
`jax.lax`. For CPU each is lowered only after `vmap` has fixed the batch size:

* With few input channels, as in an image, all three are im2col's. Otherwise:
* The forward pass is that of `jax.lax`; for a 1x1 kernel one matrix product.
* The gradient in the images: in `jax.lax` a convolution of the dilated cotangent. Here, for few images, it is the
  transpose of im2col: for a 3x3 kernel nine images with gaps between the pixels, whose sum XLA fuses into its use. If
  the sum is used twice, XLA writes all nine to memory, which took two to three times as long; so a gradient that is
  itself differentiated sums its patches phase by phase, without gaps. For many images it is the transpose of a sum of
  stride-1 convolutions, one for each phase (pixels with the same row and column modulo the stride).
* The gradient in the kernel: in `jax.lax` it has another memory layout than the forward pass, slow in a compiled loop.
  Here it is one matrix product per kernel entry, over the pixels that it multiplies, summed over blocks of images. As a
  sum of stride-1 gradients it took 1.5 to 1.9 times as long (128 images), because of the copies for transposition.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching

from jsep.models.cpu import stride_one
from jsep.models.cpu.blocking import sum_blocks
from jsep.models.cpu.lax_conv import lax_conv
from jsep.models.cpu.patches import NO_PADDING, Padding, im2col, im2col_conv, pad
from jsep.models.cpu.platform import Forms, lower_by_platform, mapped_by_platform
from jsep.types import Array

_MANY_IMAGES = 32
_SMALL_PATCHES = 1 << 23  # float32 entries of all patches: 32 MiB

_conv_p = Primitive("jsep_strided_conv2d")
_images_p = Primitive("jsep_strided_conv2d_images")
_kernel_p = Primitive("jsep_strided_conv2d_kernel")


def conv(images: Array, kernel: Array, padding: Padding, strides: int) -> Array:
    """Cross-correlation of images (B, H, W, C) with kernel (kh, kw, C, F) -> (B, H', W', F)."""
    return _conv_p.bind(images, kernel, padding=padding, strides=strides)


def gradient_in_images(out: Array, kernel: Array, *, padding: Padding, strides: int, height: int, width: int) -> Array:
    """The cotangent of images (B, height, width, C), from the cotangent `out` of the output (B, H', W', F)."""
    sizes = {"height": height, "width": width}
    return _images_p.bind(out, kernel, padding=padding, strides=strides, is_differentiated=False, **sizes)


def gradient_in_kernel(images: Array, out: Array, *, padding: Padding, strides: int, rows: int, columns: int) -> Array:
    """The cotangent of a kernel (rows, columns, C, F), from the cotangent `out` of the output (B, H', W', F)."""
    return _kernel_p.bind(images, out, padding=padding, strides=strides, rows=rows, columns=columns)


def _run_images(
    out: Array, kernel: Array, *, padding: Padding, strides: int, height: int, width: int, is_differentiated: bool
) -> Array:
    shape = jax.ShapeDtypeStruct((len(out), height, width, kernel.shape[2]), out.dtype)
    are_small = math.prod(out.shape[:3]) * math.prod(kernel.shape[:3]) <= _SMALL_PATCHES
    if _is_im2col(kernel.shape):
        form: Any = im2col_conv
    elif is_differentiated and are_small:
        return _added_by_phase(out, kernel, padding=padding, strides=strides, height=height, width=width)
    else:
        form = im2col_conv if are_small and len(out) <= _MANY_IMAGES else _sum_over_phases
    forward = functools.partial(form, kernel=kernel, padding=padding, strides=strides)
    return jax.linear_transpose(forward, shape)(out)[0]


def _is_im2col(kernel_shape: tuple[int, ...]) -> bool:
    """Whether convolution and gradients are im2col's: few input channels, or a 1x1 kernel, one matrix product."""
    return kernel_shape[:2] == (1, 1) or kernel_shape[2] <= stride_one.FEW_CHANNELS


def _lax_images(
    out: Array, kernel: Array, *, padding: Padding, strides: int, height: int, width: int, is_differentiated: bool
) -> Array:
    shape = jax.ShapeDtypeStruct((len(out), height, width, kernel.shape[2]), out.dtype)
    forward = functools.partial(lax_conv, kernel=kernel, padding=padding, strides=strides)
    return jax.linear_transpose(forward, shape)(out)[0]


def _added_by_phase(out: Array, kernel: Array, *, padding: Padding, strides: int, height: int, width: int) -> Array:
    """The gradient in the images: cotangent times kernel is an image patch per output pixel; overlaps are summed."""
    batch, rows, columns, features = out.shape
    patches = out.reshape(-1, features) @ kernel.reshape(-1, features).T
    patches = patches.reshape(batch, rows, columns, *kernel.shape[:3])
    (above, below), (left, right) = padding
    # Height and width of the padded images in units of the stride.
    high, wide = -(-(height + above + below) // strides), -(-(width + left + right) // strides)

    def phase(row: int, column: int) -> Array:
        met = [
            pad(patches[:, :, :, i, j], ((up, high - rows - up), (aside, wide - columns - aside)))
            for up, i in enumerate(range(row, kernel.shape[0], strides))
            for aside, j in enumerate(range(column, kernel.shape[1], strides))
        ]
        return sum(met[1:], start=met[0]) if met else jnp.zeros((batch, high, wide, kernel.shape[2]), out.dtype)

    phases = [jnp.stack([phase(row, column) for column in range(strides)], axis=3) for row in range(strides)]
    whole = jnp.stack(phases, axis=2).reshape(batch, high * strides, wide * strides, -1)
    return whole[:, above : above + height, left : left + width]


def _run_kernel(images: Array, out: Array, *, padding: Padding, strides: int, rows: int, columns: int) -> Array:
    if images.shape[3] <= stride_one.FEW_CHANNELS:
        return _transposed_in_kernel(im2col_conv, images, out, padding, strides, rows, columns)
    product_of = functools.partial(_sum_over_pixels, padding=padding, strides=strides, rows=rows, columns=columns)
    return sum_blocks(product_of, images, out)


def _lax_kernel(images: Array, out: Array, *, padding: Padding, strides: int, rows: int, columns: int) -> Array:
    return _transposed_in_kernel(lax_conv, images, out, padding, strides, rows, columns)


def _transposed_in_kernel(
    form: Callable[..., Array], images: Array, out: Array, padding: Padding, strides: int, rows: int, columns: int
) -> Array:
    shape = jax.ShapeDtypeStruct((rows, columns, images.shape[3], out.shape[3]), images.dtype)
    forward = functools.partial(form, images, padding=padding, strides=strides)
    return jax.linear_transpose(lambda kernel: forward(kernel=kernel), shape)(out)[0]


def _sum_over_pixels(images: Array, out: Array, *, padding: Padding, strides: int, rows: int, columns: int) -> Array:
    pixels = out.reshape(-1, out.shape[3])
    met = im2col(pad(images, padding), rows, columns, strides)
    return jnp.stack([x.reshape(-1, x.shape[3]).T @ pixels for x in met]).reshape(rows, columns, images.shape[3], -1)


def _sum_over_phases(images: Array, kernel: Array, *, padding: Padding, strides: int) -> Array:
    """The strided convolution as a sum of stride-1 convolutions, one for each phase: the pixels with the same row and
    column modulo the stride, and the kernel entries that multiply them."""
    rows, columns = _conv_shape(images, kernel, padding=padding, strides=strides).shape[1:3]
    total: Any = 0
    for entries, pixels in zip(_entries(kernel, strides), _phases(pad(images, padding), strides), strict=True):
        height, width = entries.shape[:2]
        if height * width:
            met = pixels[:, : rows + height - 1, : columns + width - 1]
            form = im2col_conv if height * width == 1 else stride_one.conv
            total += form(met, entries, padding=NO_PADDING)
    return total


def _entries(kernel: Array, strides: int) -> list[Array]:
    return [kernel[row::strides, column::strides] for row in range(strides) for column in range(strides)]


def _phases(images: Array, strides: int) -> list[Array]:
    """The pixels of each phase (row and column modulo the strides). By `split`, whose transpose is a concatenation; the
    transpose of a strided slice would write each phase into an image of zeros."""
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


def _run_conv(images: Array, kernel: Array, *, padding: Padding, strides: int) -> Array:
    form = im2col_conv if _is_im2col(kernel.shape) else lax_conv
    return form(images, kernel, padding=padding, strides=strides)


def _conv_shape(images: Any, kernel: Any, *, padding: Padding, strides: int) -> Any:
    rows, columns = ((images.shape[i + 1] + sum(padding[i]) - kernel.shape[i]) // strides + 1 for i in range(2))
    return jax.core.ShapedArray((images.shape[0], rows, columns, kernel.shape[3]), images.dtype)


def _images_shape(out: Any, kernel: Any, *, height: int, width: int, **_: Any) -> Any:
    return jax.core.ShapedArray((out.shape[0], height, width, kernel.shape[2]), out.dtype)


def _kernel_shape(images: Any, out: Any, *, rows: int, columns: int, **_: Any) -> Any:
    return jax.core.ShapedArray((rows, columns, images.shape[3], out.shape[3]), images.dtype)


def _batch(
    primitive: Primitive,
    forms: Forms,
    axes: tuple[tuple[int, int], tuple[int, int]],
    args: tuple[Array, Array],
    dims: tuple[Any, Any],
    **shapes: Any,
) -> tuple[Array, int]:
    """Batching rule: the mapped axis of one operand is merged into an axis that survives in the result; axes: for each
    operand (its axis, the axis of the result). If both operands are mapped, vmap over the unbatched lowering."""
    if None not in dims:
        return mapped_by_platform(forms, args, dims, **shapes), 0
    index = 0 if dims[1] is None else 1
    axis, kept = axes[index]
    mapped = jnp.moveaxis(args[index], dims[index], axis)
    merged = mapped.reshape(*mapped.shape[:axis], -1, *mapped.shape[axis + 2 :])
    operands = (merged, args[1]) if index == 0 else (args[0], merged)
    out = primitive.bind(*operands, **shapes)
    return out.reshape(*out.shape[:kept], *mapped.shape[axis : axis + 2], *out.shape[kept + 1 :]), kept


def _define(primitive: Primitive, sizes: tuple[str, ...], forms: Forms, shape: Any, transposes: Any, axes: Any) -> None:
    primitive.def_abstract_eval(shape)
    lower_by_platform(primitive, forms, ("padding", "strides", *sizes))
    ad.defbilinear(primitive, *transposes)
    batching.primitive_batchers[primitive] = functools.partial(_batch, primitive, forms, axes)


def _cotangent_of_images(out: Array, images: Any, kernel: Array, *, padding: Padding, strides: int, **_: int) -> Array:
    _, height, width, _ = images.aval.shape
    return gradient_in_images(out, kernel, padding=padding, strides=strides, height=height, width=width)


def _cotangent_of_kernel(out: Array, images: Array, kernel: Any, *, padding: Padding, strides: int, **_: int) -> Array:
    rows, columns = kernel.aval.shape[:2]
    return gradient_in_kernel(images, out, padding=padding, strides=strides, rows=rows, columns=columns)


def _cotangent_of_out(images: Array, kernel: Array, *, padding: Padding, strides: int, **_: int) -> Array:
    return conv(images, kernel, padding, strides)


_define(
    _conv_p, (), (_run_conv, lax_conv), _conv_shape,
    (_cotangent_of_images, _cotangent_of_kernel),
    ((0, 0), (3, 3)),
)  # fmt: skip
_define(
    _images_p, ("height", "width", "is_differentiated"), (_run_images, _lax_images), _images_shape,
    (
        lambda images, out, kernel, **shared: _cotangent_of_out(images, kernel, **shared),
        lambda images, out, kernel, **shared: _cotangent_of_kernel(out, images, kernel, **shared),
    ),
    ((0, 0), (2, 3)),
)  # fmt: skip
_define(
    _kernel_p, ("rows", "columns"), (_run_kernel, _lax_kernel), _kernel_shape,
    (
        lambda kernel, images, out, **shared: _cotangent_of_images(out, images, kernel, **shared),
        lambda kernel, images, out, **shared: _cotangent_of_out(images, kernel, **shared),
    ),
    ((3, 2), (3, 3)),
)  # fmt: skip


def _jvp_of_images(primals: tuple[Array, Array], tangents: tuple[Any, Any], **shapes: Any) -> tuple[Array, Any]:
    """The JVP of a bilinear function that marks the primal result as differentiated, i.e. used by more than one
    operation."""
    result = _images_p.bind(*primals, **{**shapes, "is_differentiated": True})
    pairs = [(tangents[0], primals[1]), (primals[0], tangents[1])]
    terms = [_images_p.bind(*pair, **shapes) for pair in pairs if not any(isinstance(z, ad.Zero) for z in pair)]
    return result, functools.reduce(ad.add_tangents, terms)  # never empty: JAX asks with a tangent


ad.primitive_jvps[_images_p] = _jvp_of_images
