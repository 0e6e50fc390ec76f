"""Options of the targeted attack on explanations: growth of beta, sign steps, restarts, the whole softmax, repair."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from attack import two_pixels
from attack.diagonal import KEY, SETTINGS, SHAPE, diagonal_model, images, run

from jsep import attack, explain
from jsep.attack.explanation import ExplanationAttackInfo
from jsep.checks import InputError
from jsep.types import Array


def _ridge_attack(**settings: Any) -> tuple[oracles.SoftplusRidge, Any, Any, Array, ExplanationAttackInfo]:
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
