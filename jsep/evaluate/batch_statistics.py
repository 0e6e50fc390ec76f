"""Clean accuracy with batch normalisation in training mode, using the statistics of each batch."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jsep import devices
from jsep.checks import InputError, check_count
from jsep.data import Dataset
from jsep.evaluate.metric import TRAINING, accuracy, register
from jsep.map_checks import floating
from jsep.types import Array, Key, PyTree

BatchFn = Callable[..., tuple[Array, PyTree]]


def batch_statistics_accuracy(
    key: Key, batch_fn: BatchFn, variables: PyTree, dataset: Dataset, *, batch_size: int
) -> float:
    """The clean accuracy on `dataset` if batch normalisation uses the statistics of each batch, as in training.

    If it is far above the accuracy in evaluation mode, the running statistics do not fit the weights; forward passes
    that only update the running statistics then restore the accuracy. Images with non-finite logits are left out.

    Args: key: for the order of the images, since a batch of one class has the statistics of that class; batch_fn: from
      `models.batch_fn`; batch_size: images in a batch; the last is padded with the first images, which count once.
    Raises: InputError for batch_size < 1, or another output of batch_fn.
    """
    check_count("batch_size", batch_size)
    if not isinstance(variables, Mapping) or not all(hasattr(leaf, "shape") for leaf in jax.tree.leaves(variables)):
        raise InputError(
            f"variables must be those of batch_fn's model, a tree of arrays, got {type(variables).__name__}"
        )
    mesh = devices.mesh_of(variables)
    size = devices.padded_size(min(batch_size, len(dataset)), mesh)
    order = np.asarray(jax.random.permutation(key, len(dataset)))
    parts = []
    for first in range(0, len(order), size):
        chosen = np.take(order, np.arange(first, first + size), mode="wrap")
        parts.append(
            _correct(batch_fn, variables, *devices.shard((dataset.images[chosen], dataset.labels[chosen]), mesh))
        )
    correct, finite = (
        np.concatenate(column)[: len(order)] for column in zip(*devices.to_host(parts, mesh), strict=True)
    )
    return float(correct[finite].mean()) if finite.any() else float("nan")


@functools.partial(jax.jit, static_argnames=("batch_fn",))
def _correct(batch_fn: BatchFn, variables: PyTree, images: Array, labels: Array) -> tuple[Array, Array]:
    if images.dtype == jnp.uint8:
        images = images.astype(jnp.float32) / 255
    found = batch_fn(variables, images, train=True)
    if not isinstance(found, tuple) or len(found) != 2:
        raise InputError(f"batch_fn must return (logits (B, K), batch statistics), got {type(found).__name__}")
    logits = floating(found[0], "batch_fn")
    if logits.ndim != 2 or len(logits) != len(images):
        raise InputError(f"batch_fn must map {len(images)} images to logits ({len(images)}, K), got {logits.shape}")
    return jnp.argmax(logits, axis=1) == labels, jnp.isfinite(logits).all(axis=1)


register(
    accuracy("batch_statistics_accuracy", "clean, batch statistics", TRAINING,
        "Clean accuracy when batch normalisation uses the statistics of each batch of test images, as in "
        "training. Far above the clean accuracy: the running statistics are not those of the network, and the "
        "model is not broken."),
)  # fmt: skip
