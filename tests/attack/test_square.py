"""Square: ball, box, monotone margins, and what random search must find on a linear model."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import attack
from jsep.attack.square import _peaks, _sizes
from jsep.checks import InputError
from jsep.types import Array

SHAPE = (6, 5, 2)
ORACLE = oracles.linear(shape=SHAPE, num_classes=4)
KEY = jax.random.key(0)


@functools.partial(jax.jit, static_argnames=("norm", "num_queries"))
def run(key: Array, image: Array, label: Array, epsilon: Array, norm: str, num_queries: int) -> tuple:
    return attack.square(key, ORACLE.logits, image, label, norm=norm, epsilon=epsilon, num_queries=num_queries)


@pytest.mark.parametrize("norm", attack.NORMS)
@hypothesis.given(st.floats(0, 1), st.integers(0, 10**6))
def test_square_stays_in_ball_and_box(norm: str, epsilon: float, seed: int) -> None:
    image = np.random.default_rng(seed).uniform(size=SHAPE).astype(np.float32)
    label = int(np.argmax(ORACLE.logits(image)))
    adversarial, info = run(jax.random.key(seed), image, label, jnp.float32(epsilon), norm, 30)
    found = np.asarray(adversarial, np.float64)
    assert found.min() >= 0
    assert found.max() <= 1
    delta = (found - image).ravel()
    size = np.abs(delta).max() if norm == "linf" else np.linalg.norm(delta)
    assert size <= np.float32(epsilon) + 2e-6
    assert float(info.distance) == pytest.approx(size, abs=1e-6)
    margin = float(attack.margin(ORACLE.logits, label)(adversarial))
    assert float(info.margin) == pytest.approx(margin, abs=1e-4)
    assert bool(info.success) == (int(np.argmax(ORACLE.logits(adversarial))) != label)
    assert info.success or int(info.num_queries) == 31


# Under l2 its windows are never smaller than 3x3, so that it cannot follow weights that change from pixel to pixel.
@pytest.mark.parametrize(("norm", "reach"), [("linf", 0.95), ("l2", 0.5)])
def test_square_nears_the_worst_case_of_a_linear_model(norm: str, reach: float) -> None:
    image = np.random.default_rng(1).uniform(0.4, 0.6, SHAPE).astype(np.float32)
    label = int(np.argmax(ORACLE.logits(image)))
    # A budget that does not suffice: the search goes on to its end.
    epsilon = 0.002 if norm == "linf" else 0.01
    worst = oracles.linear_margin(ORACLE, image, label, epsilon, norm)
    start = oracles.linear_margin(ORACLE, image, label, 0.0, norm)
    assert start < worst < 0
    seen = []
    for num_queries in (0, 2000):
        _, info = run(KEY, image, label, jnp.float32(epsilon), norm, num_queries)
        assert int(info.num_queries) == num_queries + 1
        seen.append(float(info.margin))
    assert seen[1] > seen[0]
    assert start + reach * (worst - start) < seen[1] <= worst + 1e-4


@pytest.mark.parametrize("norm", attack.NORMS)
def test_square_needs_no_gradient(norm: str) -> None:
    """A quantised head: the gradient is zero everywhere, the search goes on over its steps."""

    def quantised(image: Array) -> Array:
        return jnp.round(10 * ORACLE.logits(image)) / 10

    image = np.random.default_rng(1).uniform(0.3, 0.7, SHAPE).astype(np.float32)
    label = int(np.argmax(ORACLE.logits(image)))
    epsilon = 0.15 if norm == "linf" else 0.8
    assert oracles.linear_margin(ORACLE, image, label, epsilon, norm) > 1
    assert not np.any(jax.grad(attack.margin(quantised, label))(jnp.asarray(image)))
    search = jax.jit(lambda z: attack.square(KEY, quantised, z, label, norm=norm, epsilon=epsilon, num_queries=500))
    _, info = search(image)
    assert info.success


def test_sides_of_the_squares_follow_the_published_schedule() -> None:
    image = np.zeros((32, 32, 3))
    assert _sizes(image, 0.8, smallest=1, odd=False).tolist() == [29, 20, 14, 10, 7, 5, 4, 3, 2, 1]
    assert np.all(_sizes(image, 0.8, smallest=3, odd=True) % 2 == 1)
    assert _sizes(np.zeros((4, 6, 1)), 1.0, smallest=3, odd=True).max() <= 4


@pytest.mark.parametrize("side", [1, 2, 3, 5, 9])
def test_peaks_are_two_opposite_hills_of_unit_size(side: int) -> None:
    peaks = _peaks(side)
    assert peaks.shape == (side, side)
    assert np.linalg.norm(peaks) == pytest.approx(1)
    assert np.all(peaks[: side // 2] >= 0)
    assert np.all(peaks[side // 2 :] <= 0)


def test_vmap_equals_a_python_loop() -> None:
    images = np.random.default_rng(3).uniform(size=(3, *SHAPE)).astype(np.float32)
    labels = jnp.argmax(jax.vmap(ORACLE.logits)(images), axis=1)
    keys = jax.random.split(KEY, 3)
    one = functools.partial(run, epsilon=jnp.float32(0.05), norm="linf", num_queries=30)
    batched, info = jax.jit(jax.vmap(one))(keys, images, labels)
    for index in range(3):
        alone, alone_info = one(keys[index], images[index], labels[index])
        np.testing.assert_allclose(batched[index], alone, rtol=0, atol=1e-6)
        assert int(info.num_queries[index]) == int(alone_info.num_queries)


def test_bad_settings_are_input_errors() -> None:
    arguments = KEY, ORACLE.logits, np.full(SHAPE, 0.5), 0
    with pytest.raises(InputError, match="p_init is a share of the pixels and must be in"):
        attack.square(*arguments, epsilon=0.1, p_init=1.5)
    with pytest.raises(InputError, match="num_queries must be an integer >= 0"):
        attack.square(*arguments, epsilon=0.1, num_queries=-1)
    with pytest.raises(InputError, match="unknown norm 'l1'"):
        attack.square(*arguments, epsilon=0.1, norm="l1")
