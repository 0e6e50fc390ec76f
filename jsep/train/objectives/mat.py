"""MAT, Madry adversarial training: the cross-entropy of PGD adversarial images."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jsep import attack
from jsep.attack.pgd import ascend
from jsep.checks import check_count
from jsep.compiled import compiled
from jsep.train.batch_attack import ascend_batch, check_batch_labels
from jsep.train.objectives.interface import (
    Auxiliary,
    BatchFn,
    InnerAttack,
    NoSettings,
    Objective,
    PgdConfig,
    TrainObjective,
    as_variables,
    cross_entropy_and_accuracy,
)
from jsep.types import Array, Key, ModelFn, PyTree


def adversarial_images(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    images: Array,
    labels: Array,
    config: PgdConfig,
    *,
    train_batch_fn: Callable[[PyTree, Array], Array] | None = None,
    chunk_size: int | None = None,
) -> Array:
    """PGD on the cross-entropy of each image of a batch; no gradient flows through the attack.

    Batch normalisation is in evaluation mode (Pang et al. 2021), so images are attacked independently; with
    `train_batch_fn` it is in training mode and the images of a batch affect each other.
    Args: images: (B, H, W, C) in [0, 1]; labels: (B,); train_batch_fn: (variables, images) -> logits (B, K);
      chunk_size: images attacked at once if independently, None for all. Returns: (B, H, W, C).
    """
    batch_fn = train_batch_fn
    attacked_fn = model_fn if batch_fn is None else lambda variables, image: batch_fn(variables, image[None])[0]
    check_batch_labels(attacked_fn, variables, images, labels)
    if chunk_size is not None:
        check_count("chunk_size", chunk_size)
    return _attacked(key, model_fn, variables, images, labels, config, train_batch_fn, chunk_size)


@compiled
def _attacked(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    images: Array,
    labels: Array,
    config: PgdConfig,
    train_batch_fn: Callable[[PyTree, Array], Array] | None,
    chunk_size: int | None,
) -> Array:
    variables = jax.lax.stop_gradient(variables)
    if train_batch_fn is not None:
        logits_fn = train_batch_fn

        def begin(key: Key, image: Array) -> Array:
            nowhere = dataclasses.replace(config, num_steps=0)
            return ascend(key, jnp.sum, image, **dataclasses.asdict(nowhere))[0]

        def total(z: Array) -> Array:
            log_softmax = jax.nn.log_softmax(logits_fn(variables, z))
            return -jnp.sum(jnp.take_along_axis(log_softmax, labels[:, None], axis=1))

        start = jax.vmap(begin)(jax.random.split(key, len(images)), images)
        return ascend_batch(total, images, start, **dataclasses.asdict(config))

    def one(key: Key, image: Array, label: Array) -> Array:
        objective = attack.cross_entropy(lambda z: model_fn(variables, z), label)
        return ascend(key, objective, image, **dataclasses.asdict(config))[0]

    rows = jax.random.split(key, len(images)), images, labels
    if chunk_size is None or chunk_size >= len(images):
        return jax.vmap(one)(*rows)
    return jax.lax.map(lambda row: one(*row), rows, batch_size=chunk_size)


def make_mat(
    model_fn: ModelFn, batch_fn: BatchFn, inner: InnerAttack, config: NoSettings | None = None
) -> TrainObjective:
    """Madry adversarial training: mean over the batch of max_(x' in ball(x)) cross-entropy(f(x'), y), the max by PGD.

    The metrics "cross_entropy" and "accuracy" are computed on the adversarial images.
    Reference: Madry et al. 2018, equation 2.1.
    """
    train_batch_fn = inner.train_batch_fn(batch_fn)

    def objective(
        key: Key, params: PyTree, batch_stats: PyTree, images: Array, labels: Array
    ) -> tuple[Array, Auxiliary]:
        adversarial = adversarial_images(
            key,
            model_fn,
            as_variables(params, batch_stats),
            images,
            labels,
            inner.pgd,
            train_batch_fn=train_batch_fn,
            chunk_size=inner.chunk_size,
        )
        return cross_entropy_and_accuracy(batch_fn, params, batch_stats, adversarial, labels)

    return objective


MAT = Objective(make_mat)
