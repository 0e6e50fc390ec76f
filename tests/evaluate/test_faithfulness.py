"""Deletion, insertion and ROAD in closed form on linear models, and against NumPy transcriptions."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import evaluate
from jsep.checks import InputError
from jsep.evaluate import faithfulness
from jsep.evaluate.faithfulness import pixel_ranks

SHAPE = (3, 4, 2)
N = 12
KEY = jax.random.key(0)
MODEL = oracles.linear(shape=SHAPE)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 0.9, SHAPE).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


def probability(z: np.ndarray, label: int = 1) -> float:
    return float(softmax(np.tensordot(MODEL.weights, z, 3) + MODEL.bias)[label])


def test_pixel_ranks_begin_at_the_largest_and_ties_are_in_reading_order() -> None:
    map_ = np.array([[1, 3, 3], [0, 7, 1]], np.float32)
    np.testing.assert_array_equal(pixel_ranks(jnp.asarray(map_)), [[3, 1, 2], [5, 0, 4]])


@functools.partial(jax.jit, static_argnames=("deletes", "num_steps", "chunk_size"))
def curve(z, map_, baseline, deletes, num_steps, chunk_size=64):
    function = evaluate.deletion_curve if deletes else evaluate.insertion_curve
    return function(MODEL.logits, z, 1, map_, baseline=baseline, num_steps=num_steps, chunk_size=chunk_size)


@hypothesis.given(st.integers(0, 10**6), st.sampled_from([1, 5, 12]))
def test_curves_equal_the_loop_over_steps(seed: int, num_steps: int) -> None:
    rng = np.random.default_rng(seed)
    z, baseline = image(seed), rng.uniform(size=SHAPE).astype(np.float32)
    map_ = rng.integers(0, 5, SHAPE[:2]).astype(np.float32)  # with ties
    order = np.argsort(-map_.ravel(), kind="stable")
    for deletes in (True, False):
        shown, instead = (z, baseline) if deletes else (baseline, z)
        expected = []
        for step in range(num_steps + 1):
            changed = shown.reshape(N, -1).copy()
            first = order[: step * N // num_steps]
            changed[first] = instead.reshape(N, -1)[first]
            expected.append(probability(changed.reshape(SHAPE)))
        np.testing.assert_allclose(curve(z, map_, baseline, deletes, num_steps), expected, atol=1e-5)


@pytest.mark.parametrize("deletes", [True, False])
def test_no_order_is_better_than_the_contributions_of_a_linear_model(deletes: bool) -> None:
    """With two classes the probability of a linear model is monotone in the sum of the contributions, so their order
    is the best of all."""
    weights = np.zeros((2, *SHAPE), np.float32)
    weights[1] = np.random.default_rng(1).normal(size=SHAPE)
    two = oracles.Linear(weights, np.zeros(2, np.float32))
    contributions = (weights[1] * image()).sum(-1)
    function = evaluate.deletion_curve if deletes else evaluate.insertion_curve
    area = jax.jit(lambda map_: evaluate.area_under_curve(function(two.logits, image(), 1, map_, num_steps=N)))
    best = float(area(jnp.asarray(contributions)))
    worst = float(area(jnp.asarray(-contributions)))
    rng = np.random.default_rng(0)
    others = [float(area(rng.permutation(contributions.ravel()).reshape(contributions.shape))) for _ in range(20)]
    if deletes:
        assert best < min(others) <= max(others) < worst
    else:
        assert best > max(others) >= min(others) > worst


def test_curves_do_not_depend_on_the_chunk_size_and_begin_and_end_where_they_must() -> None:
    map_ = np.random.default_rng(0).uniform(size=SHAPE[:2]).astype(np.float32)
    zero = np.zeros(SHAPE, np.float32)
    for deletes, (first, last) in [(True, (image(), zero)), (False, (zero, image()))]:
        whole = np.asarray(curve(image(), map_, zero, deletes, 12))
        np.testing.assert_allclose(whole, curve(image(), map_, zero, deletes, 12, chunk_size=5), rtol=1e-6)
        assert whole[[0, -1]] == pytest.approx([probability(first), probability(last)], abs=1e-5)


def test_area_under_is_the_trapezoidal_rule() -> None:
    assert float(evaluate.area_under_curve(jnp.array([0.0, 1.0]))) == 0.5
    assert float(evaluate.area_under_curve(jnp.array([1.0, 1.0, 1.0]))) == 1
    values = np.random.default_rng(0).uniform(size=7)
    expected = np.trapezoid(values, np.linspace(0, 1, 7))
    assert float(evaluate.area_under_curve(jnp.asarray(values))) == pytest.approx(expected, rel=1e-6)


def test_adversarial_insertion_is_the_loss_of_area() -> None:
    map_, other = np.random.default_rng(0).uniform(size=(2, *SHAPE[:2])).astype(np.float32)
    loss = jax.jit(lambda a, b: evaluate.adversarial_insertion(MODEL.logits, image(), 1, a, b, num_steps=6))
    areas = [
        np.trapezoid(np.asarray(curve(image(), m, np.zeros(SHAPE, np.float32), False, 6)), dx=1 / 6)
        for m in (map_, other)
    ]
    assert float(loss(map_, other)) == pytest.approx(areas[1] - areas[0], abs=1e-6)
    assert float(loss(map_, map_)) == 0


def imputed_by_definition(z: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Rong et al. 2022: a missing pixel equals the weighted mean of its neighbours inside the image."""
    height, width, _ = z.shape
    system, right = np.eye(height * width), z.reshape(-1, z.shape[-1]).astype(np.float64).copy()
    for row, column in np.argwhere(missing):
        here = row * width + column
        right[here] = 0
        weights = {}
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                r, c = row + down, column + across
                if (down or across) and 0 <= r < height and 0 <= c < width:
                    weights[r * width + c] = 1 / 6 if 0 in (down, across) else 1 / 12
        for there, weight in weights.items():
            system[here, there] -= weight / sum(weights.values())
    return np.linalg.solve(system, right).reshape(z.shape)


impute = jax.jit(faithfulness.impute)


@hypothesis.given(st.integers(0, 10**6), st.floats(0, 0.9))
def test_impute_solves_its_equations_and_leaves_known_pixels(seed: int, share: float) -> None:
    missing = np.random.default_rng(seed).uniform(size=SHAPE[:2]) < share
    missing.flat[seed % N] = False
    filled = np.asarray(impute(image(seed), missing))
    np.testing.assert_allclose(filled, imputed_by_definition(image(seed), missing), atol=1e-5)
    np.testing.assert_allclose(filled[~missing], image(seed)[~missing], atol=1e-6)
    # A maximum principle: a mean of known values.
    assert filled.min() >= image(seed).min() - 1e-5
    assert filled.max() <= image(seed).max() + 1e-5


@pytest.mark.parametrize("least_first", [False, True])
def test_road_curve_imputes_the_first_pixels(least_first: bool) -> None:
    map_ = np.random.default_rng(2).uniform(size=SHAPE[:2]).astype(np.float32)

    @functools.partial(jax.jit, static_argnames=("noise", "chunk_size"))
    def road(noise, chunk_size=1):
        return evaluate.road_curve(
            KEY, MODEL.logits, image(), 1, map_, num_steps=4, sigma=noise, least_first=least_first,
            chunk_size=chunk_size,
        )  # fmt: skip

    order = np.argsort(map_.ravel() if least_first else -map_.ravel())
    expected = []
    for count in (0, 3, 6, 9):
        missing = np.zeros(N, bool)
        missing[order[:count]] = True
        expected.append(probability(imputed_by_definition(image(), missing.reshape(SHAPE[:2]))))
    np.testing.assert_allclose(road(0.0), expected, atol=1e-5)
    np.testing.assert_allclose(road(0.1), road(0.1, chunk_size=3), atol=1e-5)
    assert float(road(0.1)[0]) == pytest.approx(expected[0], abs=1e-6)
    assert np.abs(road(0.1)[1:] - np.asarray(expected[1:])).min() > 0


def test_wrong_sizes_and_counts_are_input_errors() -> None:
    for function in (evaluate.deletion_curve, evaluate.insertion_curve, functools.partial(evaluate.road_curve, KEY)):
        with pytest.raises(InputError, match=r"expected a map of the image's \(3, 4\) pixels, got \(4, 3\)"):
            function(MODEL.logits, image(), 1, np.zeros((4, 3), np.float32))
        with pytest.raises(InputError, match="num_steps must be an integer >= 1, got 0"):
            function(MODEL.logits, image(), 1, np.zeros((3, 4), np.float32), num_steps=0)


def test_road_at_the_size_of_imagenet_needs_little_memory() -> None:
    """Compiled, not run: one dense system of 224 x 224 pixels would take 10 GiB."""
    weights = jnp.ones((3, 2))
    road = jax.jit(
        lambda z, m: evaluate.road_curve(KEY, lambda x: x.mean((0, 1)) @ weights, z, 0, m, num_steps=4, chunk_size=4)
    )
    wide = jax.ShapeDtypeStruct((224, 224, 3), jnp.float32), jax.ShapeDtypeStruct((224, 224), jnp.float32)
    assert road.lower(*wide).compile().memory_analysis().temp_size_in_bytes < 2**28


def test_pixel_counts_of_a_curve_do_not_overflow() -> None:
    counts = np.asarray(faithfulness._counts(5, 4, 2**30))
    assert counts.tolist() == [0, 2**28, 2**29, 3 * 2**28, 2**30]


def test_nothing_is_imputed_where_everything_is_missing() -> None:
    assert np.all(np.isnan(impute(image(), np.ones(SHAPE[:2], bool))))
