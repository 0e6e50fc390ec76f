"""What a training step minimises, the augmentation, the optimisers and their schedules."""

import dataclasses
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import models, train
from jsep.checks import InputError
from jsep.train import step
from jsep.train.augment import crop_and_flip
from jsep.train.optimizer import make_optimizer, make_schedule

KEY = jax.random.key(0)


# Objectives.


def test_standard_loss_is_numpy_cross_entropy(tiny: Any, digits: Any) -> None:
    objective = train.OBJECTIVES["standard"].make(tiny.model_fn, models.batch_fn(tiny.model), train.InnerAttack())
    images, labels = digits.images[:20], digits.labels[:20]
    loss, auxiliary = jax.jit(objective)(KEY, tiny.variables["params"], {}, images, labels)
    logits = np.asarray(jax.jit(jax.vmap(tiny.logits_fn))(images), np.float64)
    expected = np.mean([oracles.cross_entropy(row, label) for row, label in zip(logits, labels, strict=True)])
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(auxiliary.metrics["cross_entropy"]) == float(loss)
    assert float(auxiliary.metrics["accuracy"]) == pytest.approx(np.mean(logits.argmax(1) == labels))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_mat_images_stay_in_ball_and_box_and_raise_every_loss(norm: str, tiny: Any, digits: Any) -> None:
    config = train.PgdConfig(norm=norm, epsilon=0.1, alpha=0.05, num_steps=5)
    images, labels = digits.images[:12], digits.labels[:12]
    attacked = jax.jit(lambda: train.adversarial_images(KEY, tiny.model_fn, tiny.variables, images, labels, config))()
    delta = (np.asarray(attacked, np.float64) - images).reshape(12, -1)
    size = np.abs(delta).max(1) if norm == "linf" else np.sqrt((delta**2).sum(1))
    assert np.all(size <= 0.1 + 1e-6)
    assert np.all(size > 0)
    assert 0 <= attacked.min() <= attacked.max() <= 1
    logits = [np.asarray(jax.jit(jax.vmap(tiny.logits_fn))(z)) for z in (images, attacked)]
    clean, robust = (
        np.array([oracles.cross_entropy(row, k) for row, k in zip(rows, labels, strict=True)]) for rows in logits
    )
    assert np.all(robust > clean)


def test_images_attacked_in_chunks_are_those_attacked_at_once(tiny: Any, digits: Any) -> None:
    config = train.PgdConfig(norm="l2", epsilon=1.0, alpha=0.5, num_steps=3)
    given = tiny.model_fn, tiny.variables, digits.images[:10], digits.labels[:10], config
    whole, parts = (
        jax.jit(lambda size=size: train.adversarial_images(KEY, *given, chunk_size=size))() for size in (None, 4)
    )
    np.testing.assert_allclose(whole, parts, atol=1e-5)
    assert np.abs(whole - digits.images[:10]).max() > 0.1
    sizes = {batch: step._chunk_size(batch) for batch in (128, 100, 64, 16, 37, 7)}
    assert sizes == {128: 32, 100: 25, 64: 32, 16: 16, 37: 37, 7: 7}
    for num_parameters, expected in ((200_000, 32), (11_000_000, 64)):
        params = {"kernel": jax.ShapeDtypeStruct((num_parameters // 100, 100), np.float32)}
        assert step._attack_chunk_size(128, params) == expected


def test_mat_gradient_is_that_of_cross_entropy_on_fixed_adversarial_images(tiny: Any, digits: Any) -> None:
    # l2: the step depends smoothly on the parameters, so that a gradient could flow through it (not so a sign).
    config = train.PgdConfig(norm="l2", epsilon=1.0, alpha=0.5, num_steps=2)
    images, labels = digits.images[:8], digits.labels[:8]
    batch_fn = models.batch_fn(tiny.model)
    inner = train.InnerAttack(config)
    mat, standard = (train.OBJECTIVES[name].make(tiny.model_fn, batch_fn, inner) for name in ("mat", "standard"))

    @jax.jit
    def both(params: Any) -> Any:
        attacked = train.adversarial_images(KEY, tiny.model_fn, {"params": params}, images, labels, config)
        attacked = jax.lax.stop_gradient(attacked)
        return [
            jax.value_and_grad(lambda p: objective(KEY, p, {}, inputs, labels)[0])(params)
            for objective, inputs in ((mat, images), (standard, attacked))
        ]

    adversarial, fixed = both(tiny.variables["params"])
    assert float(adversarial[0]) == pytest.approx(float(fixed[0]), rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), adversarial[1], fixed[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 8}, "did you mean 8/255"),
        ({"alpha": -0.1}, "alpha must be a number >= 0"),
        ({"num_steps": -1}, "num_steps must be an integer >= 0"),
        ({"norm": "l3"}, "unknown norm 'l3'"),
    ],
)
def test_bad_attack_settings_are_input_errors(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train.PgdConfig(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"objective": "mad"},
            "unknown training objective 'mad': expected one of standard, mat, trades; did you mean 'mat'",
        ),
        ({"epochs": 0}, "epochs must be an integer >= 1"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        (
            {"objective": "mat", "objective_config": train.TradesConfig()},
            r"configuration is of another one: expected NoSettings, got TradesConfig\(trades_beta=6.0\)",
        ),
    ],
)
def test_bad_training_settings_are_input_errors(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train.TrainConfig(**change)


def test_configuration_of_an_objective_checks_itself_and_has_names_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="trades_beta must be a number >= 0"):
        train.TradesConfig(-1.0)
    trades = train.TrainConfig(objective="trades", objective_config=train.TradesConfig(0.5))
    assert trades.describe()["trades_beta"] == 0.5
    assert "trades_beta" not in train.TrainConfig().describe()
    taken = dataclasses.make_dataclass("Taken", [("epochs", int, 1)], frozen=True)
    monkeypatch.setitem(train.OBJECTIVES, "taken", train.Objective(train.OBJECTIVES["mat"].make, taken))
    with pytest.raises(InputError, match="Taken has fields that every training has: rename epochs"):
        train.TrainConfig(objective="taken")


def test_batch_larger_than_the_data_is_an_input_error() -> None:
    with pytest.raises(InputError, match="batch_size must be at most the 64 training images, got 65"):
        train.TrainConfig(batch_size=65).steps_per_epoch(64)
    assert train.TrainConfig(batch_size=10).steps_per_epoch(64) == 6


# Augmentation.

crop_and_flip_images = jax.jit(crop_and_flip)


@hypothesis.settings(max_examples=10)
@hypothesis.given(st.integers(0, 10**6), st.sampled_from(["float32", "uint8"]))
def test_augmented_image_is_a_crop_of_the_padded_image_or_its_mirror(seed: int, dtype: str) -> None:
    images = np.random.default_rng(seed).integers(1, 256, (6, 5, 7, 2)).astype(dtype)
    augmented = np.asarray(crop_and_flip_images(jax.random.key(seed), images))
    assert augmented.shape == images.shape
    assert augmented.dtype == images.dtype
    for image, result in zip(images, augmented, strict=True):
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
        crops = [padded[row : row + 5, column : column + 7] for row in range(9) for column in range(9)]
        assert any(np.array_equal(result, z) for crop in crops for z in (crop, crop[:, ::-1]))


def test_augmentation_draws_every_place_and_both_directions_of_each_image_alone() -> None:
    image = np.arange(1, 37, dtype=np.float32).reshape(6, 6, 1)
    augmented = np.asarray(crop_and_flip_images(KEY, np.stack([image] * 4000)))
    different, counts = np.unique(augmented, axis=0, return_counts=True)
    # 9 x 9 places, all of which show some of a 6 x 6 image, and two directions; 25 draws of each on average.
    assert len(different) == 162
    assert counts.max() < 60


# Optimisers.


def test_schedules_take_their_values() -> None:
    def at(name: str, *steps: int) -> list[float]:
        schedule = make_schedule(train.OptimizerConfig(schedule=name, learning_rate=0.2), 100)
        return [float(schedule(step)) for step in steps]

    assert at("constant", 0, 99) == pytest.approx([0.2, 0.2])
    assert at("piecewise", 0, 49, 51, 74, 76, 99) == pytest.approx([0.2, 0.2, 0.02, 0.02, 0.002, 0.002])
    assert at("cosine", 0, 25, 50, 100) == pytest.approx([0.2, 0.1 * (1 + np.cos(np.pi / 4)), 0.1, 0.0], abs=1e-7)
    rates = at("one_cycle", *range(100))
    assert int(np.argmax(rates)) == 30
    assert max(rates) == pytest.approx(0.2)
    assert rates[0] < 0.02
    assert rates[99] < 0.002


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_sgd_is_momentum_with_coupled_weight_decay_by_numpy(clip: float) -> None:
    config = train.OptimizerConfig(
        learning_rate=0.1, schedule="constant", momentum=0.9, weight_decay=0.01, gradient_clip=clip
    )
    optimizer = make_optimizer(config, 10)
    rng = np.random.default_rng(0)
    params = expected = rng.normal(size=5)
    state, velocity = optimizer.init(jnp.asarray(params)), np.zeros(5)
    for _ in range(3):
        gradient = rng.normal(size=5)
        updates, state = optimizer.update(jnp.asarray(gradient), state, jnp.asarray(params))
        params = params + np.asarray(updates)
        clipped = gradient * min(1.0, clip / np.linalg.norm(gradient)) if clip else gradient
        velocity = 0.9 * velocity + clipped + 0.01 * expected
        expected = expected - 0.1 * velocity
    np.testing.assert_allclose(params, expected, rtol=1e-5)


def test_adamw_first_step_is_the_sign_with_decoupled_decay() -> None:
    config = train.OptimizerConfig(name="adamw", learning_rate=0.1, schedule="constant", weight_decay=0.01)
    optimizer = make_optimizer(config, 10)
    params, gradient = jnp.array([1.0, -2.0]), jnp.array([0.3, -5.0])
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    np.testing.assert_allclose(updates, -0.1 * (np.sign(gradient) + 0.01 * np.asarray(params)), rtol=1e-5)


@pytest.mark.parametrize("field", ["momentum", "weight_decay", "gradient_clip", "learning_rate"])
def test_negative_optimizer_settings_are_input_errors(field: str) -> None:
    with pytest.raises(InputError, match=f"{field} must be a number"):
        dataclasses.replace(train.OptimizerConfig(), **{field: -1.0})


def test_unknown_optimizer_and_schedule_are_input_errors() -> None:
    with pytest.raises(InputError, match="unknown optimizer 'adam': expected one of sgd, adamw; did you mean 'adamw'"):
        train.OptimizerConfig(name="adam")
    with pytest.raises(InputError, match="unknown schedule 'step': expected one of constant, piecewise, cosine"):
        train.OptimizerConfig(schedule="step")
