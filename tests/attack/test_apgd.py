"""FGSM, PGD with restarts and Auto-PGD: closed forms, the published schedule, the early end."""

from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import attack
from jsep.attack.apgd import ApgdInfo, checkpoints
from jsep.checks import InputError
from jsep.types import Array

SHAPE = (3, 4, 2)
ROUNDING = 1.2e-7
KEY = jax.random.key(0)


def image_of(seed: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, SHAPE).astype(np.float32)


def wavy(image: Array) -> Array:
    """Not convex, not monotone."""
    return jnp.sum(jnp.sin(7 * image) * jnp.roll(image, 1, axis=1)) + jnp.sum(image**2)


@jax.jit
def both_norms(key: Array, image: Array, epsilon: Array) -> dict[str, tuple[Array, ApgdInfo]]:
    return {norm: attack.apgd(key, wavy, image, norm=norm, epsilon=epsilon, num_steps=15) for norm in attack.NORMS}


@hypothesis.given(st.floats(0, 1), st.integers(0, 10**6))
def test_apgd_stays_in_ball_and_box_and_keeps_its_best(epsilon: float, seed: int) -> None:
    image = image_of(seed)
    for norm, (adversarial, info) in both_norms(jax.random.key(seed), image, jnp.float32(epsilon)).items():
        found = np.asarray(adversarial, np.float64)
        assert found.min() >= 0
        assert found.max() <= 1
        delta = (found - image).ravel()
        size = np.abs(delta).max() if norm == "linf" else np.linalg.norm(delta)
        slack = ROUNDING if norm == "linf" else ROUNDING * 24**0.5 + 3e-7 * epsilon
        assert size <= np.float32(epsilon) + slack
        assert np.all(np.diff(info.objectives) >= 0)
        assert float(info.objectives[-1]) == pytest.approx(float(wavy(adversarial)), rel=1e-4)
        assert int(info.num_steps) == 15
        rise = float(wavy(adversarial)) - float(wavy(image))
        assert bool(info.success) == (rise > 0) or abs(rise) < 1e-4
        if epsilon == 0:
            np.testing.assert_array_equal(adversarial, image)


def test_checkpoints_are_the_published_ones() -> None:
    is_checkpoint, lengths = checkpoints(100)
    assert np.flatnonzero(is_checkpoint).tolist() == [end - 1 for end in (22, 41, 57, 70, 80, 87, 93, 99)]
    assert lengths[is_checkpoint].tolist() == [22, 19, 16, 13, 10, 7, 6, 6]
    for num_steps in (1, 2, 7, 20):
        is_checkpoint, lengths = checkpoints(num_steps)
        assert len(is_checkpoint) == num_steps
        assert lengths[is_checkpoint].sum() <= num_steps


@pytest.mark.parametrize("norm", attack.NORMS)
def test_apgd_reaches_the_worst_case_of_a_linear_objective(norm: str) -> None:
    oracle = oracles.linear()
    image = image_of(1) if norm == "linf" else image_of(1, 0.4, 0.6)
    run = jax.jit(lambda z: attack.apgd(KEY, lambda x: oracle.logits(x)[1], z, norm=norm, epsilon=0.2, num_steps=40))
    adversarial, info = run(image)
    expected = oracles.worst_linear(oracle.weights[1], image, 0.2, norm)
    np.testing.assert_allclose(adversarial, expected, rtol=0, atol=1e-4 if norm == "l2" else 2 * ROUNDING)
    assert float(info.distance) == pytest.approx(0.2 if norm == "l2" else np.abs(expected - image).max(), rel=1e-5)


@pytest.mark.parametrize("norm", attack.NORMS)
def test_apgd_reaches_an_optimum_inside_the_ball_that_fixed_steps_walk_around(norm: str) -> None:
    image, optimum = image_of(2, 0.3, 0.7), image_of(2, 0.3, 0.7) + 0.02 * np.sign(image_of(3) - 0.5)
    epsilon = 0.1 if norm == "linf" else 0.5

    def objective(z: Array) -> Array:
        return -jnp.sum((z - optimum) ** 2)

    _, info = jax.jit(lambda z: attack.apgd(KEY, objective, z, norm=norm, epsilon=epsilon, num_steps=100))(image)
    fixed, _ = jax.jit(
        lambda z: attack.pgd(KEY, objective, z, norm=norm, epsilon=epsilon, alpha=epsilon / 4, num_steps=100)
    )(image)
    assert float(info.objectives[-1]) > 0.1 * float(objective(fixed))


def test_apgd_with_success_ends_at_the_first_misclassified_image() -> None:
    oracle, image = oracles.linear(num_classes=5), image_of(3)
    label = int(np.argmax(oracle.logits(image)))
    objective = attack.dlr(oracle.logits, label)

    @jax.jit
    def run(epsilon: Array) -> tuple[Array, ApgdInfo]:
        return attack.apgd(KEY, objective, image, epsilon=epsilon, num_steps=30, stop_at_success=True)

    seen = set()
    for epsilon in (0.0, 0.01, 0.1, 0.3):
        adversarial, info = run(jnp.float32(epsilon))
        assert bool(info.success) == (int(np.argmax(oracle.logits(adversarial))) != label)
        assert bool(info.success) == (oracles.linear_margin(oracle, image, label, epsilon, "linf") > 0)
        assert (int(info.num_steps) < 30) == bool(info.success)
        seen.add(bool(info.success))
    assert seen == {True, False}


def test_vmap_equals_a_python_loop_though_the_images_end_at_different_steps() -> None:
    oracle = oracles.linear(num_classes=5)
    images = np.stack([image_of(seed) for seed in range(4)])
    labels = jnp.argmax(jax.vmap(oracle.logits)(images), axis=1)

    def one(key: Array, image: Array, label: Array) -> Any:
        objective = attack.margin(oracle.logits, label)
        return attack.apgd(key, objective, image, epsilon=0.08, num_steps=12, stop_at_success=True)

    keys = jax.random.split(KEY, 4)
    alone = jax.jit(one)
    batched, info = jax.jit(jax.vmap(one))(keys, images, labels)
    assert len(set(info.num_steps.tolist())) > 1
    for index in range(4):
        expected, expected_info = alone(keys[index], images[index], labels[index])
        np.testing.assert_allclose(batched[index], expected, rtol=0, atol=1e-6)
        assert int(info.num_steps[index]) == int(expected_info.num_steps)
        np.testing.assert_allclose(info.objectives[index], expected_info.objectives, rtol=1e-5)


def test_compile_size_does_not_grow_with_the_number_of_steps() -> None:
    def num_lines(steps: int) -> int:
        jaxpr = jax.make_jaxpr(lambda z: attack.apgd(KEY, wavy, z, epsilon=0.1, num_steps=steps)[0])(image_of(0))
        # The schedule is a constant of one line a row.
        return sum("dtype=" not in line for line in str(jaxpr).splitlines())

    assert num_lines(20) == num_lines(200)


@pytest.mark.parametrize("norm", attack.NORMS)
def test_fgsm_is_the_worst_case_of_a_linear_model_in_one_step(norm: str) -> None:
    oracle = oracles.linear(num_classes=2)
    image = image_of(5) if norm == "linf" else image_of(5, 0.4, 0.6)
    objective = attack.cross_entropy(oracle.logits, 0)
    adversarial, info = attack.fgsm(objective, jnp.asarray(image), norm=norm, epsilon=0.15)
    expected = oracles.worst_linear(oracle.weights[1] - oracle.weights[0], image, 0.15, norm)
    np.testing.assert_allclose(adversarial, expected, rtol=0, atol=3e-7)
    assert bool(info.success) == (int(np.argmax(oracle.logits(adversarial))) != 0)


def test_more_restarts_never_end_lower_and_the_first_is_the_run_without() -> None:
    images = np.stack([image_of(seed) for seed in range(6)])

    def ends(num_starts: int) -> Array:
        def one(image: Array) -> Array:
            adversarial, info = attack.pgd(KEY, wavy, image, epsilon=0.2, alpha=0.1, num_steps=3, num_starts=num_starts)
            assert info.objectives.shape == (3,)
            return wavy(adversarial)

        return jax.jit(jax.vmap(one))(images)

    one, two, six = ends(1), ends(2), ends(6)
    assert np.all(one <= two + 1e-5)
    assert np.all(two <= six + 1e-5)
    assert np.any(six > one + 1e-2)
    image = images[0]
    with pytest.raises(InputError, match="2 starts at one image are all the same: pass random_start=True"):
        attack.pgd(KEY, wavy, image, epsilon=0.3, alpha=0.1, num_steps=3, random_start=False, num_starts=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 8}, r"did you mean 8/255\?"),
        ({"num_steps": -1}, "num_steps must be an integer >= 0"),
        ({"norm": "l3"}, "unknown norm 'l3'"),
    ],
)
def test_bad_settings_are_input_errors(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        attack.apgd(KEY, wavy, image_of(0), **({"epsilon": 0.1, "num_steps": 2} | change))
    with pytest.raises(InputError, match=r"image must be one \(H, W, C\) image"):
        attack.fgsm(wavy, jnp.zeros((2, 3, 4, 2)), epsilon=0.1)
