"""Map metrics against hand-computed cases and their identities."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jsep import evaluate
from jsep.checks import InputError

SHAPE = (3, 4)
N = 12
ONE_PIXEL = np.eye(1, N, 5, dtype=np.float32).reshape(SHAPE)
OTHER_PIXEL = np.eye(1, N, 7, dtype=np.float32).reshape(SHAPE)
UNIFORM = np.full(SHAPE, 1 / N, np.float32)
ZERO = np.zeros(SHAPE, np.float32)


def make_map(seed: int, concentration: float) -> np.ndarray:
    """A non-negative map that sums to 1, from nearly one pixel to nearly uniform."""
    values = np.random.default_rng(seed).gamma(concentration, size=SHAPE) + 1e-30
    return (values / values.sum()).astype(np.float32)


maps = st.builds(make_map, st.integers(0, 10**6), st.sampled_from([0.05, 0.3, 1.0, 10.0]))


@hypothesis.given(maps, maps)
def test_spearman_equals_scipy_and_ignores_increasing_functions(first: np.ndarray, second: np.ndarray) -> None:
    first = np.round(first, 1)  # ties
    expected = 0.0 if np.ptp(first) == 0 else scipy.stats.spearmanr(first.ravel(), second.ravel()).statistic
    assert float(evaluate.spearman(first, second)) == pytest.approx(expected, abs=1e-5)
    assert float(evaluate.spearman(first, np.sqrt(second))) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("first", "second", "loss", "cosine"),
    [
        (ONE_PIXEL, ONE_PIXEL, 0, 1),
        (ONE_PIXEL, OTHER_PIXEL, 2 / N, 0),
        (ONE_PIXEL, UNIFORM, ((11 / 12) ** 2 + 11 / 144) / N, 12**-0.5),
        (UNIFORM, UNIFORM, 0, 1),
        (ONE_PIXEL, ZERO, 1 / N, 0),
        (ZERO, ZERO, 0, 0),
        (ONE_PIXEL, -3 * ONE_PIXEL, 16 / N, -1),
    ],
)
def test_loss_and_cosine_of_hand_computed_cases(
    first: np.ndarray, second: np.ndarray, loss: float, cosine: float
) -> None:
    assert float(evaluate.explanation_loss(first, second)) == pytest.approx(loss, rel=1e-6)
    assert float(evaluate.scale_free_loss(first, second)) == pytest.approx(N * N * loss, rel=1e-6)
    assert float(evaluate.cosine_similarity(first, second)) == pytest.approx(cosine, rel=1e-6)


@pytest.mark.parametrize(
    ("map_", "pixels"), [(ONE_PIXEL, 1), (UNIFORM, N), (ZERO, 0), (ONE_PIXEL + OTHER_PIXEL, 2), (-UNIFORM, N)]
)
def test_effective_pixels_of_hand_computed_cases(map_: np.ndarray, pixels: float) -> None:
    assert float(evaluate.effective_pixels(map_)) == pytest.approx(pixels, rel=1e-6)


@hypothesis.given(maps, maps)
def test_loss_is_one_over_effective_pixels_identity(first: np.ndarray, second: np.ndarray) -> None:
    inverse = sum(1 / float(evaluate.effective_pixels(z)) for z in (first, second))
    overlap = float((first.astype(np.float64) * second).sum())
    expected = (inverse - 2 * overlap) / N
    assert float(evaluate.explanation_loss(first, second)) == pytest.approx(expected, rel=1e-4, abs=2e-7)


@hypothesis.given(maps, maps)
def test_metrics_are_symmetric_and_within_their_ranges(first: np.ndarray, second: np.ndarray) -> None:
    for metric, largest in [
        (evaluate.explanation_loss, 2 / N),
        (evaluate.scale_free_loss, 2 * N),
        (evaluate.cosine_similarity, 1),
    ]:
        value = float(metric(first, second))
        assert 0 <= value <= largest * (1 + 1e-6)
        assert value == pytest.approx(float(metric(second, first)), rel=1e-6)
    assert 1 - 1e-6 <= float(evaluate.effective_pixels(first)) <= N * (1 + 1e-6)
    assert float(evaluate.cosine_similarity(first, 4 * first)) == pytest.approx(1, abs=1e-6)


@hypothesis.given(st.integers(0, 10**6), st.integers(1, N))
def test_top_k_intersection_is_the_share_of_common_pixels(seed: int, k: int) -> None:
    first, second = np.random.default_rng(seed).permutation(2 * N).reshape(2, *SHAPE).astype(np.float32)
    top = [set(np.argsort(-z.ravel())[:k].tolist()) for z in (first, second)]
    assert float(evaluate.top_k_intersection(first, second, k)) == pytest.approx(len(top[0] & top[1]) / k)


def test_top_k_ties_go_to_the_first_pixel() -> None:
    assert float(evaluate.top_k_intersection(ZERO, ZERO, 4)) == 1
    last = np.arange(N, dtype=np.float32).reshape(SHAPE)
    assert float(evaluate.top_k_intersection(ZERO, last, 4)) == 0
    assert float(evaluate.top_k_intersection(ZERO, last, 8)) == pytest.approx(0.5)


def test_relative_reduction_of_hand_computed_cases() -> None:
    reduction = evaluate.relative_reduction(np.array([4.0, 4.0, 2.0, 0.0, 0.0]), np.array([1.0, 4.0, 3.0, 0.0, 1.0]))
    np.testing.assert_allclose(reduction, [0.75, 0, -0.5, 0, 0])
    assert float(evaluate.relative_reduction(8e-4, 2e-4)) == pytest.approx(0.75)


@pytest.mark.parametrize("metric", [evaluate.explanation_loss, evaluate.cosine_similarity])
def test_derivatives_are_finite_at_equal_and_zero_maps(metric: object) -> None:
    for first, second in [(ZERO, ZERO), (ONE_PIXEL, ZERO), (UNIFORM, UNIFORM)]:
        assert np.all(np.isfinite(jax.grad(metric)(jnp.asarray(first), jnp.asarray(second))))
    assert np.all(np.isfinite(jax.grad(evaluate.effective_pixels)(jnp.asarray(ZERO))))


def test_vmap_equals_a_python_loop() -> None:
    first, second = (np.stack([make_map(seed + shift, 0.3) for seed in range(4)]) for shift in (0, 10))
    for metric in (evaluate.explanation_loss, evaluate.scale_free_loss, evaluate.cosine_similarity):
        alone = [float(metric(a, b)) for a, b in zip(first, second, strict=True)]
        np.testing.assert_allclose(jax.vmap(metric)(first, second), alone, rtol=1e-5)


def test_maps_of_different_or_wrong_shape_are_input_errors() -> None:
    for metric in (evaluate.explanation_loss, evaluate.scale_free_loss, evaluate.cosine_similarity):
        with pytest.raises(InputError, match=r"both maps must be \(H, W\) of the same size, got \(3, 4\) and \(4, 3\)"):
            metric(UNIFORM, UNIFORM.T)
        with pytest.raises(InputError, match=r"for batches use jax\.vmap"):
            metric(UNIFORM[None], UNIFORM[None])
    with pytest.raises(InputError, match="k must be at most the 12 pixels of a map, got 13"):
        evaluate.top_k_intersection(UNIFORM, UNIFORM, 13)
    with pytest.raises(InputError, match="k must be an integer >= 1, got 0"):
        evaluate.top_k_intersection(UNIFORM, UNIFORM, 0)
