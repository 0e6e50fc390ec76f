"""The 2-D convolution of the models, in the form that the backend runs fast, at every order of differentiation.

On GPU and TPU it is `lax.conv_general_dilated`. On CPU several things are slow there, and all are written differently:
see `jsep.models.stride_one` and `jsep.models.strided`. Most convolutions of small images run on one core there, unless
`jsep.devices.use_all_cores` came first.
"""

import functools

import jax

from jsep.models import stride_one, strided
from jsep.models.definition import library_conv
from jsep.models.shifted import NO_PADDING, pad, product
from jsep.types import Array


def conv2d(images: Array, kernel: Array, *, strides: int, padding: int) -> Array:
    """Cross-correlation of images (B, H, W, C) with kernel (k, k, C, F), zero padding on all sides -> (B, H', W', F).

    Differentiable to any order, forward and reverse; equal to `lax.conv_general_dilated` up to rounding.
    """
    if jax.default_backend() != "cpu":
        return library_conv(images, kernel, padding=((padding, padding), (padding, padding)), strides=strides)
    if strides == 1:
        return stride_one.conv(images, kernel, ((padding, padding), (padding, padding)))
    return strided_conv2d(images, kernel, strides, padding)


@functools.partial(jax.jit, static_argnums=(2, 3))
def strided_conv2d(images: Array, kernel: Array, strides: int, padding: int) -> Array:
    """A convolution with strides. Jitted for its name: it stays one operation in
    a jaxpr, which `jsep.explain.program` knows as a convolution."""
    pads = ((padding, padding), (padding, padding))
    if kernel.shape[:2] == (1, 1):
        return stride_one.conv(pad(images, pads)[:, ::strides, ::strides], kernel, NO_PADDING)
    if kernel.shape[2] > stride_one.FEW_CHANNELS:
        return strided.conv(images, kernel, pads, strides)
    return product(images, kernel, padding=pads, strides=strides)
