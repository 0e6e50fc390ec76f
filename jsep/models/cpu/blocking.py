"""Cache blocking: sums over blocks of images whose intermediate results fit into the CPU caches.

On one device a block is a run of consecutive images. On several devices each block takes images from the shard of every
device, so that no image moves between devices.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jsep.types import Array

_SUMMED_NUMBERS, _SUMMED_IMAGES = 1 << 19, 32  # largest block: float32 entries (2 MiB) and images


def _block_size(images: Array, numbers: int, most: int) -> int:
    """Images per block: the largest divisor of B with at most `most` images and `numbers` entries per block; B if no
    divisor within a factor of 4 of these limits exists."""
    count, devices = len(images), jax.device_count()
    largest = min(max(numbers * count // images.size, devices), count, most)
    sizes = range(largest, max(largest // 4, 1) - 1, -1)
    return next((size for size in sizes if count % size == 0 and size % devices == 0), count)


def sum_blocks(function: Callable[[Array, Array], Array], images: Array, cotangents: Array) -> Array:
    """The sum of `function(images, cotangents)` over blocks of images (B, ...) and their cotangents (B, ...)."""
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
