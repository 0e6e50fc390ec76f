"""TRADES in closed form on two-class linear models, and against a slow transcription in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import models, train
from jsep.train.objectives.trades import divergent_images, kl_divergence, trades_loss

KEY = jax.random.key(0)
SHAPE = (3, 4, 2)


def numpy_kl(first, second):
    """One class at a time, from the definition."""
    p, q = (np.exp(z - z.max()) / np.exp(z - z.max()).sum() for z in (np.float64(first), np.float64(second)))
    return sum(p[k] * np.log(p[k] / q[k]) for k in range(len(p)))


def test_divergence_is_its_definition_and_zero_only_for_equal_outputs():
    logits = np.random.default_rng(0).normal(size=(20, 2, 5)).astype(np.float32)
    found = kl_divergence(logits[:, 0], logits[:, 1])
    np.testing.assert_allclose(found, [numpy_kl(a, b) for a, b in logits], rtol=1e-4)
    assert np.all(np.asarray(found) > 0)
    np.testing.assert_allclose(kl_divergence(logits, logits + 3.0), 0, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_inner_attack_of_a_linear_model_ends_at_one_of_its_two_worst_images(norm):
    """With two classes f_1 - f_0 = <w, z> + b, and the divergence from the clean output grows with |<w, z - x>|."""
    oracle = oracles.linear(num_classes=2)
    weights = oracle.weights[1] - oracle.weights[0]
    images = np.random.default_rng(1).uniform(0.4, 0.6, (4, *SHAPE)).astype(np.float32)
    attacked = jax.jit(
        lambda z: divergent_images(
            KEY, lambda _, y: oracle.logits(y), {}, z, norm=norm, epsilon=0.1, alpha=0.03, num_steps=20
        )
    )(images)
    for image, found in zip(images, np.asarray(attacked), strict=True):
        corners = [oracles.worst_linear(sign * weights, image, 0.1, norm) for sign in (1, -1)]
        assert min(np.abs(found - corner).max() for corner in corners) < 1e-4


def test_inner_attack_without_steps_is_the_gaussian_start():
    images = jnp.full((50, *SHAPE), 0.5)
    settings = {"norm": "linf", "epsilon": 0.1, "alpha": 0.01, "num_steps": 0}
    noise = jax.jit(lambda z: divergent_images(KEY, lambda v, y: y.ravel()[:2], {}, z, **settings))(images) - images
    assert float(jnp.std(noise)) == pytest.approx(0.001, rel=0.1)
    assert abs(float(jnp.mean(noise))) < 1e-4


def slow_loss(logits_fn, images, attacked, labels, trades_beta):
    total = 0.0
    for image, perturbed, label in zip(images, attacked, labels, strict=True):
        clean, logits = (np.asarray(logits_fn(jnp.asarray(z)), np.float64) for z in (image, perturbed))
        total += oracles.cross_entropy(clean, label) + trades_beta * numpy_kl(clean, logits)
    return total / len(images)


@pytest.mark.parametrize("trades_beta", [0.0, 6.0])
def test_loss_is_the_slow_transcription_on_the_attacked_images(trades_beta, tiny, digits):
    config = train.PgdConfig(epsilon=0.1, alpha=0.04, num_steps=3)
    images, labels = np.asarray(digits.images[:6], np.float32), digits.labels[:6]
    objective = train.OBJECTIVES["trades"].make(
        tiny.model_fn, models.batch_fn(tiny.model), train.InnerAttack(config), train.TradesConfig(trades_beta)
    )
    loss, auxiliary = jax.jit(objective)(KEY, tiny.variables["params"], {}, images, labels)
    attacked = jax.jit(
        lambda z: divergent_images(
            KEY, tiny.model_fn, tiny.variables, z, norm="linf", epsilon=0.1, alpha=0.04, num_steps=3
        )
    )(images)
    logits_fn = jax.jit(tiny.logits_fn)
    assert float(loss) == pytest.approx(slow_loss(logits_fn, images, attacked, labels, trades_beta), rel=1e-5)
    logits = np.asarray([logits_fn(z) for z in attacked])
    assert float(auxiliary.metrics["accuracy"]) == pytest.approx(np.mean(logits.argmax(1) == labels))
    assert np.abs(np.asarray(attacked) - images).max() <= 0.1 + 1e-6
    assert 0 <= attacked.min() <= attacked.max() <= 1


@pytest.mark.usefixtures("float64")
def test_gradient_flows_through_both_outputs_and_not_through_the_attack():
    """Linear model f = W z: with fixed x and x', the gradient of the loss in W by hand."""
    rng = np.random.default_rng(0)
    weights, images, attacked = rng.normal(size=(3, 24)), rng.uniform(size=(4, *SHAPE)), rng.uniform(size=(4, *SHAPE))
    labels, beta = np.array([0, 1, 2, 1]), 2.5

    def batch_fn(variables, z, train):
        return z.reshape(len(z), -1) @ variables["params"].T, {}

    found = jax.jit(jax.grad(lambda w: trades_loss(batch_fn, {"params": w}, images, attacked, labels, beta)[0]))(
        jnp.asarray(weights)
    )
    expected = np.zeros_like(weights)
    for x, z, y in zip(images.reshape(4, -1), attacked.reshape(4, -1), labels, strict=True):
        p, q = (np.exp(weights @ v) / np.exp(weights @ v).sum() for v in (x, z))
        ratio = np.log(p / q)
        # d KL / d clean logits = p * (log p/q - KL); d KL / d attacked logits = q - p.
        expected += np.outer(p - np.eye(3)[y], x)
        expected += beta * (np.outer(p * (ratio - p @ ratio), x) + np.outer(q - p, z))
    np.testing.assert_allclose(found, expected / 4, rtol=1e-9)

    def through_the_attack(w):
        z = divergent_images(
            KEY, lambda v, y: v @ y.ravel(), w, jnp.asarray(images), norm="l2", epsilon=0.5, alpha=0.2, num_steps=2
        )
        return jnp.sum(z**2)

    np.testing.assert_array_equal(jax.jit(jax.grad(through_the_attack))(jnp.asarray(weights)), 0)
