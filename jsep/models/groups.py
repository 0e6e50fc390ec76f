"""Groups of images: what a convolution on CPU works on at once, so that what it writes in between stays in the caches.

On one device a group is images as they lie. On several each group has images from all over the batch, so that every
device has its part of it and nothing is gathered.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jsep.types import Array, PyTree

WEIGHT_GROUP = 1 << 19
"""Numbers of the images of a group in a weight gradient, 2 MiB."""


def group_size(images: Array, numbers: int, most: int | None = None) -> int:
    """The largest divisor of the number of images (B, ...), at most `most`, whose groups have at most `numbers`; all of
    them where groups would be much smaller."""
    count, devices = len(images), jax.device_count()
    largest = min(max(numbers * count // images.size, devices), count, most or count)
    sizes = range(largest, max(largest // 4, 1) - 1, -1)
    return next((size for size in sizes if count % size == 0 and size % devices == 0), count)


def map_groups(function: Callable[[Array], Array], images: Array, size: int) -> Array:
    """`function` of every group of `size` images (B, ...), whose results, a row an image, are joined."""
    if size == len(images):
        return function(images)
    if jax.device_count() == 1:  # the exchange of axes below costs up to a fifth of the time
        outputs = jax.lax.map(function, images.reshape(-1, size, *images.shape[1:]))
    else:
        numbers = jnp.arange(len(images) // size)
        outputs = jnp.swapaxes(jax.lax.map(lambda number: function(_group(images, size, number)), numbers), 0, 1)
    return outputs.reshape(len(images), *outputs.shape[2:])


def sum_groups(function: Callable[..., Array], rows: tuple[Array, ...], size: int) -> Array:
    """The sum of `function(*rows of a group)` over the groups of `size` rows; rows: arrays (B, ...)."""
    if size == len(rows[0]):
        return function(*rows)

    def add(total: Array, number: Array) -> tuple[Array, None]:
        return total + function(*(_group(row, size, number) for row in rows)), None

    shapes: PyTree = [jax.ShapeDtypeStruct((size, *row.shape[1:]), row.dtype) for row in rows]
    out = jax.eval_shape(function, *shapes)
    return jax.lax.scan(add, jnp.zeros(out.shape, out.dtype), jnp.arange(len(rows[0]) // size))[0]


def _group(images: Array, size: int, number: Array) -> Array:
    axis = 0 if jax.device_count() == 1 else 1
    shape = (-1, size) if axis == 0 else (size, -1)
    return jax.lax.dynamic_index_in_dim(images.reshape(*shape, *images.shape[1:]), number, axis, keepdims=False)
