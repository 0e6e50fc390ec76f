"""The 3x3 convolution by minimal filtering: 24 multiplications for eight outputs, where the definition takes 72.

    F(2x4, 3x3):  y = A_2^T [ sum_c (G_2 g_c G_4^T) * (B_2^T d_c B_4) ] A_4

of tiles d of 4x6 pixels, two rows and four columns apart, and a kernel g, with the matrices below; of few columns
F(2x2, 3x3), 16 for four outputs. Source: Winograd 1980; Lavin and Gray, "Fast algorithms for convolutional neural
networks" (arXiv 1509.09308), equation 8 and section 4.1.

Here the product of each position in a tile is one matrix product over the channels. What precedes and follows them are
sums of pixels, so many channels are needed to win, and blocks of images that stay in the cache. Errors are four times
the library's (3e-6 of the largest output). F(4x4, 3x3) has 36 for sixteen and took twice the time: its sums are long,
and the compiler computes them anew for every position.
(The gradient in the kernel has such a form too. In a gradient of all parameters it took as long as the sum over blocks
in `jsep.models.cpu.stride_one`, and a fifth more to compile.)
"""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from jsep.models.cpu.blocking import map_blocks
from jsep.models.cpu.patches import Padding, pad
from jsep.types import Array

Grid = list[list[Array]]
Matrix = Sequence[Sequence[float]]


class _Filter(NamedTuple):
    """The matrices of one axis."""

    pixels: Matrix  # B^T
    kernel: Matrix  # G
    outputs: Matrix  # A^T

    @property
    def step(self) -> int:
        """How far tiles are apart."""
        return len(self.outputs)


_TWO = _Filter(
    ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    ((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    ((1, 1, 1, 0), (0, 1, -1, -1)),
)
_FOUR = _Filter(
    (
        (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0), (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    (
        (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6), (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
    ),
    ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
)  # fmt: skip

_MANY_CHANNELS = 64
_MANY_CHANNELS_OF_WIDE_VECTORS = 128
_BLOCK = 1 << 20  # numbers of a block of images, 4 MiB
_MANY_TILES = 32  # of 2x2 outputs; fewer do not pay for the transform of the kernel
_FEW_COLUMNS = 4


def suits(outputs: tuple[int, ...], kernel: tuple[int, ...], dtype: Any) -> bool:
    """Whether the form is the faster one, for an output (B, H', W') and a kernel (kh, kw, C, F): 3x3, with many
    channels and tiles. Not in half precision: the sums of pixels would cost digits."""
    batch, rows, columns = outputs
    return is_wide(kernel, dtype) and batch * -(-rows // 2) * -(-columns // 2) >= _MANY_TILES


def is_wide(kernel: tuple[int, ...], dtype: Any) -> bool:
    """Whether it would be with images enough, which a `vmap` may add."""
    return kernel[:2] == (3, 3) and min(kernel[2:]) >= _many_channels() and dtype in (jnp.float32, jnp.float64)


@functools.cache
def _many_channels() -> int:
    """From how many channels on the form wins. Intel's vectors of 512 bits multiply fast (the library has 237 GFLOP/s
    for 64 channels on two cores, 139 on AMD's), and the sums of pixels do not keep up with them."""
    try:
        processor = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        processor = ""
    has_wide_vectors = "GenuineIntel" in processor and "avx512f" in processor
    return _MANY_CHANNELS_OF_WIDE_VECTORS if has_wide_vectors else _MANY_CHANNELS


def winograd_conv(images: Array, kernel: Array, padding: Padding) -> Array:
    """Cross-correlation of images (B, H, W, C) with kernel (3, 3, C, F) -> (B, H', W', F), without strides."""
    columns = images.shape[2] + sum(padding[1]) - 2
    filters = _TWO, _TWO if columns <= _FEW_COLUMNS else _FOUR
    matrices = filters[0].kernel, filters[1].kernel
    entries = _both_ways(matrices, [[kernel[row, column] for column in range(3)] for row in range(3)])

    def of(block: Array) -> Array:
        return _of_tiles(block, entries, padding, filters)

    return map_blocks(of, images, _BLOCK)


def _of_tiles(images: Array, entries: Grid, padding: Padding, filters: tuple[_Filter, _Filter]) -> Array:
    rows, columns = (images.shape[axis + 1] + sum(padding[axis]) - 2 for axis in range(2))
    tiles = _tiles(images, padding, filters)
    pixels = _both_ways((filters[0].pixels, filters[1].pixels), tiles)
    products = [[pixel @ entry for pixel, entry in zip(*row, strict=True)] for row in zip(pixels, entries, strict=True)]
    outputs = _both_ways((filters[0].outputs, filters[1].outputs), products)
    whole = jnp.stack([jnp.stack(row, axis=3) for row in outputs], axis=2)
    batch, tile_rows, high, tile_columns, wide, features = whole.shape
    return whole.reshape(batch, high * tile_rows, wide * tile_columns, features)[:, :rows, :columns]


def _tiles(images: Array, padding: Padding, filters: tuple[_Filter, _Filter]) -> Grid:
    """The pixel of each position in all n * m tiles, (B, n, m, C)."""
    steps = [each.step for each in filters]
    counts = [-(-(images.shape[i + 1] + sum(padding[i]) - 2) // steps[i]) for i in range(2)]
    # One step more than there are tiles, which overlap: split into steps, a pixel of all tiles is a slice.
    missing = [(counts[i] + 1) * steps[i] - images.shape[i + 1] - sum(padding[i]) for i in range(2)]
    (above, below), (left, right) = padding
    padded = pad(images, ((above, below + missing[0]), (left, right + missing[1])))
    split = padded.reshape(len(images), counts[0] + 1, steps[0], counts[1] + 1, steps[1], -1)

    def pixel(row: int, column: int) -> Array:
        (down, row), (aside, column) = divmod(row, steps[0]), divmod(column, steps[1])
        return split[:, down : down + counts[0], row, aside : aside + counts[1], column]

    rows, columns = (range(len(each.pixels)) for each in filters)
    return [[pixel(row, column) for column in columns] for row in rows]


def _both_ways(matrices: tuple[Matrix, Matrix], grid: Grid) -> Grid:
    """M X N^T of a grid X of arrays."""
    columns = [_times(matrices[0], [row[index] for row in grid]) for index in range(len(grid[0]))]
    return [_times(matrices[1], [column[index] for column in columns]) for index in range(len(matrices[0]))]


def _times(matrix: Matrix, arrays: Sequence[Array]) -> list[Array]:
    sums = []
    for row in matrix:
        terms = [x if factor == 1 else factor * x for factor, x in zip(row, arrays, strict=True) if factor]
        sums.append(sum(terms[1:], start=terms[0]))
    return sums
