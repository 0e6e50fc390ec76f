"""2-D convolutions on CPU, where XLA is slow for several shapes: `conv2d` chooses the implementation by shape.

The primitives of `stride_one` (closed under transposition), `strided` (three, each other's transposes) and `depthwise`
(two, each other's transposes) are lowered to im2col (`patches`), sums of shifted images or the convolution of `jax.lax`
(`lax_conv`), with weight gradients summed over blocks of images that fit into the caches (`blocking`).
"""

import functools

import jax

from jsep.models.cpu import stride_one, strided
from jsep.models.cpu.depthwise import depthwise_conv2d
from jsep.models.cpu.lax_conv import use_lax_conv
from jsep.models.cpu.patches import NO_PADDING, im2col_conv, pad
from jsep.types import Array

__all__ = ["conv2d", "use_lax_conv"]


def conv2d(images: Array, kernel: Array, *, strides: int, padding: int, groups: int = 1) -> Array:
    """The CPU implementation of `jsep.models.convolution.conv2d`."""
    if groups > 1:
        return depthwise_conv2d(images, kernel, strides, padding)
    if strides == 1:
        return stride_one.conv(images, kernel, ((padding, padding), (padding, padding)))
    return strided_conv2d(images, kernel, strides, padding)


@functools.partial(jax.jit, static_argnums=(2, 3))
def strided_conv2d(images: Array, kernel: Array, strides: int, padding: int) -> Array:
    """A strided convolution. Jitted so that it stays one named operation in a jaxpr, which `jsep.explain.program`
    recognises as a convolution."""
    pads = ((padding, padding), (padding, padding))
    if kernel.shape[:2] == (1, 1):
        return stride_one.conv(pad(images, pads)[:, ::strides, ::strides], kernel, NO_PADDING)
    if kernel.shape[2] > stride_one.FEW_CHANNELS:
        return strided.conv(images, kernel, pads, strides)
    return im2col_conv(images, kernel, padding=pads, strides=strides)
