"""The compiled steps and the loop: stretches, resume, checkpoints, divergence, compilations, transfers."""

import dataclasses
import errno
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import data, models, train
from jsep.checks import InputError, is_disk_full
from jsep.train import loop
from jsep.train.objectives import Auxiliary
from jsep.train.step import FAULT_TERMS
from jsep.types import Array

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


def test_several_stretches_equal_one_stretch(digits: data.Dataset) -> None:
    whole, sums, fault = run(PLAIN, digits, [4])
    parts, part_sums, _ = run(PLAIN, digits, [1, 3, 4])
    assert_equal(whole, parts)
    assert sums == pytest.approx(part_sums, rel=1e-5)
    assert int(whole.step) == 4
    assert int(fault.step) == -1
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), whole.params, state_of(PLAIN).params)
    assert all(size > 0 for size in jax.tree.leaves(moved)), "some parameters were not trained"


def test_uint8_images_train_as_their_float_values(digits: data.Dataset) -> None:
    images = np.round(digits.images * 255).astype(np.uint8)
    counted = dataclasses.replace(digits, images=images)
    scaled = dataclasses.replace(digits, images=images.astype(np.float32) / np.float32(255))
    first, second = run(PLAIN, counted, [4])[0], run(PLAIN, scaled, [4])[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), first.params, second.params)


def test_one_compilation_serves_both_signs_and_every_weight(digits: data.Dataset) -> None:
    negative = dataclasses.replace(SEP, sep_weight=-7.0)
    run_steps = train.make_run_steps(MODEL, SEP, 64)
    assert train.make_run_steps(MODEL, negative, 64) is run_steps
    for weight in (3.0, -7.0, 0.0):
        run(SEP, digits, [2, 4], weight)
    assert run_steps._cache_size() == 1
    assert train.make_run_steps(MODEL, dataclasses.replace(SEP, sep_weight=0.0), 64) is not run_steps


def test_sep_gradient_enters_linearly_with_its_sign(digits: data.Dataset) -> None:
    # Plain SGD, one step: the parameters are a straight line in the weight, and weight 0 is training without SEP.
    scale = 50.0
    none, plus, minus = (run(SEP, digits, [1], weight)[0].params for weight in (0.0, scale, -scale))
    without = run(dataclasses.replace(SEP, sep_weight=0.0), digits, [1])[0].params
    kernel = ("Conv_0", "kernel")
    none, plus, minus, without = (np.asarray(p[kernel[0]][kernel[1]], np.float64) for p in (none, plus, minus, without))
    np.testing.assert_allclose(none, without, rtol=1e-5, atol=1e-7)
    assert np.abs(plus - none).max() > 1e-5, "the SEP term did not move the kernel"
    np.testing.assert_allclose(plus - none, none - minus, rtol=1e-2, atol=2e-7)


def test_sep_metrics_add_up(digits: data.Dataset) -> None:
    _, sums, _ = run(SEP, digits, [1], 50.0)
    assert sums["loss"] == pytest.approx(sums["cross_entropy"] + 50 * sums["sep_penalty"], rel=1e-5)
    assert 0 < sums["sep_penalty"] <= 2 / 64
    twice = run(SEP, digits, [1], -100.0)[1]
    assert twice["sep_gradient_ratio"] == pytest.approx(2 * sums["sep_gradient_ratio"], rel=1e-4)
    assert sums["sep_gradient_ratio"] > 0


def test_warm_up_scales_the_weight_by_the_step(digits: data.Dataset) -> None:
    # 4 steps an epoch, 2 epochs of warm-up: the first step has an eighth of the weight, from the eighth on all of it.
    warm = dataclasses.replace(SEP, sep_warmup_epochs=2)
    first = run(warm, digits, [1], 40.0)
    at_once = run(SEP, digits, [1], 5.0)
    assert first[1] == pytest.approx(at_once[1], rel=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), first[0].params, at_once[0].params
    )
    _, until_eighth, _ = run(warm, digits, [4, 8], 40.0)
    _, until_seventh, _ = run(warm, digits, [4, 7], 40.0)
    eighth = {name: until_eighth[name] - until_seventh[name] for name in until_eighth}
    added = (eighth["loss"] - eighth["cross_entropy"]) / eighth["sep_penalty"]
    assert added == pytest.approx(40.0, rel=1e-2)


def test_rival_is_added_with_its_weight_beside_sep(digits: data.Dataset) -> None:
    rival = train.RivalConfig("hessian")
    both = dataclasses.replace(SEP, rival=rival, rival_weight=0.5)
    _, sums, _ = run(both, digits, [1], 2.0)
    terms = 2 * sums["sep_penalty"] + 2 * sums["rival_penalty"]
    assert sums["loss"] == pytest.approx(sums["cross_entropy"] + terms, rel=1e-5)
    assert sums["rival_gradient_ratio"] > 0
    assert sums["sep_penalty"] == pytest.approx(run(SEP, digits, [1], 2.0)[1]["sep_penalty"], rel=1e-5)
    with pytest.raises(InputError, match="a rival needs a weight and a weight a rival"):
        dataclasses.replace(PLAIN, rival=rival)
    with pytest.raises(InputError, match="a rival needs a weight and a weight a rival"):
        dataclasses.replace(PLAIN, rival_weight=1.0)


def test_every_image_is_seen_once_an_epoch_in_another_order(
    digits: data.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_spy(model_fn: Any, batch_fn: Any, config: Any) -> Any:
        def objective(key: Any, params: Any, stats: Any, images: Array, labels: Array) -> tuple[Array, Auxiliary]:
            number = images[:, 0, 0, 0] * 64
            sums = {"cross_entropy": jnp.sum(number), "accuracy": jnp.sum(number**2)}
            return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params)), Auxiliary(stats, sums)

        return objective

    monkeypatch.setitem(train.OBJECTIVES, "spy", make_spy)
    numbered = np.zeros_like(digits.images)
    numbered[:, 0, 0, 0] = np.arange(64) / 64
    config = dataclasses.replace(PLAIN, objective="spy", augment=False)
    dataset = dataclasses.replace(digits, images=numbered)
    _, sums, _ = run(config, dataset, [4])
    assert sums["cross_entropy"] == sum(range(64))
    assert sums["accuracy"] == sum(i * i for i in range(64))
    batches = [run(config, dataset, list(range(1, stop + 1)))[1]["accuracy"] for stop in (1, 4, 5)]
    assert batches[2] - batches[1] != batches[0], "the second epoch begins with the batch of the first"


def test_every_step_and_every_key_draws_anew(digits: data.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_spy(model_fn: Any, batch_fn: Any, config: Any) -> Any:
        def objective(key: Any, params: Any, stats: Any, images: Array, labels: Array) -> tuple[Array, Auxiliary]:
            drawn = {"cross_entropy": jax.random.uniform(key), "accuracy": jnp.sum(images)}
            return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params)), Auxiliary(stats, drawn)

        return objective

    monkeypatch.setitem(train.OBJECTIVES, "drawing_spy", make_spy)
    config = dataclasses.replace(PLAIN, objective="drawing_spy")
    run_steps = train.make_run_steps(MODEL, config, 64)
    images, labels = jax.device_put((np.ones_like(digits.images), digits.labels))
    seen: list[tuple[float, float]] = []
    for key in (KEY, jax.random.key(4)):
        state = state_of(config)
        for stop in range(1, 9):
            state, sums, _ = run_steps(state, images, labels, key, {}, jnp.int32(stop))
            seen.append((float(sums["cross_entropy"]), float(sums["accuracy"])))
    attack_draws, kept_pixels = zip(*seen, strict=True)
    assert len(set(attack_draws)) == 16
    assert len(set(kept_pixels)) > 8, "the crops of all-white images leave the same number of pixels at every step"


def test_no_implicit_transfer_inside_a_stretch(digits: data.Dataset) -> None:
    run_steps = train.make_run_steps(MODEL, PLAIN, 64)
    run(PLAIN, digits, [1])  # compiled before
    arguments = jax.device_put((digits.images, digits.labels, KEY, {}))
    stops = jax.device_put([np.int32(2), np.int32(4)])
    state = state_of(PLAIN)
    with jax.transfer_guard("disallow"):
        for stop in stops:
            state, sums, fault = run_steps(state, *arguments, stop)
    assert int(state.step) == 4
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        run_steps(state, digits.images, *arguments[1:], stops[0])


def test_a_stretch_writes_over_the_state_it_is_given(digits: data.Dataset) -> None:
    run_steps = train.make_run_steps(MODEL, PLAIN, 64)
    state = state_of(PLAIN)
    leaves = [leaf for leaf in jax.tree.leaves(state) if leaf.size > 1]
    size = sum(leaf.nbytes for leaf in leaves)
    arguments = jax.device_put((digits.images, digits.labels, KEY, {}, np.int32(1)))
    compiled = run_steps.lower(state, *arguments).compile()
    assert compiled.memory_analysis().alias_size_in_bytes >= size > 0
    run_steps(state, *arguments)
    assert all(leaf.is_deleted() for leaf in leaves)


def test_an_epoch_is_one_call_without_transfers_and_one_synchronisation(
    digits: data.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops, fetched = [], []
    make_runner, device_get = loop.make_runner, jax.device_get

    def guarded_runner(*arguments: Any, **settings: Any) -> Any:
        run = make_runner(*arguments, **settings)

        def guarded(state: train.TrainState, weights: dict, stop: int) -> Any:
            stops.append(stop)
            with jax.transfer_guard("disallow"):
                return run(state, weights, stop)

        return guarded

    def counted(tree: Any) -> Any:
        fetched.append(tree)
        return device_get(tree)

    monkeypatch.setattr(loop, "make_runner", guarded_runner)
    monkeypatch.setattr(jax, "device_get", counted)
    train.fit(KEY, MODEL, digits, PLAIN, log_every=10**6)
    assert stops == [4, 8, 12, 16]
    assert len(fetched) == 4


# The loop.

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
    described = train.describe(config, MODEL, digits, KEY)
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
    described = train.describe(PLAIN, MODEL, digits, KEY)
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
    described = train.describe(PLAIN, MODEL, digits, KEY)
    with train.Checkpoints(tmp_path, described):
        pass
    before = sorted(tmp_path.iterdir())
    other = train.describe(dataclasses.replace(PLAIN, batch_size=32), MODEL, digits, KEY)
    with pytest.raises(InputError, match=r"another configuration \(batch_size: 16 there, 32 now\)") as caught:
        train.Checkpoints(tmp_path, other)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(InputError, match="key: .* there"):
        train.Checkpoints(tmp_path, train.describe(PLAIN, MODEL, digits, jax.random.key(4)))
    darker = dataclasses.replace(digits, images=digits.images / 2)
    with pytest.raises(InputError, match="data_sums: .* there"):
        train.Checkpoints(tmp_path, train.describe(PLAIN, MODEL, darker, KEY))
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
