"""The 3x3 convolution by minimal filtering: 16 multiplications for four outputs, where the definition takes 36.

    F(2x2, 3x3):  y = A^T [ sum_c (G g_c G^T) * (B^T d_c B) ] A

of tiles d of 4x4 pixels, two apart in both directions, and a kernel g, with the matrices below. Source: Winograd 1980;
Lavin and Gray, "Fast algorithms for convolutional neural networks" (arXiv 1509.09308), equation 8 and section 4.1.

Here the product of each of the 16 positions in a tile is one matrix product over the channels. What precedes and
follows them are sums of pixels, so many channels are needed to win, and groups of images that stay in the cache.
(The gradient in the kernel has such a form too. Alone it took half the time; in a MAT or SEP step it gained nothing
that could be measured, and added half to the time of compiling one.)
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jsep.models.shifted import Padding, pad
from jsep.types import Array

Grid = list[list[Array]]
Matrix = Sequence[Sequence[float]]

_PIXELS = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))  # B^T
_KERNEL = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))  # G
_OUTPUTS = ((1, 1, 1, 0), (0, 1, -1, -1))  # A^T

_MANY_CHANNELS = 64
_MANY_TILES = 32  # fewer do not pay for the transform of the kernel
_FEW_IMAGES = 8
_GROUP = 1 << 19  # numbers of a group of images, 2 MiB; its tiles and products are eight times as many


def suits(outputs: tuple[int, ...], kernel: tuple[int, ...], dtype: Any) -> bool:
    """Whether the form is the faster one, for an output (B, H', W') and a kernel (kh, kw, C, F): 3x3, with many
    channels and tiles. Not in half precision: the sums of pixels would cost digits."""
    batch, rows, columns = outputs
    return is_wide(kernel, dtype) and batch * -(-rows // 2) * -(-columns // 2) >= _MANY_TILES


def is_wide(kernel: tuple[int, ...], dtype: Any) -> bool:
    """Whether it would be with images enough, which a `vmap` may add."""
    return kernel[:2] == (3, 3) and min(kernel[2:]) >= _MANY_CHANNELS and dtype in (jnp.float32, jnp.float64)


def winograd_conv(images: Array, kernel: Array, padding: Padding) -> Array:
    """Cross-correlation of images (B, H, W, C) with kernel (3, 3, C, F) -> (B, H', W', F), without strides."""
    entries = _both_ways(_KERNEL, [[kernel[row, column] for column in range(3)] for row in range(3)])
    size = _group_size(images)
    if size == len(images):
        return _of_tiles(images, entries, padding)

    def of(group: Array) -> Array:
        return _of_tiles(group, entries, padding)

    if jax.device_count() == 1:  # groups as they lie: the exchange of axes below costs up to a fifth of the time
        outputs = jax.lax.map(of, images.reshape(-1, size, *images.shape[1:]))
        return outputs.reshape(len(images), *outputs.shape[2:])
    outputs = jax.lax.map(lambda index: of(_group(images, size, index)), jnp.arange(len(images) // size))
    return jnp.swapaxes(outputs, 0, 1).reshape(len(images), *outputs.shape[2:])


def _group_size(images: Array) -> int:
    """The largest divisor of the number of images that keeps a group small; all of them where it would be too few."""
    largest = min(_GROUP * len(images) // images.size, len(images))
    return next((size for size in range(largest, _FEW_IMAGES - 1, -1) if len(images) % size == 0), len(images))


def _group(images: Array, size: int, index: Array) -> Array:
    """As in `convolution`: each from all over the batch, so that every device of a mesh has its part of it."""
    return jax.lax.dynamic_index_in_dim(images.reshape(size, -1, *images.shape[1:]), index, 1, keepdims=False)


def _of_tiles(images: Array, entries: Grid, padding: Padding) -> Array:
    rows, columns = (images.shape[axis + 1] + sum(padding[axis]) - 2 for axis in range(2))
    pixels = _filtered_pixels(images, padding)
    products = [[pixels[row][column] @ entries[row][column] for column in range(4)] for row in range(4)]
    outputs = _both_ways(_OUTPUTS, products)
    whole = jnp.stack([jnp.stack(row, axis=3) for row in outputs], axis=2)
    batch, tile_rows, _, tile_columns, _, features = whole.shape
    return whole.reshape(batch, 2 * tile_rows, 2 * tile_columns, features)[:, :rows, :columns]


def _filtered_pixels(images: Array, padding: Padding) -> Grid:
    even = [(low, high + (images.shape[axis + 1] + low + high) % 2) for axis, (low, high) in enumerate(padding)]
    return _both_ways(_PIXELS, _tiles(pad(images, (even[0], even[1]))))


def _tiles(images: Array) -> Grid:
    """Of images (B, 2n + 2, 2m + 2, C), the pixel of each of the 4x4 positions in all n * m tiles, (B, n, m, C)."""
    halves = _halves(images)
    rows, columns = halves.shape[1] - 1, halves.shape[3] - 1
    return [
        [
            halves[:, row // 2 : row // 2 + rows, row % 2, column // 2 : column // 2 + columns, column % 2]
            for column in range(4)
        ]
        for row in range(4)
    ]


def _halves(images: Array) -> Array:
    batch, height, width, channels = images.shape
    return images.reshape(batch, height // 2, 2, width // 2, 2, channels)


def _both_ways(matrix: Matrix, grid: Grid) -> Grid:
    """M X M^T of a grid X of arrays."""
    columns = [_times(matrix, [row[index] for row in grid]) for index in range(len(grid[0]))]
    return [_times(matrix, [column[index] for column in columns]) for index in range(len(matrix))]


def _times(matrix: Matrix, arrays: Sequence[Array]) -> list[Array]:
    sums = []
    for row in matrix:
        terms = [x if factor == 1 else factor * x for factor, x in zip(row, arrays, strict=True) if factor]
        sums.append(sum(terms[1:], start=terms[0]))
    return sums
