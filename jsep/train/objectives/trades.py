"""TRADES: cross-entropy on clean images plus the divergence of adversarial from clean predictions."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jsep import attack
from jsep.checks import check_positive
from jsep.train.batch_attack import ascend_batch
from jsep.train.objectives.interface import (
    Auxiliary,
    BatchFn,
    InnerAttack,
    Objective,
    TrainObjective,
    accuracy,
    as_variables,
    mean_cross_entropy,
)
from jsep.types import Array, Key, ModelFn, PyTree

START_SCALE = 0.001
"""Standard deviation of the Gaussian start of the inner attack, pixel units (Zhang et al. 2019)."""


@dataclasses.dataclass(frozen=True)
class TradesConfig:
    """trades_beta: weight of the KL divergence (1/lambda in TRADES, alpha in the paper), >= 0."""

    trades_beta: float = 6.0

    def __post_init__(self) -> None:
        check_positive("trades_beta", self.trades_beta, allow_zero=True)


def kl_divergence(clean_logits: Array, logits: Array) -> Array:
    """KL(p || q) = sum_k p_k (log p_k - log q_k), p = softmax(clean_logits), q = softmax(logits), in nats.

    Args: logits (..., K). Returns: (...), >= 0 up to rounding.
    """
    clean_log, log = jax.nn.log_softmax(clean_logits), jax.nn.log_softmax(logits)
    return jnp.sum(jnp.exp(clean_log) * (clean_log - log), axis=-1)


def divergent_images(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    images: Array,
    *,
    norm: str,
    epsilon: Any,
    alpha: Any,
    num_steps: int,
    train_batch_fn: Callable[[PyTree, Array], Array] | None = None,
) -> Array:
    """The inner maximisation: projected gradient ascent on KL(f(x) || f(z)) over z in the ball around each image x.

    It starts at x + 0.001 * N(0, 1), since the gradient of the divergence is 0 at x. It uses no labels, and no gradient
    flows through the attack. Batch normalisation is in evaluation mode; with `train_batch_fn` in training mode.
    Args: images: (B, H, W, C) in [0, 1]; train_batch_fn: (variables, images) -> logits (B, K) in training mode; others
      as `attack.pgd`. Returns: (B, H, W, C), in the ball and in [0, 1].
    Reference: Zhang et al. 2019, Algorithm 1.
    """
    ball = attack.norm_by_name(norm)
    variables = jax.lax.stop_gradient(variables)

    def begin(key: Key, image: Array) -> Array:
        noisy = image + START_SCALE * jax.random.normal(key, image.shape, image.dtype)
        return attack.project_to_ball_and_box(ball, image, noisy, epsilon)

    def one(key: Key, image: Array) -> Array:
        clean_logits = model_fn(variables, image)

        def step(perturbed: Array, _: None) -> tuple[Array, None]:
            gradient = jax.grad(lambda z: kl_divergence(clean_logits, model_fn(variables, z)))(perturbed)
            moved = perturbed + alpha * ball.step(gradient)
            return attack.project_to_ball_and_box(ball, image, moved, epsilon), None

        return jax.lax.scan(step, begin(key, image), None, length=num_steps)[0]

    keys = jax.random.split(key, len(images))
    if train_batch_fn is None:
        return jax.vmap(one)(keys, images)
    logits_fn, clean = train_batch_fn, train_batch_fn(variables, images)
    return ascend_batch(
        lambda z: jnp.sum(kl_divergence(clean, logits_fn(variables, z))),
        images,
        jax.vmap(begin)(keys, images),
        norm=norm,
        epsilon=epsilon,
        alpha=alpha,
        num_steps=num_steps,
    )


def trades_loss(
    batch_fn: Callable[..., tuple[Array, PyTree]],
    variables: PyTree,
    images: Array,
    attacked: Array,
    labels: Array,
    trades_beta: float,
) -> tuple[Array, tuple[Array, PyTree]]:
    """mean cross-entropy(f(x), y) + trades_beta * mean KL(f(x) || f(x')); gradients flow through f(x) and f(x').

    Args: batch_fn: (variables, images, train=) -> (logits, batch_stats); images, attacked: (B, H, W, C); labels: (B,).
    Returns: (loss (), (logits of the attacked images (B, K), batch statistics after both passes)).
    Reference: Zhang et al. 2019, equation 5, with trades_beta = 1/lambda (the paper's alpha).
    """
    clean_logits, batch_stats = batch_fn(variables, images, train=True)
    if batch_stats:
        variables = {**variables, "batch_stats": batch_stats}
    logits, batch_stats = batch_fn(variables, attacked, train=True)
    loss = mean_cross_entropy(clean_logits, labels) + trades_beta * jnp.mean(kl_divergence(clean_logits, logits))
    return loss, (logits, batch_stats)


def make_trades(
    model_fn: ModelFn, batch_fn: BatchFn, inner: InnerAttack, config: TradesConfig | None = None
) -> TrainObjective:
    """TRADES: mean cross-entropy(f(x), y) + trades_beta * mean KL(f(x) || f(x')), x' in the ball of `inner`.

    The metrics "cross_entropy" and "accuracy" are computed on the attacked images, as in MAT.
    Reference: Zhang et al. 2019, equation 5 and Algorithm 1.
    """
    train_batch_fn = inner.train_batch_fn(batch_fn)
    settings = config or TradesConfig()

    def objective(
        key: Key, params: PyTree, batch_stats: PyTree, images: Array, labels: Array
    ) -> tuple[Array, Auxiliary]:
        variables = as_variables(params, batch_stats)
        attacked = divergent_images(
            key, model_fn, variables, images, train_batch_fn=train_batch_fn, **dataclasses.asdict(inner.pgd)
        )
        loss, (logits, batch_stats) = trades_loss(batch_fn, variables, images, attacked, labels, settings.trades_beta)
        metrics = {"cross_entropy": mean_cross_entropy(logits, labels), "accuracy": accuracy(logits, labels)}
        return loss, Auxiliary(batch_stats, metrics)

    return objective


TRADES = Objective(make_trades, TradesConfig, weight="trades_beta")
