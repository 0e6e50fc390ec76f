"""2-D convolutions that are fast on CPU too, where XLA is slow for several shapes.

The primitives of `stride_one`, `strided` and `depthwise`, each closed under transposition, follow the platform that a
program is compiled for, also where that is not the one of this process: elsewhere they are the convolution of `jax.lax`
(`lax_conv`). For CPU they are lowered, by shape, to im2col (`patches`), sums of shifted images or `jax.lax`, and weight
gradients to sums over blocks of images that fit into the caches (`blocking`).
"""

import functools

import jax

from jsep.models.cpu import stride_one, strided
from jsep.models.cpu.depthwise import depthwise_conv2d
from jsep.models.cpu.lax_conv import use_lax_conv
from jsep.models.cpu.patches import Padding
from jsep.types import Array

__all__ = ["conv2d", "use_lax_conv"]


def conv2d(images: Array, kernel: Array, *, strides: int, padding: Padding, groups: int = 1) -> Array:
    """See `jsep.models.convolution.conv2d`; padding: ((above, below), (left, right)), none of them negative."""
    if groups > 1:
        return depthwise_conv2d(images, kernel, strides, padding)
    if strides == 1:
        return stride_one.conv(images, kernel, padding)
    return strided_conv2d(images, kernel, strides, padding)


@functools.partial(jax.jit, static_argnums=(2, 3))
def strided_conv2d(images: Array, kernel: Array, strides: int, padding: Padding) -> Array:
    """A strided convolution. Jitted so that it stays one named operation in a jaxpr, which `jsep.explain.program`
    recognises as a convolution."""
    return strided.conv(images, kernel, padding, strides)
