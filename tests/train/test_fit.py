"""The loop: records, resume, checkpoints, divergence."""

import dataclasses
import errno
import os
import pathlib
import random
import signal
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from digit_runs import KEY, MODEL, PLAIN, SEP, SGD, assert_equal, run, state_of

from jsep import data, interrupts, models, train
from jsep.checks import InputError
from jsep.files import is_disk_full
from jsep.train.step import FAULT_TERMS

TIMES = {"images_per_second", "seconds_left"}


def without_times(record: dict) -> dict:
    return {name: value for name, value in record.items() if name not in TIMES and not name.endswith("_mib")}


def validate(variables: Any) -> dict:
    return {"sum": float(sum(jnp.sum(leaf) for leaf in jax.tree.leaves(variables)))}


def fit(digits: data.Dataset, config: train.TrainConfig = PLAIN, **settings: Any) -> tuple[train.TrainState, list]:
    records: list[dict] = []
    state = train.fit(KEY, MODEL, digits, config, on_log=records.append, **settings)
    return state, records


def test_records_hold_means_over_the_steps_since_the_last_record(digits: data.Dataset) -> None:
    _, every_step = fit(digits, log_every=1)
    _, by_three = fit(digits, log_every=3)
    assert [record["step"] for record in every_step] == list(range(1, 17))
    assert [record["step"] for record in by_three] == [3, 4, 7, 8, 11, 12, 15, 16]
    assert [record["epoch"] for record in by_three] == [1, 1, 2, 2, 3, 3, 4, 4]
    done = 0
    for record in by_three:
        steps = every_step[done : record["step"]]
        for name in ("loss", "cross_entropy", "accuracy", "gradient_norm"):
            assert record[name] == pytest.approx(np.mean([step[name] for step in steps]), rel=1e-5)
        assert record["learning_rate"] == pytest.approx(
            0.025 * (1 + np.cos(np.pi * (record["step"] - 1) / 16)), rel=1e-5
        )
        assert record["images_per_second"] > 0
        assert record["num_steps"] == 16
        done = record["step"]
    assert by_three[-1]["seconds_left"] == 0


class Killed(Exception):
    """A run that is killed in the middle of an epoch."""


@pytest.mark.parametrize("sep", [False, True])
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(
    digits: data.Dataset, tmp_path: pathlib.Path, sep: bool
) -> None:
    config = SEP if sep else PLAIN
    settings = {"log_every": 3, "validate": validate, "validate_every": 2}
    whole, whole_records = fit(digits, config, **settings)
    described = train.describe(KEY, config, MODEL, digits)
    records: list[dict] = []

    def killed_at_step_11(record: dict) -> None:
        records.append(record)
        if record["step"] == 11:
            raise Killed

    with train.Checkpoints(tmp_path / "checkpoints", described) as checkpoints, pytest.raises(Killed):
        train.fit(KEY, MODEL, digits, config, on_log=killed_at_step_11, checkpoints=checkpoints, **settings)
    resumed_at: list[int] = []
    with train.Checkpoints(tmp_path / "checkpoints", described) as checkpoints:
        state, resumed = fit(digits, config, checkpoints=checkpoints, on_resume=resumed_at.append, **settings)
    assert resumed_at == [8]
    assert_equal(state, whole)
    kept = [record for record in records if record["step"] <= 8]
    assert list(map(without_times, kept + resumed)) == list(map(without_times, whole_records))
    # Once more: the run is complete, nothing is trained and the same state comes back.
    with train.Checkpoints(tmp_path / "checkpoints", described) as checkpoints:
        again, nothing = fit(digits, config, checkpoints=checkpoints, **settings)
    assert_equal(again, whole)
    assert nothing == []


def test_damaged_newest_checkpoint_falls_back_to_the_one_before(digits: data.Dataset, tmp_path: pathlib.Path) -> None:
    described = train.describe(KEY, PLAIN, MODEL, digits)
    with train.Checkpoints(tmp_path, described) as checkpoints:
        whole, _ = fit(digits, checkpoints=checkpoints)
    damaged = [path for path in (tmp_path / "16").rglob("*") if path.is_file() and path.stat().st_size]
    assert len(damaged) > 2
    for path in damaged:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    resumed_at: list[int] = []
    with (
        train.Checkpoints(tmp_path, described) as checkpoints,
        pytest.warns(UserWarning, match="checkpoint 16 is damaged .*trying the one before"),
    ):
        state, _ = fit(digits, checkpoints=checkpoints, on_resume=resumed_at.append)
    assert resumed_at == [12]
    assert_equal(state, whole)


def flipped(path: pathlib.Path, rng: random.Random) -> bytes:
    """The content of a file with one bit changed."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def test_every_flipped_bit_of_a_checkpoint_is_noticed(tmp_path: pathlib.Path) -> None:
    with train.Checkpoints(tmp_path, {"a": 1}) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, {"a": step * jnp.arange(50.0)})
    assert sorted(path.name for path in tmp_path.glob("*.sha256")) == ["2.sha256", "3.sha256"]
    like, rng = {"a": jnp.zeros(50)}, random.Random(0)
    files = [path for path in (tmp_path / "3").rglob("*") if path.is_file() and path.stat().st_size]
    with train.Checkpoints(tmp_path, {"a": 1}) as checkpoints:
        for path in [*files, tmp_path / "3.sha256"] * 12:
            whole = path.read_bytes()
            path.write_bytes(flipped(path, rng))
            with pytest.raises(InputError, match=r"checkpoint 3 is damaged .*older_checkpoint=True"):
                checkpoints.restore(like, allow_older=False)
            path.write_bytes(whole)
        np.testing.assert_array_equal(checkpoints.restore(like)["a"], 3 * np.arange(50.0))
        files[0].write_bytes(flipped(files[0], rng))
        with pytest.warns(UserWarning, match="trying the one before"):
            np.testing.assert_array_equal(checkpoints.restore(like)["a"], 2 * np.arange(50.0))
        checkpoints.save(3, {"a": 3 * jnp.arange(50.0)})  # what is damaged is written again
        np.testing.assert_array_equal(checkpoints.restore(like, allow_older=False)["a"], 3 * np.arange(50.0))


def test_checkpoints_without_their_configuration_are_an_error(tmp_path: pathlib.Path) -> None:
    with train.Checkpoints(tmp_path, {"a": 1}) as checkpoints:
        checkpoints.save(1, {"a": jnp.ones(3)})
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match=r"without their config\.json"):
        train.Checkpoints(tmp_path, {"a": 1})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_an_epoch_keeps_the_steps_until_then(
    number: signal.Signals, digits: data.Dataset, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupts, "_received", [])
    whole, whole_records = fit(digits, log_every=3)
    described, records = train.describe(KEY, PLAIN, MODEL, digits), []

    def interrupt(record: dict) -> None:
        records.append(record)
        if record["step"] == 7:
            os.kill(os.getpid(), number)

    before = {each: signal.getsignal(each) for each in interrupts.SIGNALS}
    interrupts.install()
    try:
        with train.Checkpoints(tmp_path, described) as checkpoints, pytest.raises(KeyboardInterrupt) as caught:
            train.fit(KEY, MODEL, digits, PLAIN, on_log=interrupt, checkpoints=checkpoints, log_every=3)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert isinstance(caught.value, interrupts.Terminated) == (number == signal.SIGTERM)
    resumed_at: list[int] = []
    with train.Checkpoints(tmp_path, described) as checkpoints:
        state, resumed = fit(digits, checkpoints=checkpoints, on_resume=resumed_at.append, log_every=3)
    assert resumed_at == [7]
    assert_equal(state, whole)
    assert list(map(without_times, records + resumed)) == list(map(without_times, whole_records))


def test_checkpoints_keep_the_newest_two_and_restore_into_a_fresh_state(
    digits: data.Dataset, tmp_path: pathlib.Path
) -> None:
    with train.Checkpoints(tmp_path, {"a": 1}) as checkpoints:
        assert checkpoints.restore(state_of(PLAIN)) is None
        whole, _ = fit(digits, checkpoints=checkpoints)
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["12", "16"]
        assert_equal(checkpoints.restore(state_of(PLAIN)), whole)


FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    # What Orbax raised on a full tmpfs.
    ValueError("RESOURCE_EXHAUSTED: Failed to write 95511 bytes to file 17: No space left on device"),
]


@pytest.mark.parametrize("error", FULL, ids=["by number", "by text"])
def test_full_disk_names_the_step_and_leaves_the_checkpoint_before_it(
    error: Exception, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with train.Checkpoints(tmp_path / "mat_seed0", {}) as checkpoints:
        checkpoints.save(4, {"a": jnp.ones(3)})
        half = tmp_path / "mat_seed0" / "8.orbax-checkpoint-tmp"

        def fail(*_: Any, **__: Any) -> None:
            half.mkdir()
            raise error

        monkeypatch.setattr(checkpoints._manager, "save", fail)
        message = "checkpoint 8 of mat_seed0 could not be written, checkpoint 4 is intact"
        with pytest.raises(OSError, match=message) as caught:
            checkpoints.save(8, {"a": jnp.zeros(3)})
        assert is_disk_full(caught.value)
    with train.Checkpoints(tmp_path / "mat_seed0", {}) as checkpoints:
        np.testing.assert_array_equal(checkpoints.restore({"a": jnp.zeros(3)})["a"], 1.0)
    deadline = time.monotonic() + 60  # Orbax removes it in a thread of its own
    while half.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not half.exists()


def test_another_error_of_a_save_is_not_taken_for_a_full_disk(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with train.Checkpoints(tmp_path, {}) as checkpoints:
        monkeypatch.setattr(checkpoints._manager, "save", fail)
        with pytest.raises(PermissionError):
            checkpoints.save(8, {"a": jnp.zeros(3)})


def test_checkpoint_of_another_configuration_is_an_input_error_that_names_the_field(
    digits: data.Dataset, tmp_path: pathlib.Path
) -> None:
    described = train.describe(KEY, PLAIN, MODEL, digits)
    with train.Checkpoints(tmp_path, described):
        pass
    before = sorted(tmp_path.iterdir())
    other = train.describe(KEY, dataclasses.replace(PLAIN, batch_size=32), MODEL, digits)
    with pytest.raises(InputError, match=r"another configuration \(batch_size: 16 there, 32 now\)") as caught:
        train.Checkpoints(tmp_path, other)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(InputError, match="key: .* there"):
        train.Checkpoints(tmp_path, train.describe(jax.random.key(4), PLAIN, MODEL, digits))
    darker = dataclasses.replace(digits, images=digits.images / 2)
    with pytest.raises(InputError, match="data_sums: .* there"):
        train.Checkpoints(tmp_path, train.describe(KEY, PLAIN, MODEL, darker))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json of .* cannot be read"):
        train.Checkpoints(tmp_path, described)


def all_finite(state: train.TrainState) -> bool:
    return all(bool(np.all(np.isfinite(leaf))) for leaf in jax.tree.leaves(state))


def test_divergence_names_step_and_term_and_keeps_the_last_good_state(
    digits: data.Dataset, tmp_path: pathlib.Path
) -> None:
    wild = dataclasses.replace(PLAIN, optimizer=dataclasses.replace(SGD, learning_rate=1e25, schedule="constant"))
    message = "the loss of the objective is not finite at step 2; the state of step 1 is kept in checkpoint 1; lower"
    with (
        train.Checkpoints(tmp_path, {}) as checkpoints,
        pytest.raises(train.TrainingDiverged, match=message) as caught,
    ):
        train.fit(KEY, MODEL, digits, wild, log_every=3, checkpoints=checkpoints)
    state = caught.value.state
    assert int(state.step) == 1
    assert all_finite(state)
    with train.Checkpoints(tmp_path, {}) as checkpoints:
        assert_equal(checkpoints.restore(state_of(wild)), state)


def test_overflow_of_batch_statistics_is_not_taken_for_a_good_state(digits: data.Dataset) -> None:
    # The loss of the second step is finite, the variance that it leaves is not.
    model = models.ResNet(num_classes=10, stage_sizes=(1,), width=4)
    optimizer = train.OptimizerConfig(learning_rate=1e10, schedule="constant")
    wild = train.TrainConfig(objective="standard", epochs=4, batch_size=16, optimizer=optimizer)
    with pytest.raises(train.TrainingDiverged, match="the updated state is not finite at step") as caught:
        train.fit(KEY, model, digits, wild, log_every=4)
    assert all_finite(caught.value.state)


def test_overflow_of_the_update_is_not_taken_for_a_good_state(digits: data.Dataset) -> None:
    # Every gradient is finite, 1e10 times the weighted one is not.
    wild = dataclasses.replace(SEP, optimizer=dataclasses.replace(SEP.optimizer, learning_rate=1e10))
    state, _, fault = run(wild, digits, [3], 1e38)
    assert FAULT_TERMS[int(fault.term)] == "the updated state"
    assert (int(fault.step), int(state.step)) == (0, 0)
    assert_equal(state.params, state_of(wild).params)


def test_divergence_of_the_sep_term_is_named(digits: data.Dataset) -> None:
    # x + noise overflows in the SEP term alone.
    wild = dataclasses.replace(SEP, sep=train.SepConfig(noise_scale=3e38))
    message = "the SEP term is not finite at step 1; .*size of sep_weight"
    with pytest.raises(train.TrainingDiverged, match=message) as caught:
        train.fit(KEY, MODEL, digits, wild)
    assert int(caught.value.state.step) == 0
    assert all_finite(caught.value.state)


def test_overflow_of_the_weighted_sep_gradient_is_named(digits: data.Dataset) -> None:
    state, _, fault = run(SEP, digits, [3], np.inf)
    assert FAULT_TERMS[int(fault.term)] == "the gradient of the SEP term"
    assert (int(fault.step), int(state.step)) == (0, 0)
    assert all_finite(state)


@pytest.mark.parametrize("name", ["log_every", "validate_every", "checkpoint_every"])
def test_non_positive_counts_are_input_errors(name: str, digits: data.Dataset) -> None:
    with pytest.raises(InputError, match=f"{name} must be an integer >= 1, got 0"):
        train.fit(KEY, MODEL, digits, PLAIN, **{name: 0})
