"""A small network on digits that trains within a second, for the tests of training."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep import data, models, train

KEY = jax.random.key(3)
MODEL = models.ConvNet(num_classes=10, widths=(3,))
SGD = train.OptimizerConfig(learning_rate=0.05, schedule="cosine", weight_decay=1e-3)
PLAIN = train.TrainConfig(objective="standard", epochs=4, batch_size=16, optimizer=SGD, augment=True)
SEP = dataclasses.replace(
    PLAIN, augment=False, sep_weight=3.0, optimizer=dataclasses.replace(SGD, momentum=0.0, weight_decay=0.0)
)


def state_of(config: train.TrainConfig) -> train.TrainState:
    return train.init_state(jax.random.key(0), MODEL, (8, 8, 1), config, 64)


def run(
    config: train.TrainConfig, digits: data.Dataset, stops: list[int], weight: float = 0.0
) -> tuple[train.TrainState, dict[str, float], Any]:
    """The state after the stretches that end at `stops`, and the metrics summed over all."""
    run_steps = train.make_run_steps(MODEL, config, 64)
    state, total = state_of(config), {}
    images, labels = jax.device_put((digits.images, digits.labels))
    weights = {name: jnp.float32(weight) for name in config.weights()}
    for stop in stops:
        state, sums, fault = run_steps(state, images, labels, KEY, weights, jnp.int32(stop))
        total = {name: total.get(name, 0.0) + float(value) for name, value in sums.items()}
    return state, total, fault


def assert_equal(first: Any, second: Any) -> None:
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(np.testing.assert_array_equal, first, second)
