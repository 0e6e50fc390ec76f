"""The targeted attack on explanations: reachable targets, the label, the budget, the best iterate, a transcription."""

import functools
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from attack import two_pixels

from jsep import attack, explain
from jsep.checks import InputError
from jsep.types import Array

SHAPE = (2, 3, 1)
KEY = jax.random.key(0)
SETTINGS = {"num_steps": 300, "learning_rate": 1e-2, "map_weight": 1e7, "output_weight": 1e6}


def diagonal_model(num_classes: int = 2, seed: int = 0, bias: float = 0.0) -> oracles.Quadratic:
    """Class 0 has positive curvature everywhere, so its gradient map c_i x_i / sum is any map that one likes."""
    diagonals = np.random.default_rng(seed).uniform(0.5, 2, (num_classes, 6))
    biases = np.concatenate([[bias], np.zeros(num_classes - 1)])
    return oracles.Quadratic(np.stack([np.diag(row) for row in diagonals]), biases)


def images(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(victim, target) away from the box's walls."""
    first, second = np.random.default_rng(seed).uniform(0.2, 0.8, (2, *SHAPE)).astype(np.float32)
    return first, second


def run(
    oracle: Any, victim: Any, target: Any, label: int = 0, key: Any = KEY, **settings: Any
) -> tuple[Array, attack.ExplanationAttackInfo]:
    map_fn = explain.make_map_fn("gradient", oracle.logits, label)

    # jit only saves time here; that it changes nothing is a test of its own.
    @jax.jit
    def attacked(key: Array, victim: Array, target: Array) -> tuple[Array, attack.ExplanationAttackInfo]:
        return attack.attack_explanation(key, map_fn, oracle.logits, victim, map_fn(target), **SETTINGS | settings)

    return attacked(key, jnp.asarray(victim), jnp.asarray(target))


def loss_of(oracle: Any, image: Any, target: Any) -> float:
    """The explanation loss under "gradient" for class 0 of a `diagonal_model`, in NumPy."""
    maps = [np.abs(oracle.gradient(np.asarray(z, np.float64), 0)).sum(-1) for z in (image, target)]
    return float(np.mean((maps[0] / maps[0].sum() - maps[1] / maps[1].sum()) ** 2))


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

    def one(key: Array, victim: Array, target: Array) -> tuple[Array, attack.ExplanationAttackInfo]:
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


def _ridge_attack(**settings: Any) -> tuple[oracles.SoftplusRidge, Any, Any, Array, attack.ExplanationAttackInfo]:
    oracle = oracles.softplus_ridge(seed=1, shape=SHAPE, num_classes=3, num_units=8, beta=30.0)
    victim, target = (jnp.asarray(z) for z in images(5))
    label = jnp.argmax(oracle.logits(victim))

    @jax.jit
    def map_fn(image: Array, beta: Any = None) -> Array:
        return explain.make_map_fn("gradient", lambda z: oracle.logits(z, beta), label)(image)

    settings = SETTINGS | {"num_steps": 100} | settings
    adversarial, info = jax.jit(
        lambda victim, goal: attack.attack_explanation(KEY, map_fn, oracle.logits, victim, goal, **settings)
    )(victim, map_fn(target))
    return oracle, map_fn, (victim, target, label), adversarial, info


def test_beta_growth_keeps_the_label_under_the_own_activation_and_lowers_the_loss() -> None:
    oracle, map_fn, (victim, target, label), adversarial, info = _ridge_attack(beta_growth=(3.0, 30.0))
    assert bool(info.label_kept)
    assert int(jnp.argmax(oracle.logits(adversarial))) == int(label)
    goal = map_fn(target)
    assert float(jnp.mean((map_fn(adversarial) - goal) ** 2)) < float(jnp.mean((map_fn(victim) - goal) ** 2))
    assert int(info.best_step) == 100, "the newest image that keeps the label is returned"
    # The first loss is of the first beta, the last one of the last beta.
    assert float(info.losses[0]) == pytest.approx(float(jnp.mean((map_fn(victim, 3.0) - goal) ** 2)), rel=1e-4)
    assert float(info.losses[-1]) == pytest.approx(float(jnp.mean((map_fn(adversarial, 30.0) - goal) ** 2)), rel=1e-3)


def test_beta_growth_from_and_to_the_own_beta_visits_what_no_growth_visits() -> None:
    _, _, _, _, plain = _ridge_attack(num_steps=10)
    _, _, _, _, grown = _ridge_attack(num_steps=10, beta_growth=(30.0, 30.0))
    np.testing.assert_allclose(grown.losses, plain.losses, rtol=1e-3)


def test_beta_growth_judges_the_label_by_the_own_activation() -> None:
    # At the betas of the schedule class 0 always leads; at the own beta pixel 0 decides, and the target darkens it.
    own = oracles.Quadratic(
        np.stack([np.diag([2.0, 1, 1, 1, 1, 1]), np.diag([1.0, 1, 1, 1, 1, 1])]), np.array([0.0, 0.4])
    )
    victim, target = images()
    victim[0, 0, 0], target[0, 0, 0] = 0.9, 0.1

    def logits_fn(image: Array, beta: Any = None) -> Array:
        return own.logits(image) + (0 if beta is None else jnp.array([10.0, 0.0]))

    def map_fn(image: Array, beta: Any = None) -> Array:
        return explain.make_map_fn("gradient", lambda z: logits_fn(z, beta), 0)(image)

    settings = SETTINGS | {"output_weight": 0.0, "beta_growth": (1.0, 2.0)}
    adversarial, info = jax.jit(
        lambda victim, target: attack.attack_explanation(KEY, map_fn, logits_fn, victim, map_fn(target), **settings)
    )(victim, target)
    assert int(jnp.argmax(own.logits(adversarial))) == 0
    assert bool(info.label_kept)
    assert 0 < int(info.best_step) < SETTINGS["num_steps"], "no visited image lost the label: the trap is not one"


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


# Sign steps, restarts, the whole softmax, repair.


def test_sign_steps_walk_straight_where_the_sign_is_known() -> None:
    # Two pixels, target out of reach: the first grows and the second falls by the learning rate at every step.
    victim = jnp.asarray(two_pixels.VICTIM)
    oracle = two_pixels.quadratic()
    map_fn = explain.make_map_fn("gradient", oracle.logits, 0)
    settings = SETTINGS | {"num_steps": 5, "step": "sign", "output_weight": 0.0}
    adversarial, info = attack.attack_explanation(
        KEY, jax.jit(map_fn), oracle.logits, victim, two_pixels.FAR_TARGET, **settings
    )
    np.testing.assert_allclose(np.ravel(adversarial), [0.45, 0.65], atol=1e-6)
    assert int(info.best_step) == 5


def test_more_starts_are_never_worse_and_the_first_one_is_the_same() -> None:
    oracle = oracles.softplus_ridge(seed=1, shape=SHAPE, num_classes=3, num_units=8, beta=30.0)
    map_fn = explain.make_map_fn("gradient", oracle.logits, 0)

    @functools.partial(jax.jit, static_argnames="num_starts")
    def ends(key: Array, victim: Array, target: Array, num_starts: int) -> Any:
        settings = SETTINGS | {"num_steps": 20, "epsilon": 0.2, "num_starts": num_starts}
        adversarial, info = attack.attack_explanation(key, map_fn, oracle.logits, victim, map_fn(target), **settings)
        return jnp.mean((map_fn(adversarial) - map_fn(target)) ** 2), adversarial, info

    for seed in (5, 6, 7):
        victim, target = images(seed)
        one, many = (ends(jax.random.key(seed), victim, target, count) for count in (1, 4))
        assert many[2].losses.shape == (21,)
        assert float(many[0]) <= float(one[0]) * (1 + 1e-6)
        assert float(jnp.abs(many[1] - victim).max()) <= 0.2 + 1e-6
        assert bool(many[2].label_kept)


def test_softmax_tolerance_limits_the_returned_image() -> None:
    oracle, (victim, target) = diagonal_model(bias=0.5), images(2)

    def change(tolerance: float | None) -> float:
        adversarial, info = run(oracle, victim, target, output_weight=0.0, softmax_tolerance=tolerance)
        assert int(info.best_step) > 0
        outputs = [oracles.softmax(np.asarray(oracle.logits(jnp.asarray(z)))) for z in (victim, adversarial)]
        return float(np.abs(outputs[0] - outputs[1]).max())

    assert change(0.05) <= 0.05 + 1e-6 < change(None)


def test_repair_moves_a_pair_that_the_filter_alone_leaves_where_it_is() -> None:
    # The class is lost at the first step and never comes back: without repair the pair would count as robust.
    logits_fn = two_pixels.quadratic(0.695).logits
    map_fn = jax.jit(explain.make_map_fn("gradient", logits_fn, 0))
    victim, settings = jnp.asarray(two_pixels.VICTIM), SETTINGS | {"epsilon": 0.2, "output_weight": 1.0}
    attacked = jax.jit(
        lambda repair: attack.attack_explanation(
            KEY, map_fn, logits_fn, victim, two_pixels.FAR_TARGET, repair=repair, **settings
        ),
        static_argnums=0,
    )
    stuck, stuck_info = attacked(False)
    np.testing.assert_array_equal(stuck, victim)
    assert int(stuck_info.best_step) == 0
    moved, info = attacked(True)
    assert bool(info.label_kept)
    assert float(moved[0, 1, 0]) >= 0.695 - 1e-6
    best = two_pixels.loss_of_ratio(two_pixels.best_quadratic_ratio(0.2, lowest=0.695))
    end = float(jnp.mean((map_fn(moved) - two_pixels.FAR_TARGET) ** 2))
    assert end == pytest.approx(best, rel=0.02)
    assert end < 0.8 * float(stuck_info.losses[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": "sgd"}, "unknown step 'sgd'"),
        ({"num_starts": 0, "epsilon": 0.1}, "num_starts must be an integer >= 1"),
        ({"num_starts": 2}, "random_start needs a ball"),
        ({"softmax_tolerance": -0.1}, "softmax_tolerance must be a number >= 0"),
    ],
)
def test_bad_new_settings_are_input_errors(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(diagonal_model(), *images(), **change)


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
