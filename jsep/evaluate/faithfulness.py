"""Faithfulness: whether the model uses the pixels that a map marks as important; functions of one image and one map.

Pixels are ordered by the map, largest first, ties in reading order. At step t of T the first floor(t N / T) of the N
pixels are removed (deletion, ROAD) or inserted (insertion).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep.arguments import shows_keywords_of
from jsep.checks import (
    InputError,
    as_baseline,
    as_image,
    at_label,
    check_count,
    check_label,
    check_output,
    check_positive,
)
from jsep.compiled import call, compiled, shape_of
from jsep.map_checks import as_map
from jsep.numerics import all_finite, in_single_precision, is_half, softmax, to_single
from jsep.types import Array, Key, LogitsFn


def pixel_ranks(map_: Array) -> Array:
    """(H, W) int32: 0 for the largest pixel of the map, N - 1 for the smallest, ties in reading order."""
    order = jnp.argsort(-map_.ravel(), stable=True)
    return jnp.zeros(map_.size, jnp.int32).at[order].set(jnp.arange(map_.size, dtype=jnp.int32)).reshape(map_.shape)


def _checked(
    logits_fn: LogitsFn, image: Array, label: Array, map_: Array, num_steps: int, chunk_size: int
) -> tuple[LogitsFn, Array, Array]:
    """The model, the image and the map, at least float32, after checks of all inputs, the output and the label."""
    image = as_image(image)
    check_count("num_steps", num_steps)
    check_count("chunk_size", chunk_size)
    if jnp.shape(map_) != image.shape[:2]:
        raise InputError(f"expected a map of the image's {image.shape[:2]} pixels, got {jnp.shape(map_)}")
    logits = shape_of(logits_fn, image) if isinstance(image, jax.core.Tracer) else call(logits_fn, image)
    check_output(logits)
    check_label(label, logits.shape[0])
    if is_half(image.dtype):
        logits_fn, image = in_single_precision(logits_fn, image), to_single(image)
    return logits_fn, image, as_map(map_)


def _probability(logits_fn: LogitsFn, image: Array, label: Array, map_: Array) -> Array:
    """() p_label; NaN if the map is not finite (its pixels have no order), or a traced label is out of range."""
    return jnp.where(all_finite(map_), at_label(softmax(logits_fn(image)), label), jnp.nan)


def _counts(length: int, num_steps: int, num_pixels: int) -> Array:
    """floor(t N / T) for t = 0 .. length - 1, on the host: products above 2^31 would overflow on the device."""
    return jnp.asarray(np.arange(length, dtype=np.int64) * num_pixels // num_steps, jnp.int32)


@compiled
def _curve(
    logits_fn: LogitsFn,
    label: Array,
    shown: Array,
    instead: Any,
    map_: Array,
    num_steps: int,
    chunk_size: int,
) -> Array:
    """p_label with the first t pixels from `instead` and the others from `shown`, for t = 0 .. num_steps."""
    ranks = pixel_ranks(map_)
    counts = _counts(num_steps + 1, num_steps, map_.size)

    def probability(count: Array) -> Array:
        return _probability(logits_fn, jnp.where((ranks < count)[..., None], instead, shown), label, map_)

    return jax.lax.map(probability, counts, batch_size=min(chunk_size, num_steps + 1))


def deletion_curve(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    map_: Array,
    *,
    baseline: Any = 0.0,
    num_steps: int = 32,
    chunk_size: int = 64,
) -> Array:
    """The probability of `label` while the pixels are replaced by the baseline, most important first.

    Args: logits_fn; image (H, W, C); label (); map_: (H, W); baseline: a number or an array that broadcasts to the
      image, pixel units; num_steps: T; chunk_size: images in memory at once.
    Returns: (T + 1,) in [0, 1], starting with the unchanged image. Its `area_under_curve` is the deletion AUC, lower
      for a more faithful map.
    Raises: InputError for a map of another size or a count out of range.
    Reference: Petsiuk et al. 2018, section 4.3 (deletion).
    """
    logits_fn, image, map_ = _checked(logits_fn, image, label, map_, num_steps, chunk_size)
    instead = jnp.broadcast_to(as_baseline(baseline, image), image.shape)
    return _curve(logits_fn, label, image, instead, map_, num_steps, chunk_size)


def insertion_curve(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    map_: Array,
    *,
    baseline: Any = 0.0,
    num_steps: int = 32,
    chunk_size: int = 64,
) -> Array:
    """The probability of `label` while the baseline's pixels are replaced by the image's, most important first.

    With the clean image and the map of a manipulated image this is adversarial insertion: how faithful the manipulated
    map still is to the model (Joo et al. 2023).

    Args, Raises: as `deletion_curve`. Returns: (T + 1,) in [0, 1], starting with the baseline. Its `area_under_curve`
      is the insertion AUC, higher for a more faithful map.
    Reference: Petsiuk et al. 2018, section 4.3 (insertion).
    """
    logits_fn, image, map_ = _checked(logits_fn, image, label, map_, num_steps, chunk_size)
    shown = jnp.broadcast_to(as_baseline(baseline, image), image.shape)
    return _curve(logits_fn, label, shown, image, map_, num_steps, chunk_size)


@shows_keywords_of(insertion_curve)
def adversarial_insertion(
    logits_fn: LogitsFn, image: Array, label: Array, map_: Array, manipulated_map: Array, **settings: Any
) -> Array:
    """Insertion AUC of the clean image in the order of the manipulated image's map, minus that in the order of its own.

    Args: as `insertion_curve`, with the map of `image` and that of its manipulated version.
    Returns: () in [-1, 1]; 0: the manipulated map is as faithful as the clean one; below 0: less faithful.
    Raises: as `insertion_curve`.
    """
    own, other = (
        area_under_curve(insertion_curve(logits_fn, image, label, m, **settings)) for m in (map_, manipulated_map)
    )
    return other - own


def area_under_curve(curve: Array) -> Array:
    """The area under (T + 1,) equally spaced values over [0, 1], by the trapezoidal rule; ()."""
    curve = jnp.asarray(curve)
    if curve.ndim != 1 or len(curve) < 2:
        raise InputError(
            f"curve must be two or more values in a row, got shape {curve.shape}; for a batch use jax.vmap"
        )
    return jnp.mean((curve[1:] + curve[:-1]) / 2)


def impute(image: Array, missing: Array) -> Array:
    """The image with each missing pixel replaced by the weighted mean of its eight neighbours, solved jointly.

    Each missing pixel solves x_i sum_j w_ij = sum_j w_ij x_j over its neighbours inside the image, with w = 1/6 for
    horizontal and vertical and 1/12 for diagonal ones: one equation for each pixel, solved by conjugate gradients.

    Args: image (H, W, C); missing: (H, W) bool. Returns: (H, W, C); NaN where all pixels are missing.
    Reference: Rong et al. 2022, section 4.2 (noisy linear imputation, without its noise).
    """
    gone = missing[..., None].astype(image.dtype)

    def neighbours(values: Array) -> Array:
        """sum_j w_ij x_j over the neighbours inside the image; w is symmetric."""
        down = jnp.pad(values, ((1, 1), (0, 0), (0, 0)))
        beside = down[:-2] + down[2:]

        def both_sides(x: Array) -> Array:
            wide = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
            return wide[:, :-2] + wide[:, 2:]

        return (beside + both_sides(values)) / 6 + both_sides(beside) / 12

    total = neighbours(jnp.ones_like(gone))

    def system(x: Array) -> Array:
        """The equations of the missing pixels, with known pixels moved to the right-hand side: positive definite."""
        return gone * (total * x - neighbours(gone * x)) + (1 - gone) * x

    right = gone * neighbours((1 - gone) * image)
    # Matrix-free: the N x N matrix of a 224 x 224 image would take 10 GiB.
    tolerance = min(1e-7, 100 * float(jnp.finfo(image.dtype).eps))
    solved, _ = jax.scipy.sparse.linalg.cg(system, right, tol=tolerance, maxiter=20 * max(image.shape[:2]))
    return jnp.where(jnp.all(missing), jnp.nan, jnp.where(gone == 1, solved, image))


def road_curve(
    key: Key,
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    map_: Array,
    *,
    num_steps: int = 10,
    sigma: float = 0.01,
    least_first: bool = False,
    chunk_size: int = 1,
) -> Array:
    """ROAD: the probability of `label` while pixels are removed and imputed from the rest, most important first.

    Unlike a constant baseline (`deletion_curve`), imputed pixels do not reveal the shape of the removed region.

    Args: key: for the noise; sigma: its standard deviation, pixel units; least_first: remove the least important first;
      chunk_size: steps in memory at once; the rest as `deletion_curve`.
    Returns: (T,) in [0, 1], with fractions 0, 1/T .. (T-1)/T of the pixels removed; all pixels cannot be removed, since
      imputation needs some. ROAD's own score, the fraction of images that keep their class, is coarser.
    Raises: as `deletion_curve`.
    Reference: Rong et al. 2022.
    """
    logits_fn, image, map_ = _checked(logits_fn, image, label, map_, num_steps, chunk_size)
    check_positive("sigma", sigma, allow_zero=True)
    return _road_curve(key, logits_fn, image, label, -map_ if least_first else map_, num_steps, sigma, chunk_size)


@compiled
def _road_curve(
    key: Key, logits_fn: LogitsFn, image: Array, label: Array, map_: Array, num_steps: int, sigma: Any, chunk_size: int
) -> Array:
    ranks = pixel_ranks(map_)
    counts = _counts(num_steps, num_steps, map_.size)

    def probability(inputs: tuple[Array, Key]) -> Array:
        count, key = inputs
        missing = ranks < count
        added = sigma * jax.random.normal(key, image.shape, image.dtype)
        filled = impute(image, missing) + jnp.where(missing[..., None], added, 0.0)
        return _probability(logits_fn, filled, label, map_)

    return jax.lax.map(probability, (counts, jax.random.split(key, num_steps)), batch_size=min(chunk_size, num_steps))
