"""Cache blocking: a convolution on CPU works on a block of images at once, so that what it writes in between stays in
the caches.

On one device a block is images as they lie. On several each block has images from all over the batch, so that every
device has its part of it and nothing is gathered.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jsep.types import Array

_SUMMED_NUMBERS, _SUMMED_IMAGES = 1 << 19, 32  # at most in a block that is one term of a sum, 2 MiB


def _block_size(images: Array, numbers: int, most: int) -> int:
    """The largest divisor of the number of images (B, ...), at most `most`, whose blocks have at most `numbers`; all of
    them where blocks would be much smaller."""
    count, devices = len(images), jax.device_count()
    largest = min(max(numbers * count // images.size, devices), count, most)
    sizes = range(largest, max(largest // 4, 1) - 1, -1)
    return next((size for size in sizes if count % size == 0 and size % devices == 0), count)


def sum_blocks(function: Callable[[Array, Array], Array], images: Array, cotangents: Array) -> Array:
    """The sum over blocks of images (B, ...) of `function(images, their cotangents)`."""
    size = _block_size(images, _SUMMED_NUMBERS, _SUMMED_IMAGES)
    if size == len(images):
        return function(images, cotangents)

    def add(total: Array, index: Array) -> tuple[Array, None]:
        return total + function(_block(images, size, index), _block(cotangents, size, index)), None

    out = jax.eval_shape(function, *(jax.ShapeDtypeStruct((size, *z.shape[1:]), z.dtype) for z in (images, cotangents)))
    return jax.lax.scan(add, jnp.zeros(out.shape, out.dtype), jnp.arange(len(images) // size))[0]


def _block(images: Array, size: int, index: Array) -> Array:
    axis = 0 if jax.device_count() == 1 else 1
    shape = (-1, size) if axis == 0 else (size, -1)
    return jax.lax.dynamic_index_in_dim(images.reshape(*shape, *images.shape[1:]), index, axis, keepdims=False)
