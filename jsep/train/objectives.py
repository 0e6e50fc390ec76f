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
from jsep.checks import check_count, check_epsilon, check_positive
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
    key: Key, model_fn: ModelFn, variables: PyTree, images: Array, labels: Array, config: PgdConfig
) -> Array:
    """PGD on the cross-entropy of every image of a batch; no gradient flows back through it.

    Args: images: (B, H, W, C) in [0, 1]; labels: (B,). Returns: (B, H, W, C).
    The batch normalisation is in evaluation mode (Pang et al. 2021): each image is attacked alone.
    """
    variables = jax.lax.stop_gradient(variables)

    def one(key: Key, image: Array, label: Array) -> Array:
        objective = attack.cross_entropy(lambda z: model_fn(variables, z), label)
        return attack.pgd(key, objective, image, **dataclasses.asdict(config))[0]

    return jax.vmap(one)(jax.random.split(key, len(images)), images, labels)


def _cross_entropy_and_accuracy(
    batch_fn: BatchFn, params: PyTree, batch_stats: PyTree, images: Array, labels: Array
) -> tuple[Array, Auxiliary]:
    variables = {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}
    logits, batch_stats = batch_fn(variables, images, train=True)
    loss = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))
    accuracy = jnp.mean(jnp.argmax(logits, axis=1) == labels)
    return loss, Auxiliary(batch_stats, {"cross_entropy": loss, "accuracy": accuracy})


def make_standard(model_fn: ModelFn, batch_fn: BatchFn, config: PgdConfig) -> TrainObjective:
    """Mean cross-entropy on the images as they are; `config` is not used."""

    def objective(
        key: Key, params: PyTree, batch_stats: PyTree, images: Array, labels: Array
    ) -> tuple[Array, Auxiliary]:
        return _cross_entropy_and_accuracy(batch_fn, params, batch_stats, images, labels)

    return objective


def make_mat(model_fn: ModelFn, batch_fn: BatchFn, config: PgdConfig) -> TrainObjective:
    """Madry adversarial training: mean cross-entropy on PGD images, max over the ball of `config` (Madry et al. 2018,
    eq. 2.1).

    The metrics "cross_entropy" and "accuracy" are those of the adversarial images.
    """

    def objective(
        key: Key, params: PyTree, batch_stats: PyTree, images: Array, labels: Array
    ) -> tuple[Array, Auxiliary]:
        variables = {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}
        attacked = adversarial_images(key, model_fn, variables, images, labels, config)
        return _cross_entropy_and_accuracy(batch_fn, params, batch_stats, attacked, labels)

    return objective


def make_trades(model_fn: ModelFn, batch_fn: BatchFn, config: PgdConfig, *, trades_beta: float = 6.0) -> TrainObjective:
    """TRADES: mean cross-entropy(f(x), y) + trades_beta * mean KL(f(x) || f(x')), x' in the ball of `config`.

    The metrics "cross_entropy" and "accuracy" are those of the attacked images, as with MAT.
    Reference: Zhang et al. 2019, equation 5 and Algorithm 1.
    """

    def objective(
        key: Key, params: PyTree, batch_stats: PyTree, images: Array, labels: Array
    ) -> tuple[Array, Auxiliary]:
        variables = {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}
        attacked = divergent_images(key, model_fn, variables, images, **dataclasses.asdict(config))
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
"""name -> (model_fn, batch_fn, PgdConfig; trades: trades_beta) -> training objective."""
