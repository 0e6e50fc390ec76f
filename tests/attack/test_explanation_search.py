"""What the attacks on explanations are made of: losses, what must be kept, adaptive search, black box, budgets."""

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
from jsep.attack.explanation_search import DIRECTIONS, adaptive_search, checkpoint_windows
from jsep.attack.explanation_terms import MAP_LOSSES, output_constraint
from jsep.attack.explanation_untargeted import centre_of_mass
from jsep.checks import InputError
from jsep.types import Array

KEY = jax.random.key(0)

MAP_LOSS_ORACLES = {
    "mse": lambda a, b: np.mean((a - b) ** 2),
    "cosine": lambda a, b: 1 - (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()),
    "l1": lambda a, b: np.abs(a - b).sum() / 2,
    "kl": lambda a, b: sum(
        (q + 1 / 6) / 2 * np.log((q + 1 / 6) / (p + 1 / 6)) + (p - q) / 2
        for p, q in zip(a.ravel(), b.ravel(), strict=True)
    ),
}
"""name -> the definition in NumPy, for maps of six pixels; a new loss needs its line."""


def test_every_map_loss_has_its_oracle() -> None:
    assert set(MAP_LOSS_ORACLES) == set(MAP_LOSSES)


@pytest.mark.parametrize("name", MAP_LOSSES)
@pytest.mark.usefixtures("float64")
def test_map_loss_equals_its_definition_and_its_derivative_finite_differences(name: str) -> None:
    loss = jax.jit(jax.value_and_grad(MAP_LOSSES[name]))
    for seed in range(5):
        a, b = np.random.default_rng(seed).exponential(size=(2, 2, 3))
        a, b = a / a.sum(), b / b.sum()
        value, gradient = loss(jnp.asarray(a), jnp.asarray(b))
        assert float(value) == pytest.approx(MAP_LOSS_ORACLES[name](a, b), rel=1e-10)
        expected = oracles.central_difference(lambda m, b=b: MAP_LOSS_ORACLES[name](m, b), a)
        assert oracles.relative_error(gradient, expected) < 1e-6
        assert float(loss(jnp.asarray(b), jnp.asarray(b))[0]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", MAP_LOSSES)
def test_map_loss_has_a_finite_derivative_at_empty_and_equal_maps(name: str) -> None:
    loss = jax.jit(jax.value_and_grad(MAP_LOSSES[name]))
    one_pixel = jnp.zeros((2, 3)).at[0, 0].set(1.0)
    for map_, target in [(one_pixel, one_pixel), (one_pixel, one_pixel[::-1]), (jnp.zeros((2, 3)), one_pixel)]:
        value, gradient = loss(map_, target)
        assert bool(jnp.isfinite(value))
        assert np.all(np.isfinite(gradient))
    # Where the maps are equal nothing pulls.
    np.testing.assert_allclose(loss(one_pixel, one_pixel)[1], 0, atol=1e-6)


@hypothesis.given(st.lists(st.floats(-5, 5, width=32), min_size=3, max_size=3), st.floats(0, 1))
def test_kept_output_equals_its_definition(logits: list[float], tolerance: float) -> None:
    clean = np.array([1.0, 0.5, -1.0], np.float32)
    kept = output_constraint(jnp.asarray(clean), tolerance)
    moved = np.array(logits, np.float32)
    change = np.abs(oracles.softmax(moved) - oracles.softmax(clean)).max()
    assert float(kept.softmax_change(moved)) == pytest.approx(change, abs=1e-6)
    if abs(change - tolerance) > 1e-5:
        assert bool(kept.holds(moved)) == (np.argmax(moved) == 0 and change <= tolerance)
    if np.argmax(moved) != 0:
        assert float(kept.excess(moved)) == pytest.approx(max(moved[1:]) - moved[0], abs=1e-6)


def test_checkpoints_are_the_published_ones() -> None:
    windows = checkpoint_windows(100)
    assert np.flatnonzero(windows).tolist() == [22, 41, 57, 70, 80, 87, 93, 99]
    assert windows[[22, 41, 99]].tolist() == [22, 19, 6]
    assert checkpoint_windows(1).tolist() == [0]


def search(logits_fn: Any, victim: Any = two_pixels.VICTIM, start: Any = None, **settings: Any) -> Any:
    map_fn = explain.make_map_fn("gradient", logits_fn, 0)

    def judge(map_: Array) -> Array:
        return MAP_LOSSES["mse"](map_, two_pixels.FAR_TARGET)

    settings = {"objective": judge, "judge": judge, "norm": attack.NORMS["linf"], "num_steps": 60} | settings

    @jax.jit
    def run(victim: Array, start: Array, epsilon: Array) -> Any:
        kept = output_constraint(logits_fn(victim))
        return adaptive_search(map_fn, logits_fn, kept, victim, start, epsilon=epsilon, **settings)

    victim = jnp.asarray(victim)
    return run(victim, victim if start is None else start, 0.1)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("norm", attack.NORMS)
def test_direction_has_unit_size_and_raises_the_objective(norm: str, direction: str) -> None:
    ball, to_direction = attack.NORMS[norm], jax.jit(DIRECTIONS[direction], static_argnums=0)
    for seed, scale in enumerate((1e-25, 1e-3, 1e20)):
        gradient = jnp.asarray(np.random.default_rng(seed).normal(size=(3, 4, 2)) * scale, jnp.float32)
        unit = to_direction(ball, gradient)
        assert float(ball.size(unit)) == pytest.approx(1, rel=1e-5)
        assert float(jnp.sum(unit * (gradient / scale))) > 0
    np.testing.assert_array_equal(to_direction(ball, jnp.zeros((3, 4, 2))), 0)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_adaptive_search_reaches_the_closed_form(direction: str) -> None:
    best, losses = search(two_pixels.quadratic().logits, direction=DIRECTIONS[direction])
    expected = two_pixels.loss_of_ratio(two_pixels.best_quadratic_ratio(0.1))
    assert float(best.loss) == pytest.approx(expected, rel=1e-5)
    assert losses.shape == (60,)
    assert float(losses[0]) == pytest.approx(two_pixels.loss_of_ratio(two_pixels.best_quadratic_ratio(0.0)), rel=1e-5)
    np.testing.assert_allclose(np.ravel(best.image), [0.5, 0.6], atol=1e-6)


def test_fixed_step_makes_the_published_iteration() -> None:
    best, losses = search(two_pixels.quadratic().logits, alpha=0.01, num_steps=4)
    ratios = [(0.4 + 0.01 * i) / (0.6 * (0.7 - 0.01 * i)) for i in range(4)]
    np.testing.assert_allclose(losses, [two_pixels.loss_of_ratio(r) for r in ratios], rtol=1e-5)
    np.testing.assert_allclose(np.ravel(best.image), [0.43, 0.67], atol=1e-6)


def test_search_that_starts_behind_the_boundary_comes_back() -> None:
    # At the start class 1 leads; steps on the map alone would go on downwards.
    start = jnp.asarray([0.4, 0.6]).reshape(two_pixels.SHAPE)
    logits_fn = two_pixels.quadratic(0.65).logits
    assert int(jnp.argmax(logits_fn(start))) == 1
    best, _ = search(logits_fn, start=start)
    expected = two_pixels.loss_of_ratio(two_pixels.best_quadratic_ratio(0.1, lowest=0.65))
    assert float(best.loss) == pytest.approx(expected, rel=1e-2)
    assert float(best.image[0, 1, 0]) >= 0.65 - 1e-6


# Black box.


@pytest.mark.parametrize("norm", ["linf", pytest.param("l2", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "num_steps"), [("evolution", 60), ("random_search", 400)])
def test_black_box_finds_the_optimum_of_a_small_quadratic(name: str, num_steps: int, norm: str) -> None:
    logits_fn = two_pixels.quadratic(0.65).logits
    map_fn = explain.make_map_fn("gradient", logits_fn, 0)

    @jax.jit
    def run(victim: Array, epsilon: Array) -> Any:
        return attack.attack_explanation_black_box(
            KEY, map_fn, logits_fn, victim, two_pixels.FAR_TARGET,
            search=name, norm=norm, epsilon=epsilon, num_steps=num_steps,
        )  # fmt: skip

    epsilon = 0.04
    adversarial, info = run(two_pixels.VICTIM, epsilon)
    best = two_pixels.loss_of_ratio(two_pixels.best_quadratic_ratio(epsilon, norm))
    start = two_pixels.loss_of_ratio(two_pixels.best_quadratic_ratio(0.0))
    assert best * (1 - 1e-5) <= float(info.losses[-1]) < best + 0.02 * (start - best)
    assert np.all(np.diff(info.losses) <= 0)
    assert info.losses.shape == (num_steps + 1,)
    assert int(info.num_queries) == 1 + num_steps * (20 if name == "evolution" else 1)
    assert bool(info.label_kept)
    assert float(info.distance) <= epsilon * (1 + 1e-5)
    # With a larger budget the boundary holds it: x_1 stays at 0.65 or above.
    adversarial, info = run(two_pixels.VICTIM, 0.2)
    assert float(adversarial[0, 1, 0]) >= 0.65 - 1e-6
    assert float(info.losses[-1]) < best
    clean, info = run(two_pixels.VICTIM, 0.0)
    np.testing.assert_array_equal(clean, two_pixels.VICTIM)


def test_black_box_needs_no_derivative() -> None:
    logits_fn = two_pixels.quadratic().logits

    def occluded(image: Array) -> Array:
        drops = jnp.stack([logits_fn(image)[0] - logits_fn(image.at[0, i, 0].set(0.0))[0] for i in range(2)])
        return jax.lax.stop_gradient(drops / jnp.sum(drops)).reshape(1, 2)

    _, info = jax.jit(
        lambda victim: attack.attack_explanation_black_box(
            KEY, occluded, logits_fn, victim, two_pixels.FAR_TARGET, epsilon=0.1, num_steps=20
        )
    )(two_pixels.VICTIM)
    assert float(info.losses[-1]) < 0.9 * float(info.losses[0])


# Untargeted and ranked.


def test_mass_centre_equals_a_sum_over_pixels() -> None:
    map_ = np.random.default_rng(0).exponential(size=(3, 4)).astype(np.float32)
    expected = np.zeros(2)
    for row in range(3):
        for column in range(4):
            expected += map_[row, column] * np.array([row, column])
    np.testing.assert_allclose(centre_of_mass(jnp.asarray(map_)), expected / map_.sum(), rtol=1e-5)
    np.testing.assert_allclose(centre_of_mass(jnp.zeros((3, 4))), [1.0, 1.5])


def test_ranking_objectives_equal_plain_numpy() -> None:
    own, moved = np.random.default_rng(1).exponential(size=(2, 3, 4)).astype(np.float32)
    own, moved = own / own.sum(), moved / moved.sum()
    largest = sorted(range(12), key=lambda i: -own.ravel()[i])[:5]
    centres = [np.array([(m.sum(1) * np.arange(3)).sum(), (m.sum(0) * np.arange(4)).sum()]) for m in (own, moved)]
    expected = {
        "top_k": sum(moved.ravel()[i] for i in largest),
        "centre_of_mass": -((centres[0] - centres[1]) ** 2).sum(),
        "distance": -np.mean((own - moved) ** 2),
        "cosine": (own * moved).sum() / np.sqrt((own**2).sum() * (moved**2).sum()),
    }
    assert set(expected) == set(attack.UNTARGETED_OBJECTIVES)
    for name, value in expected.items():
        found = attack.UNTARGETED_OBJECTIVES[name](jnp.asarray(own), 5)(jnp.asarray(moved))
        assert float(found) == pytest.approx(float(value), rel=1e-5), name


def ranking(logits_fn: Any, shape: tuple[int, int, int] = two_pixels.SHAPE, **settings: Any) -> Any:
    map_fn = explain.make_map_fn("gradient", logits_fn, 0)
    settings = {"epsilon": 0.1, "num_steps": 40} | settings
    return jax.jit(lambda key, image: attack.untargeted_explanation_attack(key, map_fn, logits_fn, image, **settings))


def test_top_k_attack_reaches_the_closed_form() -> None:
    # The largest pixel of (0.4, 0.42) / 0.82 is the second: its share is least at (0.5, 0.6).
    adversarial, info = ranking(two_pixels.quadratic().logits)(KEY, two_pixels.VICTIM)
    np.testing.assert_allclose(np.ravel(adversarial), [0.5, 0.6], atol=1e-6)
    assert float(info.objective_end) == pytest.approx(0.36 / 0.86, rel=1e-5)
    assert float(info.objective_start) == pytest.approx(0.42 / 0.82, rel=1e-5)


def test_ranking_attack_with_fixed_steps_is_the_published_loop() -> None:
    rng = np.random.default_rng(0)
    diagonal, image = rng.uniform(0.5, 2, 12), rng.uniform(0.2, 0.8, 12)
    model = oracles.Quadratic(np.stack([np.diag(diagonal), -np.diag(diagonal)]), np.zeros(2))
    adversarial, _ = ranking(model.logits, k=4, alpha=0.01, num_steps=8, epsilon=0.05, random_start=False)(
        KEY, jnp.asarray(image.reshape(3, 4, 1), jnp.float32)
    )
    # By hand: the share of the top pixels falls where they fall and the others rise; the best of 8 visited is the last.
    entries = diagonal * image
    top = np.argsort(-entries)[:4]
    z = image.copy()
    for _ in range(7):
        z = np.clip(image + np.clip(z + 0.01 * np.where(np.isin(np.arange(12), top), -1, 1) - image, -0.05, 0.05), 0, 1)
    np.testing.assert_allclose(np.ravel(adversarial), z, atol=1e-5)


@pytest.mark.parametrize(
    "objective",
    [
        "centre_of_mass",
        *(pytest.param(o, marks=pytest.mark.slow) for o in attack.UNTARGETED_OBJECTIVES if o != "centre_of_mass"),
    ],
)
def test_untargeted_attack_beats_random_signs_keeps_the_label_and_the_ball(objective: str) -> None:
    logits_fn = oracles.softplus_ridge(seed=1, shape=(3, 4, 2), num_units=6, beta=8.0).logits
    image = jnp.asarray(np.random.default_rng(2).uniform(0.1, 0.9, (3, 4, 2)), jnp.float32)
    results = {
        signs: ranking(logits_fn, objective=objective, k=3, random_signs=signs)(KEY, image) for signs in (False, True)
    }
    for adversarial, info in results.values():
        assert float(jnp.abs(adversarial - image).max()) <= 0.1 + 1e-6
        assert int(jnp.argmax(logits_fn(adversarial))) == int(jnp.argmax(logits_fn(image)))
        assert bool(info.label_kept)
        assert float(info.objective_end) <= float(info.objective_start)
    assert float(results[False][1].objective_end) < float(results[True][1].objective_end)


def test_zero_budget_leaves_the_own_map() -> None:
    adversarial, info = ranking(two_pixels.quadratic().logits, epsilon=0.0, num_steps=3)(KEY, two_pixels.VICTIM)
    np.testing.assert_array_equal(adversarial, two_pixels.VICTIM)
    assert float(info.objective_end) == float(info.objective_start)


LOGITS_FN = two_pixels.quadratic().logits
MAP_FN = explain.make_map_fn("gradient", LOGITS_FN, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x, t: attack.untargeted_explanation_attack(KEY, MAP_FN, LOGITS_FN, x, epsilon=0.1, num_steps=1, k=3),
            "at most the 2",
        ),
        (
            lambda x, t: attack.untargeted_explanation_attack(
                KEY, MAP_FN, LOGITS_FN, x, epsilon=0.1, num_steps=1, objective="topk"
            ),
            "did you mean 'top_k'",
        ),
        (
            lambda x, t: attack.untargeted_explanation_attack(KEY, MAP_FN, LOGITS_FN, x + 1, epsilon=0.1, num_steps=1),
            "pixels in",
        ),
        (
            lambda x, t: attack.attack_explanation_black_box(
                KEY, MAP_FN, LOGITS_FN, x, t, epsilon=0.1, num_steps=1, search="genetic"
            ),
            "unknown search 'genetic'",
        ),
        (
            lambda x, t: attack.attack_explanation_black_box(KEY, MAP_FN, LOGITS_FN, x, t.T, epsilon=0.1, num_steps=1),
            "target_map must have the shape",
        ),
    ],
)
def test_bad_input_is_an_input_error(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(jnp.asarray(two_pixels.VICTIM), two_pixels.FAR_TARGET)
