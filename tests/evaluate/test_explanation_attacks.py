"""The ensemble in the evaluator, its re-check, chunks that go on after an interruption, pairs that fail."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.typing import ArrayLike

from jsep import attack, data, evaluate
from jsep.attack import WARNING_SENTENCES
from jsep.attack.auto_explanation import auto_explanation_members
from jsep.checks import InputError
from jsep.types import Array

KEY = jax.random.key(0)
SETTINGS = attack.TargetedConfig(num_steps=15, learning_rate=0.01)
CONFIG = evaluate.ExplanationAttackConfig(method="gradient", settings=SETTINGS, epsilon=0.1)
VARIABLES = np.random.default_rng(1).uniform(0.5, 2, (3, 6)).astype(np.float32)


def model(variables: ArrayLike, image: Array) -> Array:
    return variables @ image.reshape(-1) ** 2


def pairs_and_dataset() -> tuple[evaluate.PairIndex, data.Dataset]:
    images = np.random.default_rng(0).uniform(0.1, 0.9, (8, 2, 3, 1)).astype(np.float32)
    info = data.DatasetInfo("toy", 3, (2, 3, 1), ("a", "b", "c"), (0.5,), (0.2,), False, ("test",))
    dataset = data.Dataset(images, np.arange(8, dtype=np.int32) % 3, info, "test")
    return evaluate.PairIndex("toy", "test", 8, "none", 2, 0, (0, 1, 2, 3, 4), (5, 6, 7, 0, 1)), dataset


def run(config: Any = CONFIG, variables: Any = VARIABLES, model_fn: Any = model, **settings: Any) -> Any:
    pairs, dataset = pairs_and_dataset()
    return evaluate.explanation_robustness(KEY, model_fn, variables, dataset, pairs, config, **settings)


@pytest.mark.slow
def test_ensemble_is_reached_by_one_setting_and_ends_lower() -> None:
    pairs, dataset = pairs_and_dataset()
    targeted = run()
    auto = run(dataclasses.replace(CONFIG, attack="auto", settings=attack.AutoConfig("fast")))
    assert auto.member_losses.shape == (5, len(auto_explanation_members("fast")))
    assert auto.warnings.shape == targeted.warnings.shape == (5, len(WARNING_SENTENCES))
    assert auto.loss_end.mean() < targeted.loss_end.mean()
    assert np.all(auto.label_kept)
    assert not np.any(auto.failed)
    victims = dataset.images[list(pairs.victims)]
    used = np.abs(auto.manipulated.astype(np.float64) - victims).reshape(5, -1).max(1)
    np.testing.assert_allclose(auto.distance, used, atol=1e-6)
    assert used.max() <= 0.1 + 1e-6
    assert not np.any(targeted.warnings)


def test_finished_chunks_are_not_attacked_again_and_give_the_same_numbers(tmp_path: Path) -> None:
    whole = run(chunk_size=2)
    steps: list[int] = []
    first = run(chunk_size=2, store=tmp_path / "chunks", on_step=lambda count: steps.append(int(count)))
    jax.effects_barrier()
    assert sum(steps) == 3 * SETTINGS.num_steps
    for name, a, b in zip(whole._fields, whole, first, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5, err_msg=name)
    # As after a kill in the third chunk, and another that left half a file.
    files = sorted((tmp_path / "chunks").glob("chunk_*.npz"))
    assert len(files) == 3
    files[2].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    steps.clear()
    again = run(chunk_size=2, store=tmp_path / "chunks", on_step=lambda count: steps.append(int(count)))
    jax.effects_barrier()
    # What was kept counts at once, so that the progress is that of the whole.
    assert steps[0] == SETTINGS.num_steps
    assert sum(steps[1:]) == 2 * SETTINGS.num_steps
    for name, a, b in zip(first._fields, first, again, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    with pytest.raises(InputError, match="holds chunks of another evaluation"):
        run(variables=VARIABLES * 2, chunk_size=2, store=tmp_path / "chunks")
    with pytest.raises(InputError, match="holds chunks of another evaluation"):
        run(dataclasses.replace(CONFIG, epsilon=0.2), chunk_size=2, store=tmp_path / "chunks")


def test_a_pair_that_fails_is_counted_and_stops_no_other() -> None:
    pairs, dataset = pairs_and_dataset()

    def breaks(variables: ArrayLike, image: Array) -> Array:
        # Infinite on the first victim alone.
        off = dataset.images[0].ravel() - image.reshape(-1)
        return model(variables, image) + 1e-30 / jax.numpy.sum(off**2)

    results = run(model_fn=breaks)
    np.testing.assert_array_equal(results.failed, [True, False, False, True, False])  # pair 3 has image 0 as its target
    np.testing.assert_array_equal(results.manipulated[0], dataset.images[0])
    summary = results.summary()
    assert summary["failed_pairs"] == 2
    assert all(np.isfinite(value) for value in summary.values())
    good = [1, 2, 4]
    assert summary["explanation_loss_end"] == pytest.approx(results.loss_end[good].mean())
    np.testing.assert_allclose(results.loss_end[good], run().loss_end[good], rtol=1e-3)


def test_model_without_any_finite_map_and_model_of_probabilities_are_input_errors() -> None:
    with pytest.raises(InputError, match="maps of 'gradient' are not finite on any of the 5 pairs"):
        run(model_fn=lambda variables, image: model(variables, image) * np.nan)
    with pytest.raises(InputError, match="returns probabilities"):
        run(model_fn=lambda variables, image: jax.nn.softmax(model(variables, image)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attack": "autos", "settings": None}, "unknown explanation attack 'autos'.*did you mean 'auto'"),
        ({"attack": "auto"}, "explanation attack 'auto' takes a AutoConfig, got TargetedConfig"),
        ({"softmax_tolerance": -1.0}, "softmax_tolerance must be a number >= 0"),
        ({"attack": "auto", "settings": None, "epsilon": None, "norm": "l2"}, "'auto' under l2 .* needs a ball"),
        (
            {"settings": attack.TargetedConfig(num_starts=2), "epsilon": None},
            "num_starts=2.* needs a ball: give epsilon",
        ),
    ],
)
def test_bad_settings_are_input_errors(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **change)


def test_bad_settings_of_an_attack_are_input_errors() -> None:
    with pytest.raises(InputError, match="unknown version 'quick'"):
        attack.AutoConfig("quick")
    with pytest.raises(InputError, match="unknown search 'evolutions'.*did you mean 'evolution'"):
        attack.BlackBoxConfig("evolutions")


@pytest.mark.slow
def test_black_box_attack_follows_a_method_without_derivative_and_lowers_its_loss() -> None:
    settings = attack.BlackBoxConfig(num_steps=30, num_samples=4)
    config = evaluate.ExplanationAttackConfig(
        method="rise",
        method_options=(("num_samples", 16), ("grid", 2)),
        epsilon=0.2,
        attack="black_box",
        settings=settings,
    )
    steps: list[int] = []
    results = run(config, on_step=lambda count: steps.append(int(count)))
    jax.effects_barrier()
    assert sum(steps) == config.total_steps == 30
    assert results.loss_end.mean() < results.loss_start.mean()
    assert np.all(results.label_kept)
    assert results.member_losses.shape == (5, 1)
    with pytest.raises(InputError, match="'rise' has no derivative"):
        dataclasses.replace(config, attack="targeted", settings=None)
