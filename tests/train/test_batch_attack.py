"""The attack inside adversarial training with batch normalisation in training mode."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import data, models, train
from jsep.checks import InputError

KEY = jax.random.key(3)
SHAPE = (3, 4, 2)
IMAGES = np.random.default_rng(1).uniform(0.3, 0.7, (5, *SHAPE))
LABELS = np.array([0, 1, 2, 1, 0])
ORACLE = oracles.linear()


def centred(variables: Any, images: jax.Array, *, train: bool) -> Any:
    """W (x - mean of the batch): batch normalisation at its simplest, each image acting on all logits."""
    images = images - jnp.mean(images, axis=0) if train else images - variables["batch_stats"]["mean"]
    return jnp.tensordot(images, variables["params"], [[1, 2, 3], [1, 2, 3]]), variables["batch_stats"]


VARIABLES = {"params": jnp.asarray(ORACLE.weights), "batch_stats": {"mean": jnp.zeros(SHAPE)}}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_step_follows_the_gradient_through_the_statistics_of_the_batch(norm: str) -> None:
    config = train.PgdConfig(norm, epsilon=0.2, alpha=0.05, num_steps=1)
    variables = {"params": jnp.asarray(ORACLE.weights), "batch_stats": {"mean": jnp.zeros(SHAPE)}}

    def attacked(num_steps: int) -> np.ndarray:
        return np.asarray(
            train.adversarial_images(
                KEY, lambda v, z: z, variables, jnp.asarray(IMAGES), jnp.asarray(LABELS),
                dataclasses.replace(config, num_steps=num_steps),
                train_batch_fn=lambda v, z: centred(v, z, train=True)[0],
            )
        )  # fmt: skip

    start, end = attacked(0), attacked(1)
    weights = np.asarray(ORACLE.weights)
    logits = np.tensordot(start - start.mean(0), weights, [[1, 2, 3], [1, 2, 3]])
    slopes = np.stack([oracles.softmax(row) for row in logits]) - np.eye(3)[LABELS]
    gradients = np.tensordot(slopes - slopes.mean(0), weights, 1)
    if norm == "linf":
        steps = np.sign(gradients)
    else:
        steps = gradients / np.sqrt((gradients**2).sum((1, 2, 3), keepdims=True))
    moved = start + 0.05 * steps
    change = moved - IMAGES
    if norm == "linf":
        change = np.clip(change, -0.2, 0.2)
    else:
        size = np.sqrt((change**2).sum((1, 2, 3), keepdims=True))
        change = change * np.minimum(1, 0.2 / size)
    np.testing.assert_allclose(end, np.clip(IMAGES + change, 0, 1), rtol=1e-9, atol=1e-12)
    assert np.abs(start - IMAGES).max() > 0.01


@pytest.mark.parametrize("objective", ["mat", "trades"])
def test_without_batch_normalisation_both_modes_are_one(objective: str, tiny: Any, digits: data.Dataset) -> None:
    images, labels = jnp.asarray(digits.images[:6]), digits.labels[:6]
    config = train.PgdConfig("l2", epsilon=0.5, alpha=0.2, num_steps=3)
    losses = [
        jax.jit(
            train.OBJECTIVES[objective].make(
                tiny.model_fn, models.batch_fn(tiny.model), train.InnerAttack(config, mode)
            )
        )(KEY, tiny.variables["params"], {}, images, labels)[0]
        for mode in train.BATCH_NORM_MODES
    ]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-5)


@pytest.mark.parametrize("objective", ["mat", "trades"])
def test_with_batch_normalisation_they_differ_and_the_attack_leaves_no_statistics(objective: str) -> None:
    def batch_fn(variables: Any, images: jax.Array, *, train: bool) -> Any:
        logits, stats = centred(variables, images, train=train)
        return logits, {"mean": stats["mean"] + 1.0} if train else stats

    def model_fn(variables: Any, image: jax.Array) -> jax.Array:
        return centred(variables, image[None], train=False)[0][0]

    images = jnp.asarray(IMAGES, jnp.float32)
    config = train.PgdConfig("linf", epsilon=0.1, alpha=0.05, num_steps=3)
    found = [
        train.OBJECTIVES[objective].make(model_fn, batch_fn, train.InnerAttack(config, mode))(
            KEY, VARIABLES["params"], VARIABLES["batch_stats"], images, LABELS
        )
        for mode in train.BATCH_NORM_MODES
    ]
    assert float(found[0][0]) != pytest.approx(float(found[1][0]), rel=1e-4)
    passes = {"mat": 1.0, "trades": 2.0}[objective]
    for _, auxiliary in found:
        np.testing.assert_array_equal(auxiliary.batch_stats["mean"], passes)


def test_mode_is_part_of_the_configuration_only_where_it_is_not_the_first() -> None:
    config = train.TrainConfig(attack_batch_norm="training")
    tiny = data.load("digits", split="test")
    model = models.ConvNet(num_classes=10)
    assert train.describe(KEY, config, model, tiny)["attack_batch_norm"] == "training"
    assert "attack_batch_norm" not in train.describe(KEY, train.TrainConfig(), model, tiny)
    with pytest.raises(InputError, match="unknown attack_batch_norm 'eval': expected one of evaluation, training"):
        train.TrainConfig(attack_batch_norm="eval")
