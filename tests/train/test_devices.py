"""Training on several devices: the numbers of one device, nothing gathered, any number of devices after a resume."""

import dataclasses
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import data, devices, models, train
from jsep.checks import InputError
from jsep.types import PyTree

KEY = jax.random.key(3)
MODEL = models.ResNet(num_classes=10, stage_sizes=(1, 1), width=4)
SGD = train.OptimizerConfig(learning_rate=0.02, schedule="cosine")
ATTACK = train.PgdConfig(epsilon=0.1, alpha=0.05, num_steps=2)
MAT = train.TrainConfig(objective="mat", epochs=2, batch_size=16, augment=True, optimizer=SGD, attack=ATTACK)
CONFIGS = {
    "standard": dataclasses.replace(MAT, objective="standard"),
    "mat": MAT,
    "trades": dataclasses.replace(MAT, objective="trades"),
    "sep": dataclasses.replace(MAT, sep_weight=30.0),
    "rival": dataclasses.replace(MAT, rival=train.RivalConfig("lga"), rival_weight=0.01),
}
ALL_TERMS = dataclasses.replace(CONFIGS["sep"], rival=train.RivalConfig("lga"), rival_weight=0.01)


def curve(
    digits: data.Dataset, config: train.TrainConfig, num_devices: int, **settings: Any
) -> tuple[np.ndarray, train.TrainState]:
    """The loss of every step, and the trained state."""
    records: list[dict] = []
    mesh = devices.make_mesh(num_devices)
    state = train.fit(KEY, MODEL, digits, config, log_every=1, on_log=records.append, mesh=mesh, **settings)
    return np.array([record["loss"] for record in records]), state


def assert_near(first: PyTree, second: PyTree, atol: float) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), first, second)


def test_mat_with_sep_and_a_rival_has_the_curve_of_one_device_on_eight(digits: data.Dataset) -> None:
    one, state = curve(digits, ALL_TERMS, 1)
    eight, shared = curve(digits, ALL_TERMS, 8)
    np.testing.assert_allclose(eight, one, rtol=1e-5)
    assert_near(shared.variables, state.variables, 1e-4)
    assert one[0] != one[-1]
    for leaf in jax.tree.leaves(shared):
        assert leaf.sharding.is_fully_replicated
        assert len(leaf.sharding.device_set) == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_loss_curve_is_that_of_one_device_on_every_number(name: str, digits: data.Dataset) -> None:
    one, _ = curve(digits, CONFIGS[name], 1)
    for num_devices in (2, 4, 8):
        np.testing.assert_allclose(curve(digits, CONFIGS[name], num_devices)[0], one, rtol=1e-5)
