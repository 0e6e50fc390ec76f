"""LIME: a local linear model of the logit in segments of the image."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep.checks import InputError, as_baseline, check_count, check_positive
from jsep.explain.entry import explanation_method, score
from jsep.explain.masking import masked
from jsep.explain.sampling import check_key, map_in_chunks, without_derivative
from jsep.memory import check_memory
from jsep.types import Array, Key, LogitsFn


def grid_segments(shape: tuple[int, int], cell: int) -> np.ndarray:
    """Squares of `cell` x `cell` pixels, numbered row by row: (H, W) int."""
    check_count("cell", cell)
    columns = -(-shape[1] // cell)
    return (np.arange(shape[0]) // cell)[:, None] * columns + (np.arange(shape[1]) // cell)[None]


def ridge_coefficients(inputs: Array, outputs: Array, weights: Array, ridge: Any) -> Array:
    """argmin_w,b sum_i weights_i (inputs_i . w + b - outputs_i)^2 + ridge |w|^2, the intercept b not penalised.

    Args: inputs: (S, F); outputs, weights: (S,). Returns: w, (F,).
    """
    total = jnp.sum(weights)
    inputs = inputs - weights @ inputs / total
    outputs = outputs - weights @ outputs / total
    gram = (inputs * weights[:, None]).T @ inputs + ridge * jnp.eye(inputs.shape[1], dtype=inputs.dtype)
    return jnp.linalg.solve(gram, inputs.T @ (weights * outputs))


@explanation_method
def lime(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    *,
    key: Key | None = None,
    segments: Any = 4,
    num_samples: int = 512,
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    baseline: Any = 0.0,
    chunk_size: int = 64,
) -> Array:
    """LIME: the coefficients of a weighted ridge regression of the logit on the presence of segments.

    Sample i keeps each segment with probability 1/2 (z_i in {0, 1}^S; the first sample keeps all) and has the weight
    exp(-d_i^2 / kernel_width^2), d_i = 1 - cos(z_i, 1).

    Args:
      logits_fn, image, label: as `gradient`.
      key: for the samples; required.
      segments: side of square segments in pixels, or (H, W) integers 0 .. S-1 (e.g. from scikit-image's SLIC).
      num_samples: >= 1; kernel_width: > 0; ridge: penalty on the coefficients, > 0.
      baseline: pixels of absent segments, a number or an array that broadcasts to the image, pixel units.
      chunk_size: masked images in memory at once.

    Returns: (H, W, 1), signed, in logits, one value for each segment. Its derivative raises InputError,
      since the samples are drawn for one image; an attack uses another method and transfers.
    Raises: InputError as in `score`, without a key, or for segments that do not fit the image.
    Reference: Ribeiro et al. 2016, equation 2 and algorithm 1.
    """
    key = check_key(key, "lime")
    check_count("num_samples", num_samples)
    check_positive("kernel_width", kernel_width)
    check_positive("ridge", ridge)
    baseline = as_baseline(baseline, image)
    height, width, _ = image.shape
    shape = (height, width)
    numbers = grid_segments(shape, segments) if np.ndim(segments) == 0 else np.asarray(segments)
    if numbers.shape != shape or not np.issubdtype(numbers.dtype, np.integer) or numbers.min() < 0:
        raise InputError(
            f"segments must be the side of squares or integers >= 0 of shape {shape}, "
            f"got {numbers.dtype} of shape {numbers.shape}"
        )
    num_segments = int(numbers.max()) + 1
    check_memory(f"{num_samples} samples of {num_segments} segments", 4.0 * num_samples * num_segments)
    present = jax.random.bernoulli(key, 0.5, (num_samples, num_segments)).astype(image.dtype).at[0].set(1)
    outputs = map_in_chunks(
        lambda z: score(logits_fn, masked(image, z[jnp.asarray(numbers)], baseline), label), present, chunk_size
    )
    cosine = jnp.sqrt(jnp.mean(present, axis=1))
    weights = jnp.exp(-((1 - cosine) ** 2) / kernel_width**2)
    coefficients = ridge_coefficients(present, outputs, weights, ridge)
    return without_derivative("lime", coefficients[jnp.asarray(numbers)][..., None])
