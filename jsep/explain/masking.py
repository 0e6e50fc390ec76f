"""Perturbation methods, which compare the scores of the image and of masked images: occlusion and RISE."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jsep.checks import InputError, as_baseline, at_label, check_count, check_number
from jsep.explain.entry import explanation_method, score
from jsep.explain.sampling import check_key, map_in_chunks, without_derivative
from jsep.memory import check_memory
from jsep.numerics import softmax
from jsep.types import Array, Key, LogitsFn


def masked(image: Array, mask: Array, baseline: Any) -> Array:
    """The image where `mask` (H, W) is 1 and the baseline where it is 0."""
    return baseline + mask[..., None] * (image - baseline)


@explanation_method
def occlusion(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    *,
    key: Key | None = None,
    window: int = 4,
    stride: int = 2,
    baseline: Any = 0.0,
    chunk_size: int = 64,
) -> Array:
    """Occlusion: the decrease of the logit when a window is masked, averaged over the windows that cover a pixel.

    Windows lie at multiples of `stride`; the last of a row or column may extend beyond the image.
    Args:
      logits_fn, image, label, key: as `gradient`.
      window: side of the square window, pixels; stride: distance between windows, pixels.
      baseline: pixels of the masked window, a number or an array that broadcasts to the image, pixel units.
      chunk_size: masked images in memory at once.

    Returns: (H, W, 1), signed, in logits; 0 at pixels that no window covers. Differentiable in the image and the
      parameters.
    Raises: InputError as in `score`, or for a window larger than the image.
    Reference: Zeiler and Fergus 2014, section 4.
    """
    check_count("window", window)
    check_count("stride", stride)
    baseline = as_baseline(baseline, image)
    whole = score(logits_fn, image, label)
    height, width, _ = image.shape
    if window > min(height, width):
        raise InputError(f"window must be at most {min(height, width)} for images of {height}x{width}, got {window}")
    starts = [[stride * i for i in range(math.ceil((side - window) / stride) + 1)] for side in (height, width)]
    corners = jnp.asarray([(row, column) for row in starts[0] for column in starts[1]])

    def cover(corner: Array) -> Array:
        rows, columns = jnp.arange(height) - corner[0], jnp.arange(width) - corner[1]
        inside = ((rows >= 0) & (rows < window))[:, None] & ((columns >= 0) & (columns < window))[None]
        return inside.astype(image.dtype)

    def fall(corner: Array) -> Array:
        return whole - score(logits_fn, masked(image, 1 - cover(corner), baseline), label)

    falls = map_in_chunks(fall, corners, chunk_size)

    def add(total: tuple[Array, Array], item: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        corner, fall = item
        covered = cover(corner)
        return (total[0] + fall * covered, total[1] + covered), None

    zeros = jnp.zeros((height, width), image.dtype)
    (total, count), _ = jax.lax.scan(add, (zeros, zeros), (corners, falls))
    return (total / jnp.maximum(count, 1))[..., None]


def rise_masks(key: Key, shape: tuple[int, int], *, num_samples: int, grid: int = 4, keep: float = 0.5) -> Array:
    """Random smooth masks (num_samples, H, W) in [0, 1]: a coarse random grid of zeros and ones, upsampled bilinearly
    and shifted by less than a cell.

    Args: grid: cells along a side; keep: probability of a one, in (0, 1]. Reference: Petsiuk et al. 2018, section 3.2.
    """
    check_count("num_samples", num_samples)
    check_count("grid", grid)
    check_number("keep", keep, 0, 1, above_low=True)
    height, width = shape
    check_memory(f"{num_samples} masks of {height} x {width}", 4.0 * num_samples * (height + grid) * (width + grid))
    cell = (math.ceil(height / grid), math.ceil(width / grid))

    def one(key: Key) -> Array:
        bits_key, row_key, column_key = jax.random.split(key, 3)
        bits = jax.random.bernoulli(bits_key, keep, (grid + 1, grid + 1)).astype(jnp.float32)
        large = jax.image.resize(bits, ((grid + 1) * cell[0], (grid + 1) * cell[1]), "bilinear")
        shift = (jax.random.randint(row_key, (), 0, cell[0]), jax.random.randint(column_key, (), 0, cell[1]))
        return jax.lax.dynamic_slice(large, shift, shape)

    return jax.vmap(one)(jax.random.split(key, num_samples))


def rise_from_masks(
    masks: Array, logits_fn: LogitsFn, image: Array, label: Array, *, keep: float, chunk_size: int = 64
) -> Array:
    """RISE with given masks: sum_m p_label(x * m) m / (M keep), p the softmax; differentiable for fixed masks.

    Args: masks: (M, H, W) in [0, 1]; keep: their mean. Returns: (H, W, 1), non-negative.
    """
    image = jnp.asarray(image)
    score(logits_fn, image, label)

    def probability(mask: Array) -> Array:
        return at_label(softmax(logits_fn(masked(image, mask.astype(image.dtype), 0.0))), label)

    weights = map_in_chunks(probability, masks, chunk_size)
    return (jnp.tensordot(weights, masks.astype(image.dtype), 1) / (len(masks) * keep))[..., None]


@explanation_method
def rise(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    *,
    key: Key | None = None,
    num_samples: int = 512,
    grid: int = 4,
    keep: float = 0.5,
    chunk_size: int = 64,
) -> Array:
    """RISE: the mean of random masks, each weighted by the probability of `label` on the masked image.

    Args: key: for the masks; required; num_samples, grid, keep: as `rise_masks`; chunk_size: masked images in memory at
      once; the rest as `gradient`.
    Returns: (H, W, 1), non-negative. Its derivative raises InputError, since its masks are drawn for one image;
      an attack uses another method and transfers.
    Raises: InputError as in `score`, without a key, or for a count or probability out of range.
    Reference: Petsiuk et al. 2018, equation 6.
    """
    key = check_key(key, "rise")
    height, width, _ = image.shape
    masks = rise_masks(key, (height, width), num_samples=num_samples, grid=grid, keep=keep)
    saliency = rise_from_masks(masks, logits_fn, image, label, keep=keep, chunk_size=chunk_size)
    return without_derivative("rise", saliency)
