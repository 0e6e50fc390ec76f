"""The SEP term of a batch and its gradient in the parameters, computed in chunks of the batch."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jsep import models
from jsep.train.sep import SepConfig, image_penalties
from jsep.types import Array, Key, ModelFn, PyTree


def sep_value_and_gradient(
    key: Key,
    config: SepConfig,
    model_fn: ModelFn,
    batch_fn: Callable[..., tuple[Array, PyTree]],
    params: PyTree,
    batch_stats: PyTree,
    images: Array,
    labels: Array,
    *,
    chunk_size: int,
) -> tuple[Array, PyTree]:
    """The value of `batch_penalty` and its gradient in `params`, summed over chunks of the batch.

    With config.batch_norm "training" the maps are those of the network normalised by the statistics of `images`, and
    the gradient flows through these statistics.

    Args: batch_stats: the running statistics, {} for a model without batch normalisation; images: (B, H, W, C) in
      [0, 1]; labels: (B,); chunk_size: images per chunk, a divisor of B.
    Returns: (value (), gradient as `params`).
    """
    if config.batch_norm == "training" and batch_stats:
        statistics, pull_back = jax.vjp(lambda p: _batch_statistics(batch_fn, p, batch_stats, images), params)
    else:
        statistics, pull_back = batch_stats, None
    rows = (jax.random.split(key, len(images)), images, labels)

    def value_of(params: PyTree, statistics: PyTree, rows: tuple[Key, Array, Array]) -> Array:
        variables = {"params": params, "batch_stats": statistics} if statistics else {"params": params}
        keys, some_images, some_labels = rows
        return jnp.sum(image_penalties(keys, config, model_fn, variables, some_images, some_labels)) / len(images)

    wanted = 0 if pull_back is None else (0, 1)
    of_rows = functools.partial(jax.value_and_grad(value_of, wanted), params, statistics)
    value, gradient = of_rows(rows) if chunk_size == len(images) else _sum_over_chunks(of_rows, rows, chunk_size)
    if pull_back is None:
        return value, gradient
    direct, of_statistics = gradient
    return value, jax.tree.map(jnp.add, direct, pull_back(of_statistics)[0])


def _sum_over_chunks(function: Callable[[Any], PyTree], rows: PyTree, chunk_size: int) -> PyTree:
    chunks = jax.tree.map(lambda row: row.reshape(-1, chunk_size, *row.shape[1:]), rows)
    shapes = jax.eval_shape(function, jax.tree.map(lambda row: row[0], chunks))
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.scan(lambda total, chunk: (jax.tree.map(jnp.add, total, function(chunk)), None), nothing, chunks)[0]


def _batch_statistics(
    batch_fn: Callable[..., tuple[Array, PyTree]], params: PyTree, batch_stats: PyTree, images: Array
) -> PyTree:
    """Mean and variance of the batch in every layer: the update of zero running statistics, divided by 1 - momentum."""
    zeros = jax.tree.map(jnp.zeros_like, batch_stats)
    _, updated = batch_fn({"params": params, "batch_stats": zeros}, images, train=True)
    return jax.tree.map(lambda leaf: leaf / (1 - models.BATCH_NORM_MOMENTUM), updated)
