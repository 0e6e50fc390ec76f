"""Stability metrics in closed form on linear and quadratic models, and against NumPy transcriptions."""

from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import evaluate, explain
from jsep.checks import InputError

SHAPE = (3, 4, 2)
KEY = jax.random.key(0)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 0.8, SHAPE).astype(np.float32)


@pytest.fixture(scope="module")
def near() -> np.ndarray:
    return np.asarray(evaluate.neighbours(KEY, image(), radius=0.1, num_samples=12))


@hypothesis.given(st.integers(0, 10**6), st.sampled_from([0.0, 0.05, 0.5]))
def test_neighbours_stay_in_the_ball_and_the_box_and_differ(seed: int, radius: float) -> None:
    drawn = np.asarray(evaluate.neighbours(jax.random.key(seed), image(seed), radius=radius, num_samples=3))
    assert drawn.shape == (3, *SHAPE)
    assert np.abs(drawn - image(seed)).max() <= radius + 1e-6
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    if radius:
        assert np.abs(drawn[0] - drawn[1]).max() > radius / 4


def test_map_of_a_linear_model_is_perfectly_stable(near: np.ndarray) -> None:
    model = oracles.linear(shape=SHAPE)
    map_fn = explain.make_map_fn("gradient", model.logits, 1)
    assert float(jax.jit(lambda z: evaluate.max_sensitivity(map_fn, image(), z))(near)) == 0


def test_max_sensitivity_of_a_quadratic_model_by_hand(near: np.ndarray) -> None:
    """The gradient 2 A x is linear, so the change of a raw map is 2 A (x' - x)."""
    model = oracles.quadratic(shape=SHAPE)
    config = explain.MapConfig(reduce="sum", normalize="none")
    map_fn = explain.make_map_fn("gradient", model.logits, 1, map_config=config)
    changes = [model.gradient((z - image()).astype(np.float64), 1).sum(-1) for z in near]
    expected = max(np.linalg.norm(c) for c in changes) / np.linalg.norm(model.gradient(image(), 1).sum(-1))
    for chunk_size in (5, 64):
        actual = jax.jit(lambda z, c=chunk_size: evaluate.max_sensitivity(map_fn, image(), z, chunk_size=c))(near)
        assert float(actual) == pytest.approx(expected, rel=1e-4)
    # The definition divides by the map's own size; a map of zeros by 1.
    assert float(evaluate.max_sensitivity(lambda z: z[..., 0] - image()[..., 0], image(), near)) == pytest.approx(
        max(np.linalg.norm((z - image())[..., 0]) for z in near), rel=1e-4
    )


def stability_by_definition(pieces: Any, near: np.ndarray, minimum: float = 1e-6) -> tuple[float, float, float, int]:
    map_fn, logits_fn, features_fn = pieces
    largest, count = np.zeros(3), 0

    def relative(of: np.ndarray, other: np.ndarray) -> float:
        return np.linalg.norm((of - other) / np.where(of == 0, minimum, of))

    for neighbour in near:
        if np.argmax(logits_fn(neighbour)) != np.argmax(logits_fn(image())):
            continue
        count += 1
        change = relative(map_fn(image()), map_fn(neighbour))
        below = (
            relative(image(), neighbour),
            np.linalg.norm(logits_fn(image()) - logits_fn(neighbour)),
            relative(features_fn(image()), features_fn(neighbour)),
        )
        largest = np.maximum(largest, [change / max(value, minimum) for value in below])
    return (*largest, count)


def pieces(margin: float) -> tuple[tuple, tuple]:
    """Linear logits whose class changes for some neighbours when the margin is small; a quadratic map."""
    weights = np.random.default_rng(1).normal(size=(2, *SHAPE)).astype(np.float32)
    bias = np.array([margin - (weights[0] * image()).sum(), -(weights[1] * image()).sum()], np.float32)

    def for_library(xp: Any) -> tuple:
        return (
            lambda z: (z**2).sum(-1),
            lambda z: xp.tensordot(xp.asarray(weights), z, 3) + xp.asarray(bias),
            lambda z: xp.exp(z).reshape(-1)[:5],
        )

    return for_library(jnp), for_library(np)


@pytest.mark.parametrize(("margin", "all_kept"), [(5.0, True), (0.2, False)])
def test_relative_stability_equals_its_definition(margin: float, all_kept: bool, near: np.ndarray) -> None:
    ours, theirs = pieces(margin)
    expected = stability_by_definition(theirs, near)
    assert (expected[3] == len(near)) == all_kept
    assert expected[3] > 0
    for chunk_size in (5, 64):
        actual = jax.jit(lambda z, c=chunk_size: evaluate.relative_stability(*ours, image(), z, chunk_size=c))(near)
        np.testing.assert_allclose([float(v) for v in actual], expected, rtol=1e-4)


def test_relative_stability_without_a_kept_neighbour_is_nan(near: np.ndarray) -> None:
    ours, _ = pieces(5.0)
    flips = lambda z: jnp.where(jnp.all(z == image()), jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))  # noqa: E731
    actual = jax.jit(lambda z: evaluate.relative_stability(ours[0], flips, ours[2], image(), z))(near)
    assert int(actual.num_kept) == 0
    assert np.isnan([float(v) for v in actual[:3]]).all()


def test_black_pixels_make_the_input_stability_small() -> None:
    """The weakness that the docstring states, with its size."""
    ours, _ = pieces(5.0)
    black = image()
    black[..., 0] = 0
    values = []
    for start in (image(), black):
        drawn = evaluate.neighbours(KEY, start, radius=0.1, num_samples=12)
        kept = lambda z: jnp.array([1.0, 0.0])  # noqa: E731
        values.append(float(evaluate.relative_stability(ours[0], kept, ours[2], start, drawn).to_input))
    assert values[1] < 1e-2 * values[0]


def test_bad_settings_are_input_errors(near: np.ndarray) -> None:
    with pytest.raises(InputError, match="radius must be a number >= 0, got -1"):
        evaluate.neighbours(KEY, image(), radius=-1, num_samples=2)
    with pytest.raises(InputError, match="num_samples must be an integer >= 1, got 0"):
        evaluate.neighbours(KEY, image(), radius=0.1, num_samples=0)
    with pytest.raises(InputError, match="minimum must be a number > 0, got 0"):
        evaluate.relative_stability(*pieces(5.0)[0], image(), near, minimum=0)
    with pytest.raises(InputError, match="chunk_size"):
        evaluate.max_sensitivity(pieces(5.0)[0][0], image(), near, chunk_size=0)
