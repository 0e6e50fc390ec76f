"""Convolutions as patches times kernel (im2col), and the pixels that each kernel entry multiplies."""

import jax
import jax.numpy as jnp

from jsep.types import Array

Padding = tuple[tuple[int, int], tuple[int, int]]

NO_PADDING: Padding = ((0, 0), (0, 0))


def pad(images: Array, padding: Padding) -> Array:
    """Images (B, H, W, C) with zero padding; padding: ((above, below), (left, right))."""
    zero = jnp.zeros((), images.dtype)
    return jax.lax.pad(images, zero, ((0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)))


def im2col(padded: Array, rows: int, columns: int, strides: int = 1) -> list[Array]:
    """For each of the rows * columns kernel entries, row by row: the pixels that it multiplies, (B, H', W', C)."""
    batch, height, width, channels = padded.shape
    last_row, last_column = ((n - size) // strides * strides for n, size in ((height, rows), (width, columns)))
    return [
        jax.lax.slice(
            padded,
            (0, row, column, 0),
            (batch, row + last_row + 1, column + last_column + 1, channels),
            (1, strides, strides, 1),
        )
        for row in range(rows)
        for column in range(columns)
    ]


def im2col_conv(images: Array, kernel: Array, *, padding: Padding, strides: int = 1) -> Array:
    """The convolution as patches times kernel, contracted over the kernel entries and the channels. These stay separate
    dimensions: in a weight gradient the channel dimension holds the images, which may be sharded over devices."""
    patches = jnp.stack(im2col(pad(images, padding), kernel.shape[0], kernel.shape[1], strides), axis=3)
    entries = kernel.reshape(-1, *kernel.shape[2:])
    return jax.lax.dot_general(patches, entries, (((3, 4), (0, 1)), ((), ())))


def im2col_conv_by_two_columns(images: Array, kernel: Array, *, padding: Padding) -> Array:
    """As `im2col_conv`, for stride 1 and an even number of output columns: each row of the matrix product gives two
    output columns, from patches one column wider and two shifted copies of the kernel. A third of the factors of a 3x3
    kernel are zeros, but for few channels it is faster: patches of 9 or 27 numbers are too narrow for a fast product.
    """
    rows, columns, channels, features = kernel.shape
    padded = pad(images, padding)
    batch, height, width, _ = padded.shape
    out_rows, out_columns, wide = height - rows + 1, width - columns + 1, columns + 1
    lines = padded.reshape(batch, height, -1)
    starts = range(0, out_columns * channels, 2 * channels)
    windows = jnp.stack([lines[:, :, start : start + wide * channels] for start in starts], axis=2)
    patches = jnp.concatenate([windows[:, row : row + out_rows] for row in range(rows)], axis=3)
    beside = [jnp.pad(kernel, ((0, 0), (shift, 1 - shift), (0, 0), (0, 0))) for shift in range(2)]
    both = jnp.stack(beside, axis=3).reshape(rows * wide * channels, 2 * features)
    return (patches.reshape(-1, len(both)) @ both).reshape(batch, out_rows, out_columns, features)
