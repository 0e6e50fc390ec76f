"""The 2-D convolution of the models, in an implementation that is fast on each platform at every order of derivative.

It is that of `jax.lax` where a program is compiled for GPU or TPU, and that of `jsep.models.cpu` for CPU, where most
convolutions of small images use one core only, unless `jsep.devices.use_all_cores` was called first.
"""

from jsep.checks import InputError
from jsep.models import cpu
from jsep.types import Array


def conv2d(images: Array, kernel: Array, *, strides: int, padding: int, groups: int = 1) -> Array:
    """Cross-correlation of images (B, H, W, C) with a kernel, zero padding on all sides -> (B, H', W', F).

    Differentiable to any order, forward and reverse; equal to `lax.conv_general_dilated` up to rounding.

    Args: kernel: (k, k, C, F), or (k, k, 1, C) with `groups` = C for the depthwise convolution.
    Raises: InputError unless `groups` is 1 or C.
    """
    if groups not in (1, images.shape[-1]):
        raise InputError(f"groups must be 1 or the {images.shape[-1]} channels of the images, got {groups}")
    sides = ((padding, padding), (padding, padding))
    return cpu.conv2d(images, kernel, strides=strides, padding=sides, groups=groups)
