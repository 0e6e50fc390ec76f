"""The interface of training objectives, and functions that they share."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jsep import attack
from jsep.checks import InputError, check_choice, check_count, check_epsilon, check_positive
from jsep.train.batch_attack import BATCH_NORM_MODES
from jsep.types import Array, Key, PyTree


class Auxiliary(NamedTuple):
    """The auxiliary output of a training objective: updated batch statistics, and () float metrics by name."""

    batch_stats: PyTree
    metrics: dict[str, Array]


@dataclasses.dataclass(frozen=True)
class PgdConfig:
    """Settings of the PGD attack on predictions, in training and evaluation; see `attack.pgd`. epsilon and alpha are in
    pixel units."""

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


@dataclasses.dataclass(frozen=True)
class InnerAttack:
    """How an objective attacks the training images; ignored by objectives without an attack.

    pgd: the attack; batch_norm: mode of batch normalisation during the attack, one of `BATCH_NORM_MODES`.
    chunk_size: images attacked at once, None for the whole batch; used only if images are attacked independently
      (batch_norm "evaluation"). It affects memory, not results.
    """

    pgd: PgdConfig = PgdConfig()
    batch_norm: str = "evaluation"
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        check_choice("attack_batch_norm", self.batch_norm, BATCH_NORM_MODES)

    def train_batch_fn(self, batch_fn: BatchFn) -> Callable[[PyTree, Array], Array] | None:
        """(variables, images) -> logits (B, K) in training mode; None if the attack uses evaluation mode."""
        if self.batch_norm == "evaluation":
            return None
        # Batch statistics of the attack are discarded; only the loss updates the running statistics.
        return lambda variables, images: batch_fn(variables, images, train=True)[0]


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """The configuration of an objective without settings."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """A training objective and its metadata, an entry of `OBJECTIVES`.

    make: (model_fn, batch_fn, InnerAttack, configuration) -> objective, a function (key, params, batch_stats, images,
      labels) -> (loss (), Auxiliary) that a training step differentiates in `params`. The metrics of its Auxiliary
      include "cross_entropy" and "accuracy".
    config: class of the configuration, a frozen dataclass with a default for every field; its field names must differ
      from those of `TrainConfig`.
    baseline: name of the objective that a study compares it with; None for a baseline.
    weight: name of the field of the configuration that "<objective>@<weight>" sets in a study; None for none.
    adversarial: whether it attacks the training images.
    """

    make: Callable[..., TrainObjective]
    config: type = NoSettings
    baseline: str | None = None
    weight: str | None = None
    adversarial: bool = True

    def check_config(self, config: Any) -> None:
        """Raises InputError unless `config` is an instance of the class `self.config`."""
        if not isinstance(config, self.config):
            expected = f"expected {self.config.__name__}"
            raise InputError(f"the objective's configuration is of another one: {expected}, got {config!r}")


def as_variables(params: PyTree, batch_stats: PyTree) -> PyTree:
    """The variables of `jsep.models`: {"params": ..., "batch_stats": ...}, without "batch_stats" if they are empty."""
    return {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}


def mean_cross_entropy(logits: Array, labels: Array) -> Array:
    """mean -log softmax(logits)_label over the batch; logits: (B, K), labels: (B,). Returns: () >= 0, nats."""
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))


def accuracy(logits: Array, labels: Array) -> Array:
    """The fraction of correctly classified images; logits: (B, K), labels: (B,). Returns: () in [0, 1]."""
    return jnp.mean(jnp.argmax(logits, axis=1) == labels)


def cross_entropy_and_accuracy(
    batch_fn: BatchFn, params: PyTree, batch_stats: PyTree, images: Array, labels: Array
) -> tuple[Array, Auxiliary]:
    """The mean cross-entropy of a batch in training mode, with updated batch statistics and both metrics."""
    logits, batch_stats = batch_fn(as_variables(params, batch_stats), images, train=True)
    loss = mean_cross_entropy(logits, labels)
    return loss, Auxiliary(batch_stats, {"cross_entropy": loss, "accuracy": accuracy(logits, labels)})
