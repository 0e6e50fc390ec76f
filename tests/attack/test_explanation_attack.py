"""The targeted attack on explanations: reachable targets, the label, the budget, the best iterate, a transcription."""

from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from attack.diagonal import KEY, SETTINGS, SHAPE, diagonal_model, images, loss_of, run

from jsep import attack, explain
from jsep.attack.explanation import ExplanationAttackInfo
from jsep.checks import InputError
from jsep.types import Array


def test_attack_reaches_a_reachable_target_map() -> None:
    oracle, (victim, target) = diagonal_model(bias=10.0), images()
    adversarial, info = run(oracle, victim, target)
    start, end = loss_of(oracle, victim, target), loss_of(oracle, adversarial, target)
    assert end < 1e-3 * start
    assert bool(info.label_kept)


def test_attack_reaches_a_reachable_target_map_of_a_softplus_ridge_under_gradient_x_input() -> None:
    # One ridge a pixel, so every pixel's saliency x_i s(beta x_i) is its own.
    oracle = oracles.SoftplusRidge(np.eye(6).reshape(6, *SHAPE), np.array([[1.0] * 6, [0.1] * 6]), np.zeros(2), 5.0)
    victim, target = images(3)
    map_fn = jax.jit(explain.make_map_fn("gradient_x_input", oracle.logits, 0))
    adversarial, info = attack.attack_explanation(
        KEY, map_fn, oracle.logits, jnp.asarray(victim), map_fn(jnp.asarray(target)), **SETTINGS
    )
    assert float(info.losses.min()) < 0.05 * float(info.losses[0])
    assert bool(info.label_kept)
    assert not np.array_equal(adversarial, victim)


def test_attack_keeps_the_label_where_the_target_would_change_it() -> None:
    # Reaching the target means darkening pixel 0, on which alone class 0 leads: the free optimum has class 1.
    oracle = oracles.Quadratic(
        np.stack([np.diag([2.0, 1, 1, 1, 1, 1]), np.diag([1.0, 1, 1, 1, 1, 1])]), np.array([0.0, 0.4])
    )
    victim, target = images()
    victim[0, 0, 0], target[0, 0, 0] = 0.9, 0.1
    assert int(jnp.argmax(oracle.logits(jnp.asarray(victim)))) == 0
    moved = jnp.asarray(victim).at[0, 0, 0].set(0.1)
    assert int(jnp.argmax(oracle.logits(moved))) == 1, "the trap is not one"
    adversarial, info = run(oracle, victim, target, output_weight=0.0)
    assert bool(info.label_kept)
    assert int(jnp.argmax(oracle.logits(adversarial))) == 0
    visited_best = float(info.losses.min())
    assert visited_best < loss_of(oracle, adversarial, target), "the best map was not one that loses the label"
    assert loss_of(oracle, adversarial, target) < loss_of(oracle, victim, target)


def test_output_weight_holds_the_softmax_near_the_clean_one() -> None:
    oracle, (victim, target) = diagonal_model(bias=0.5), images(2)

    def shift(**settings: Any) -> float:
        adversarial, _ = run(oracle, victim, target, **settings)
        outputs = [oracles.softmax(np.asarray(oracle.logits(jnp.asarray(z)))) for z in (victim, adversarial)]
        return float(np.abs(outputs[0] - outputs[1]).max())

    assert shift(output_weight=1e9) < 0.2 * shift(output_weight=0.0)


def test_best_iterate_is_the_smallest_visited_loss_that_keeps_the_label() -> None:
    # A large learning rate overshoots, so that the last iterate is not the best one.
    oracle, (victim, target) = diagonal_model(bias=10.0), images()
    adversarial, info = run(oracle, victim, target, learning_rate=0.3, num_steps=40)
    losses = np.asarray(info.losses)
    assert losses.shape == (41,)
    assert int(info.best_step) == int(losses.argmin()) != 40
    assert loss_of(oracle, adversarial, target) == pytest.approx(
        float(losses[int(info.best_step)]), rel=1e-4, abs=1e-12
    )


@hypothesis.settings(max_examples=15)
@hypothesis.given(st.integers(0, 10**6), st.floats(1e-3, 1.0), st.floats(0, 0.5))
def test_attack_is_never_worse_than_the_start_keeps_the_label_and_stays_in_ball_and_box(
    seed: int, learning_rate: float, epsilon: float
) -> None:
    victim, target = images(seed)
    adversarial, info = _compiled(seed, victim, target, learning_rate, epsilon)
    oracle = diagonal_model()
    delta = np.abs(np.asarray(adversarial, np.float64) - victim)
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    assert delta.max() <= np.float32(epsilon) + 1.2e-7
    assert float(info.distance) == pytest.approx(delta.max(), abs=1e-7)
    start = loss_of(oracle, victim, target)
    assert loss_of(oracle, adversarial, target) <= start * (1 + 1e-5) + 1e-12
    labels = [int(jnp.argmax(oracle.logits(jnp.asarray(z)))) for z in (victim, adversarial)]
    assert labels[0] == labels[1]
    assert bool(info.label_kept)


@jax.jit
def _compiled(seed: Any, victim: Array, target: Array, learning_rate: Any, epsilon: Any) -> Any:
    oracle, key = diagonal_model(), jax.random.key(seed)
    return run(
        oracle, victim, target, key=key, learning_rate=learning_rate, epsilon=epsilon, num_steps=20, random_start=True
    )


@pytest.mark.parametrize(("norm", "random_start"), [("linf", True), ("l2", True), ("l2", False)])
def test_zero_epsilon_returns_the_clean_image(norm: str, random_start: bool) -> None:
    victim, target = images()
    adversarial, info = run(
        diagonal_model(), victim, target, epsilon=0.0, norm=norm, num_steps=5, random_start=random_start
    )
    np.testing.assert_array_equal(adversarial, victim)
    assert float(info.distance) == 0


def test_zero_steps_return_the_clean_image_and_one_loss() -> None:
    victim, target = images()
    adversarial, info = run(diagonal_model(), victim, target, num_steps=0)
    np.testing.assert_array_equal(adversarial, victim)
    assert info.losses.shape == (1,)
    assert int(info.best_step) == 0


def test_l2_ball_holds() -> None:
    victim, target = images()
    adversarial, info = run(diagonal_model(bias=10.0), victim, target, epsilon=0.1, norm="l2")
    size = float(np.sqrt(((np.asarray(adversarial, np.float64) - victim) ** 2).sum()))
    assert 0.09 < size <= 0.1 + 1e-6
    assert float(info.distance) == pytest.approx(size, rel=1e-5)


def test_random_starts_differ_by_key() -> None:
    victim, target = images()
    losses = [
        run(diagonal_model(), victim, target, key=jax.random.key(k), epsilon=0.2, random_start=True, num_steps=1)[
            1
        ].losses
        for k in (0, 1)
    ]
    assert float(losses[0][0]) != float(losses[1][0])
    assert float(losses[0][0]) != pytest.approx(loss_of(diagonal_model(), victim, target), rel=1e-3)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("epsilon", [None, 0.05])
def test_attack_equals_a_numpy_transcription(epsilon: float | None) -> None:
    quadratic = diagonal_model(num_classes=3)
    oracle = oracles.DombrowskiOracle(np.stack([np.diag(m) for m in quadratic.matrices]), quadratic.bias)
    label = 0
    for seed in range(100):  # a pair on which class 0 is predicted
        victim, target = (z.astype(np.float64) for z in images(seed))
        if np.argmax(oracle.logits(victim.ravel())) == label:
            break
    settings = SETTINGS | {"num_steps": 60, "epsilon": epsilon}
    adversarial, info = run(quadratic, victim, target, **settings)
    expected, losses, best_step = oracle.attack(victim.ravel(), oracle.map(target.ravel()), **settings)
    np.testing.assert_allclose(info.losses, losses, rtol=1e-8)
    np.testing.assert_allclose(np.ravel(adversarial), expected, rtol=1e-8)
    # At the edge of the ball the last steps tie up to rounding: any of the tied ones is the best.
    assert float(info.losses[int(info.best_step)]) == pytest.approx(losses[best_step], rel=1e-12)
    assert best_step > 0


def test_attack_equals_a_numpy_transcription_in_float32() -> None:
    quadratic = diagonal_model(num_classes=3, bias=1.0)
    oracle = oracles.DombrowskiOracle(np.stack([np.diag(m) for m in quadratic.matrices]), quadratic.bias)
    victim, target = images()
    settings = SETTINGS | {"num_steps": 20, "epsilon": None}
    adversarial, info = run(quadratic, victim, target, **settings)
    x, goal = victim.ravel().astype(np.float64), oracle.map(target.ravel().astype(np.float64))
    expected, losses, _ = oracle.attack(x, goal, **settings)
    np.testing.assert_allclose(info.losses, losses, rtol=1e-4)
    np.testing.assert_allclose(np.ravel(adversarial), expected, rtol=0, atol=1e-5)


def test_jit_and_vmap_equal_a_python_loop() -> None:
    pairs = [images(seed) for seed in range(3)]
    victims, targets = (jnp.stack([pair[which] for pair in pairs]) for which in (0, 1))
    keys = jax.random.split(KEY, 3)

    oracle = diagonal_model()
    map_fn = explain.make_map_fn("gradient", oracle.logits, 0)

    def one(key: Array, victim: Array, target: Array) -> tuple[Array, ExplanationAttackInfo]:
        settings = SETTINGS | {"num_steps": 15, "epsilon": 0.2, "random_start": True}
        return attack.attack_explanation(key, map_fn, oracle.logits, victim, map_fn(target), **settings)

    compiled = jax.jit(one)
    batched, info = jax.jit(jax.vmap(one))(keys, victims, targets)
    for index, alone_fn in enumerate([one, compiled, compiled]):
        alone, alone_info = alone_fn(keys[index], victims[index], targets[index])
        np.testing.assert_allclose(batched[index], alone, rtol=0, atol=1e-5)
        np.testing.assert_allclose(info.losses[index], alone_info.losses, rtol=1e-4, atol=1e-10)


def test_snapshots_are_the_visited_images_and_change_nothing() -> None:
    oracle, (victim, target) = diagonal_model(bias=10.0), images()
    plain, plain_info = run(oracle, victim, target, num_steps=40)
    steps = (0, 1, 7, int(plain_info.best_step), 40)
    adversarial, info = run(oracle, victim, target, num_steps=40, snapshot_steps=steps)
    np.testing.assert_array_equal(adversarial, plain)
    np.testing.assert_array_equal(info.losses, plain_info.losses)
    assert plain_info.visited.shape == (0, *SHAPE)
    np.testing.assert_array_equal(info.visited[0], victim)
    np.testing.assert_array_equal(info.visited[3], adversarial)
    for image, step in zip(info.visited, steps, strict=True):
        assert loss_of(oracle, image, target) == pytest.approx(float(info.losses[step]), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("steps", [(-1,), (41,), (1.5,)])
def test_snapshot_that_the_attack_never_visits_is_an_input_error(steps: tuple) -> None:
    with pytest.raises(InputError, match="snapshot_steps"):
        run(diagonal_model(), *images(), num_steps=40, snapshot_steps=steps)


def test_one_compilation_serves_every_traced_setting() -> None:
    @jax.jit
    def attacked(victim: Array, epsilon: Array, learning_rate: Array, map_weight: Array) -> Array:
        return run(
            diagonal_model(), victim, images()[1], num_steps=3,
            epsilon=epsilon, learning_rate=learning_rate, map_weight=map_weight,
        )[0]  # fmt: skip

    victim = images()[0]
    results = [attacked(victim, *map(jnp.float32, s)) for s in [(0.1, 0.01, 1e7), (0.2, 0.02, 1e6), (0.005, 0.01, 1e7)]]
    assert attacked._cache_size() == 1
    assert float(jnp.abs(results[2] - victim).max()) <= 0.005 + 1.2e-7 < float(jnp.abs(results[0] - victim).max())


def test_wrong_target_shape_is_an_input_error() -> None:
    oracle, (victim, _) = diagonal_model(), images()
    map_fn = explain.make_map_fn("gradient", oracle.logits, 0)
    with pytest.raises(InputError, match=r"target_map must have the shape of map_fn's maps, \(2, 3\), got \(3, 2\)"):
        attack.attack_explanation(KEY, map_fn, oracle.logits, victim, jnp.ones((3, 2)), **SETTINGS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"random_start": True}, "random_start needs a ball to draw from: pass epsilon"),
        ({"epsilon": 8}, "did you mean 8/255"),
        ({"num_steps": -1}, "num_steps must be an integer >= 0"),
        ({"learning_rate": 0.0}, "learning_rate must be a number > 0"),
        ({"map_weight": -1.0}, "map_weight must be a number >= 0"),
        ({"output_weight": float("nan")}, "output_weight must be a number >= 0"),
        ({"norm": "l1"}, "unknown norm 'l1'"),
        ({"beta_growth": (0.0, 10.0)}, "beta_growth must be a number > 0"),
    ],
)
def test_bad_settings_are_input_errors(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(diagonal_model(), *images(), **change)


def test_batch_of_victims_is_an_input_error_that_names_vmap() -> None:
    oracle, (victim, target) = diagonal_model(), images()
    map_fn = explain.make_map_fn("gradient", oracle.logits, 0)
    with pytest.raises(InputError, match=r"for a batch use jax\.vmap"):
        attack.attack_explanation(KEY, map_fn, oracle.logits, victim[None], map_fn(jnp.asarray(target)), **SETTINGS)


def test_image_outside_the_box_and_a_model_of_probabilities_are_input_errors() -> None:
    oracle, (victim, target) = diagonal_model(), images()
    map_fn = explain.make_map_fn("gradient", oracle.logits, 0)
    goal = map_fn(jnp.asarray(target))
    with pytest.raises(InputError, match=r"image must have pixels in \[0, 1\]"):
        attack.attack_explanation(KEY, map_fn, oracle.logits, victim + 1, goal, **SETTINGS)
    with pytest.raises(InputError, match="returns probabilities"):
        attack.attack_explanation(KEY, map_fn, lambda z: jax.nn.softmax(oracle.logits(z)), victim, goal, **SETTINGS)
    with pytest.raises(InputError, match="map of the image has values that are not finite"):
        attack.attack_explanation(KEY, lambda z: map_fn(z) * jnp.nan, oracle.logits, victim, goal, **SETTINGS)
