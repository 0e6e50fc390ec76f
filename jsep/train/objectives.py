"""What a training step minimises on a batch, before any regulariser: standard, Madry adversarial training, TRADES.

An objective is a function (key, params, batch_stats, images, labels) -> (loss, Auxiliary), differentiated in `params`.
A new one is one function `make_*` and one line in `OBJECTIVES`.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jsep import attack
from jsep.checks import check_choice, check_count, check_epsilon, check_positive
from jsep.train.batch_attack import BATCH_NORM_MODES, ascend_batch
from jsep.train.trades import divergent_images, trades_loss
from jsep.types import Array, Key, ModelFn, PyTree


class Auxiliary(NamedTuple):
    """What a training objective returns beside its loss: new batch statistics and () float metrics by name."""

    batch_stats: PyTree
    metrics: dict[str, Array]


@dataclasses.dataclass(frozen=True)
class PgdConfig:
    """The attack on predictions inside adversarial training, or in a test: see `attack.pgd`."""

    norm: str = "linf"
    epsilon: float = 8 / 255
    alpha: float = 2 / 255
    num_steps: int = 10

    def __post_init__(self) -> None:
        attack.norm_by_name(self.norm)
        check_epsilon(self.epsilon, self.norm)
        check_positive("alpha", self.alpha, allow_zero=True)
        check_count("num_steps", self.num_steps, minimum=0)


BatchFn = Callable[..., tuple[Array, PyTree]]
TrainObjective = Callable[[Key, PyTree, PyTree, Array, Array], tuple[Array, Auxiliary]]


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
    """PGD on the cross-entropy of every image of a batch; no gradient flows back through it.

    The batch normalisation is in evaluation mode (Pang et al. 2021), each image attacked alone, and in training mode
    with `train_batch_fn`: (variables, images) -> logits (B, K), where the images of a batch act on one another.
    Args: images: (B, H, W, C) in [0, 1]; labels: (B,); chunk_size: images that are attacked at once where each is
      attacked alone, None for all. Returns: (B, H, W, C).
    """
    variables = jax.lax.stop_gradient(variables)
    if train_batch_fn is not None:
        logits_fn = train_batch_fn

        def begin(key: Key, image: Array) -> Array:
            nowhere = dataclasses.replace(config, num_steps=0)
            return attack.pgd(key, jnp.sum, image, **dataclasses.asdict(nowhere))[0]

        def total(z: Array) -> Array:
            log_softmax = jax.nn.log_softmax(logits_fn(variables, z))
            return -jnp.sum(jnp.take_along_axis(log_softmax, labels[:, None], axis=1))

        start = jax.vmap(begin)(jax.random.split(key, len(images)), images)
        return ascend_batch(total, images, start, **dataclasses.asdict(config))

    def one(key: Key, image: Array, label: Array) -> Array:
        objective = attack.cross_entropy(lambda z: model_fn(variables, z), label)
        return attack.pgd(key, objective, image, **dataclasses.asdict(config))[0]

    rows = jax.random.split(key, len(images)), images, labels
    if chunk_size is None or chunk_size >= len(images):
        return jax.vmap(one)(*rows)
    return jax.lax.map(lambda row: one(*row), rows, batch_size=chunk_size)


def _train_batch_fn(batch_fn: BatchFn, attack_batch_norm: str) -> Callable[[PyTree, Array], Array] | None:
    check_choice("attack_batch_norm", attack_batch_norm, BATCH_NORM_MODES)
    if attack_batch_norm == "evaluation":
        return None
    # The statistics that an attack leaves behind are dropped: the loss updates them.
    return lambda variables, images: batch_fn(variables, images, train=True)[0]


def _cross_entropy_and_accuracy(
    batch_fn: BatchFn, params: PyTree, batch_stats: PyTree, images: Array, labels: Array
) -> tuple[Array, Auxiliary]:
    variables = {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}
    logits, batch_stats = batch_fn(variables, images, train=True)
    loss = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))
    accuracy = jnp.mean(jnp.argmax(logits, axis=1) == labels)
    return loss, Auxiliary(batch_stats, {"cross_entropy": loss, "accuracy": accuracy})


def make_standard(model_fn: ModelFn, batch_fn: BatchFn, config: PgdConfig) -> TrainObjective:
    """Mean cross-entropy(f(x), y) = mean -log softmax(f(x))_y on the images as they are; `config` is not used."""

    def objective(
        key: Key, params: PyTree, batch_stats: PyTree, images: Array, labels: Array
    ) -> tuple[Array, Auxiliary]:
        return _cross_entropy_and_accuracy(batch_fn, params, batch_stats, images, labels)

    return objective


def make_mat(
    model_fn: ModelFn,
    batch_fn: BatchFn,
    config: PgdConfig,
    *,
    attack_batch_norm: str = "evaluation",
    attack_chunk_size: int | None = None,
) -> TrainObjective:
    """Madry adversarial training: mean over the batch of max_(x' in ball(x)) cross-entropy(f(x'), y), the max by PGD.

    The metrics "cross_entropy" and "accuracy" are those of the adversarial images. attack_batch_norm: of
    `BATCH_NORM_MODES`, during the attack; attack_chunk_size: images that are attacked at once, None for all.
    Reference: Madry et al. 2018, equation 2.1.
    """
    train_batch_fn = _train_batch_fn(batch_fn, attack_batch_norm)

    def objective(
        key: Key, params: PyTree, batch_stats: PyTree, images: Array, labels: Array
    ) -> tuple[Array, Auxiliary]:
        variables = {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}
        attacked = adversarial_images(
            key, model_fn, variables, images, labels, config,
            train_batch_fn=train_batch_fn, chunk_size=attack_chunk_size,
        )  # fmt: skip
        return _cross_entropy_and_accuracy(batch_fn, params, batch_stats, attacked, labels)

    return objective


def make_trades(
    model_fn: ModelFn,
    batch_fn: BatchFn,
    config: PgdConfig,
    *,
    trades_beta: float = 6.0,
    attack_batch_norm: str = "evaluation",
) -> TrainObjective:
    """TRADES: mean cross-entropy(f(x), y) + trades_beta * mean KL(f(x) || f(x')), x' in the ball of `config`.

    The metrics "cross_entropy" and "accuracy" are those of the attacked images, as with MAT; attack_batch_norm too.
    Reference: Zhang et al. 2019, equation 5 and Algorithm 1.
    """
    train_batch_fn = _train_batch_fn(batch_fn, attack_batch_norm)

    def objective(
        key: Key, params: PyTree, batch_stats: PyTree, images: Array, labels: Array
    ) -> tuple[Array, Auxiliary]:
        variables = {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}
        attacked = divergent_images(
            key, model_fn, variables, images, train_batch_fn=train_batch_fn, **dataclasses.asdict(config)
        )
        loss, (logits, batch_stats) = trades_loss(batch_fn, variables, images, attacked, labels, trades_beta)
        cross_entropy = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))
        accuracy = jnp.mean(jnp.argmax(logits, axis=1) == labels)
        return loss, Auxiliary(batch_stats, {"cross_entropy": cross_entropy, "accuracy": accuracy})

    return objective


OBJECTIVES: dict[str, Callable[..., TrainObjective]] = {
    "standard": make_standard,
    "mat": make_mat,
    "trades": make_trades,
}
"""name -> (model_fn, batch_fn, PgdConfig; mat and trades: attack_batch_norm; mat: attack_chunk_size; trades:
trades_beta) -> training objective."""
