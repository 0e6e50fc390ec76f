"""The moving average of what is trained: its closed form, alone and inside a run, its resume, its divergence."""

import dataclasses
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import data, models, train
from jsep.checks import InputError
from jsep.train.optimizer import moving_average

KEY = jax.random.key(3)
MODEL = models.ResNet(num_classes=10, stage_sizes=(1,), width=3)
OPTIMIZER = train.OptimizerConfig(learning_rate=0.05, schedule="constant")
CONFIG = train.TrainConfig(objective="standard", epochs=2, batch_size=16, optimizer=OPTIMIZER, ema_decay=0.8)


def closed_form(decay: float, values: list[np.ndarray]) -> np.ndarray:
    """sum_i d^(t - i) v_i / sum_i d^(t - i), in float64."""
    weights = decay ** np.arange(len(values) - 1, -1, -1, dtype=np.float64)
    return np.tensordot(weights / weights.sum(), np.asarray(values, np.float64), 1)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.9999])
def test_average_is_the_closed_form_and_forgets_where_it_began(decay: float) -> None:
    values = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    average = {"a": jnp.full(3, 10.0)}
    for step, value in enumerate(values, start=1):
        average = moving_average(decay, average, {"a": jnp.asarray(value)}, jnp.int32(step))
        np.testing.assert_allclose(average["a"], closed_form(decay, list(values[:step])), rtol=1e-5, atol=1e-5)


def test_average_of_a_run_is_that_of_its_parameters_and_batch_statistics(digits: data.Dataset) -> None:
    run_steps = train.make_run_steps(MODEL, CONFIG, 64)
    state = train.init_state(KEY, MODEL, (8, 8, 1), CONFIG, 64)
    images, labels = jax.device_put((digits.images, digits.labels))
    seen = []
    for stop in (1, 2, 3):
        state, _, _ = run_steps(state, images, labels, KEY, {}, jnp.int32(stop))
        seen.append(jax.device_get(state.variables))
    assert set(state.evaluated) == {"params", "batch_stats"}
    expected = jax.tree.map(lambda *values: closed_form(0.8, list(values)), *seen)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.evaluated, expected)
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), state.evaluated, seen[-1])
    assert max(jax.tree.leaves(moved)) > 1e-3, "the average is the last state"


class Killed(Exception):
    """A run that is killed in the middle of an epoch."""


def test_average_is_validated_and_resumes_bit_for_bit(digits: data.Dataset, tmp_path: pathlib.Path) -> None:
    validated: list[Any] = []

    def validate(variables: Any) -> dict:
        validated.append(jax.device_get(variables))
        return {}

    whole = train.fit(KEY, MODEL, digits, CONFIG, validate=validate)
    jax.tree.map(np.testing.assert_array_equal, validated[-1], jax.device_get(whole.ema))

    def kill(record: dict) -> None:
        if record["step"] == 6:
            raise Killed

    described = train.describe(KEY, CONFIG, MODEL, digits)
    assert described["ema_decay"] == 0.8
    with train.Checkpoints(tmp_path, described) as checkpoints, pytest.raises(Killed):
        train.fit(KEY, MODEL, digits, CONFIG, log_every=1, on_log=kill, checkpoints=checkpoints)
    with train.Checkpoints(tmp_path, described) as checkpoints:
        resumed = train.fit(KEY, MODEL, digits, CONFIG, checkpoints=checkpoints)
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)


@pytest.mark.slow
def test_average_changes_nothing_that_is_trained(digits: data.Dataset) -> None:
    with_average = train.fit(KEY, MODEL, digits, CONFIG)
    without = train.fit(KEY, MODEL, digits, dataclasses.replace(CONFIG, ema_decay=0.0))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), with_average.variables, without.variables
    )
    assert without.ema is None
    assert without.evaluated["params"] is without.params


def test_checkpoint_from_before_the_average_existed_is_read(tmp_path: pathlib.Path) -> None:
    class Before(NamedTuple):
        params: Any
        batch_stats: Any
        opt_state: Any
        step: Any

    config = dataclasses.replace(CONFIG, ema_decay=0.0)
    state = train.init_state(KEY, MODEL, (8, 8, 1), config, 64)
    with train.Checkpoints(tmp_path, {}) as checkpoints:
        # Orbax as it was called then.
        checkpoints._manager.save(4, args=checkpoints._ocp.args.StandardSave(Before(*state[:4])))
    fresh = train.init_state(jax.random.key(1), MODEL, (8, 8, 1), config, 64)
    with train.Checkpoints(tmp_path, {}) as checkpoints:
        jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(fresh), state)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5])
def test_decay_out_of_range_is_an_input_error(decay: float) -> None:
    with pytest.raises(InputError, match=r"ema_decay must be in \[0, 1\), got"):
        dataclasses.replace(CONFIG, ema_decay=decay)
