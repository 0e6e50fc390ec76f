"""The best checkpoint beside the last, collapsed maps, the memory in the log."""

import pathlib
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import data, models, train
from jsep.checks import InputError
from jsep.memory import memory_in_use

KEY = jax.random.key(3)
MODEL = models.ConvNet(num_classes=10, widths=(3,))
CONFIG = train.TrainConfig(
    objective="standard", epochs=5, batch_size=32, optimizer=train.OptimizerConfig(learning_rate=0.05)
)
SCORES = [0.25, 0.5, 0.5, 0.125, 0.375]


class Killed(Exception):
    """A run that is killed after an epoch's validation and before its checkpoint."""


class Validation:
    """Gives the scores in order, whatever the variables, and keeps these; the epoch comes from what it has seen."""

    def __init__(self, scores: list[float], epoch: int = 0) -> None:
        self.scores, self.epoch, self.seen = scores, epoch, {}

    def __call__(self, variables: Any) -> dict:
        self.epoch += 1
        self.seen[self.epoch] = jax.device_get(variables)
        return {"validation_robust_accuracy": self.scores[self.epoch - 1]}


def assert_equal(first: Any, second: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_first_of_the_highest_scores_is_kept_beside_the_last(digits: data.Dataset, tmp_path: pathlib.Path) -> None:
    validation = Validation(SCORES)
    with train.Checkpoints(tmp_path / "best", {}) as checkpoints:
        best = train.BestCheckpoint(checkpoints)
        state = train.fit(KEY, MODEL, digits, CONFIG, validate=validation, best=best)
        found = best.restore(state.evaluated)
    assert (int(found.epoch), float(found.score)) == (2, 0.5)
    assert_equal(found.variables, validation.seen[2])
    with pytest.raises(AssertionError):
        assert_equal(found.variables, jax.device_get(state.evaluated))


@pytest.mark.parametrize("killed_in_epoch", [2, 3, 5])
def test_best_of_a_killed_and_resumed_run_is_that_of_an_undisturbed_one(
    digits: data.Dataset, tmp_path: pathlib.Path, killed_in_epoch: int
) -> None:
    # The best state is on disk before the epoch's own checkpoint: the resumed run has it from its own future.
    whole = Validation(SCORES)
    train.fit(KEY, MODEL, digits, CONFIG, validate=whole)

    def fit(validation: Validation, on_log: Any = None) -> Any:
        with (
            train.Checkpoints(tmp_path / "last", {}) as checkpoints,
            train.Checkpoints(tmp_path / "best", {}) as best_checkpoints,
        ):
            best = train.BestCheckpoint(best_checkpoints)
            state = train.fit(
                KEY, MODEL, digits, CONFIG, validate=validation, best=best, checkpoints=checkpoints, on_log=on_log
            )
            return best.restore(state.evaluated)

    def kill(checkpoints_save: Any) -> Any:
        def save(self: Any, step: int, state: Any) -> None:
            if self.directory.name == "last" and step == 2 * killed_in_epoch:
                raise Killed
            checkpoints_save(self, step, state)

        return save

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Checkpoints, "save", kill(train.Checkpoints.save))
        with pytest.raises(Killed):
            fit(Validation(SCORES))
    found = fit(Validation(SCORES, epoch=killed_in_epoch - 1))
    assert (int(found.epoch), float(found.score)) == (2, 0.5)
    assert_equal(found.variables, whole.seen[2])


def test_record_without_the_score_is_never_the_best(tmp_path: pathlib.Path) -> None:
    with train.Checkpoints(tmp_path, {}) as checkpoints:
        best = train.BestCheckpoint(checkpoints)
        assert not best.offer(1, 4, {"a": jnp.ones(2)}, {"validation_clean_accuracy": 1.0})
        assert best.restore({"a": jnp.ones(2)}) is None
        assert best.offer(2, 8, {"a": jnp.ones(2)}, {"validation_robust_accuracy": 0.0})


# Collapsed maps.


def shrinking(variables: Any) -> dict:
    shrinking.pixels /= 2
    return {"probe_effective_pixels": shrinking.pixels}


@pytest.mark.parametrize(("action", "flags"), [("flag", [0, 0, 1, 1, 1]), ("ignore", [0, 0, 0, 0, 0])])
def test_collapsed_maps_are_flagged_in_their_records(digits: data.Dataset, action: str, flags: list[int]) -> None:
    shrinking.pixels = 16.0
    records: list[dict] = []
    rule = train.CollapseRule(action, min_effective_pixels=3.0)
    train.fit(KEY, MODEL, digits, CONFIG, validate=shrinking, collapse=rule, on_log=records.append)
    assert [record["collapsed"] for record in records if "collapsed" in record] == flags


def test_collapsed_maps_stop_the_run_by_name_and_step_and_a_resumed_one_again(
    digits: data.Dataset, tmp_path: pathlib.Path
) -> None:
    rule = train.CollapseRule("stop", min_effective_pixels=3.0)
    message = "the maps have collapsed at step 6: they lie on 2 effective pixels, fewer than 3; lower learning_rate"
    shrinking.pixels = 16.0
    for _ in range(2):
        with train.Checkpoints(tmp_path, {}) as checkpoints:
            with pytest.raises(train.TrainingDiverged, match=message) as caught:
                train.fit(KEY, MODEL, digits, CONFIG, validate=shrinking, collapse=rule, checkpoints=checkpoints)
            assert int(checkpoints.restore(caught.value.state).step) == 4
        assert int(caught.value.state.step) == 6
        assert "\n" not in str(caught.value)
        shrinking.pixels = 4.0  # as after epoch 2, from whose checkpoint it goes on


def test_rule_takes_maps_that_are_not_finite_for_collapsed_and_needs_a_probe() -> None:
    rule = train.CollapseRule("flag", min_effective_pixels=0.0)
    assert rule.broken_by({"probe_effective_pixels": float("nan")})
    assert not rule.broken_by({"probe_effective_pixels": 0.0})
    assert not train.CollapseRule("stop", 5.0).broken_by({"validation_clean_accuracy": 0.1})
    with pytest.raises(InputError, match="unknown on_collapse 'halt': expected one of ignore, flag, stop"):
        train.CollapseRule("halt")


# Memory.


def test_memory_of_the_process_is_in_the_validation_record(digits: data.Dataset) -> None:
    records: list[dict] = []
    train.fit(KEY, MODEL, digits, CONFIG, validate=lambda _: {"a": 1.0}, on_log=records.append)
    held = [record["host_peak_memory_mib"] for record in records if "a" in record]
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc to compare with")
    now = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert held == sorted(held)
    assert len(held) == 5
    assert held[-1] == pytest.approx(now / 1024, rel=0.05)
    assert not any("host_peak_memory_mib" in record for record in records if "a" not in record)


def test_memory_of_a_device_is_what_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = {"bytes_in_use": 3 * 2**20, "peak_bytes_in_use": 5 * 2**20}
    monkeypatch.setattr(jax, "local_devices", lambda: [SimpleNamespace(memory_stats=lambda: counted)])
    found = memory_in_use()
    assert (found["device_memory_mib"], found["device_peak_memory_mib"]) == (3.0, 5.0)
    monkeypatch.setattr(jax, "local_devices", lambda: [SimpleNamespace(memory_stats=lambda: None)])
    assert set(memory_in_use()) == {"host_peak_memory_mib"}
