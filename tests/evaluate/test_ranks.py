"""Rank metrics against SciPy and by their definitions."""

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
import scipy.stats

from jsep import evaluate
from jsep.checks import InputError

SHAPE = (4, 5)
N = 20

values = st.builds(
    lambda seed, digits: np.round(np.random.default_rng(seed).uniform(size=SHAPE), digits).astype(np.float32),
    st.integers(0, 10**6),
    st.sampled_from([0, 1, 6]),  # many ties, some, none
)
kendall = jax.jit(evaluate.kendall, static_argnames="chunk_size")
top_k_near = jax.jit(evaluate.top_k_near, static_argnames=("k", "window"))


@hypothesis.given(values, values)
def test_kendall_equals_scipy_with_ties(first: np.ndarray, second: np.ndarray) -> None:
    constant = np.ptp(first) == 0 or np.ptp(second) == 0
    expected = 0.0 if constant else scipy.stats.kendalltau(first.ravel(), second.ravel()).statistic
    assert float(kendall(first, second)) == pytest.approx(expected, abs=1e-5)
    assert float(kendall(first, np.exp(second))) == pytest.approx(expected, abs=1e-5)


def test_kendall_does_not_depend_on_the_chunk_size_and_is_exact_for_large_maps() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 32, 32)).astype(np.float32)
    expected = scipy.stats.kendalltau(first.ravel(), second.ravel()).statistic
    for chunk_size in (100, 1024):
        assert float(kendall(first, second, chunk_size=chunk_size)) == pytest.approx(expected, abs=1e-6)


def near_by_definition(first: np.ndarray, second: np.ndarray, k: int, window: int) -> float:
    top = [np.argsort(-m.ravel(), kind="stable")[:k] for m in (first, second)]
    places = [np.stack(np.divmod(t, SHAPE[1]), axis=1) for t in top]
    return float(np.mean([(np.abs(places[1] - place).max(axis=1) <= window).any() for place in places[0]]))


@hypothesis.given(values, values, st.sampled_from([1, 3, 20]), st.sampled_from([0, 1, 2]))
def test_top_k_near_equals_its_definition(first: np.ndarray, second: np.ndarray, k: int, window: int) -> None:
    share = float(top_k_near(first, second, k=k, window=window))
    assert share == pytest.approx(near_by_definition(first, second, k, window))
    assert share >= float(evaluate.top_k_intersection(first, second, k)) - 1e-6


def test_top_k_near_forgives_a_shift_by_its_window() -> None:
    map_ = np.zeros((6, 6), np.float32)
    map_[1:3, 1:3] = [[4, 3], [2, 1]]
    for shift, expected in [(1, 1.0), (3, 0.0)]:
        shifted = np.roll(map_, shift, axis=1)
        assert float(evaluate.top_k_near(map_, shifted, 4)) == expected
    assert float(evaluate.top_k_intersection(map_, np.roll(map_, 2, axis=1), 4)) == 0
    assert float(evaluate.top_k_near(map_, np.roll(map_, 2, axis=1), 4)) == 0.5


def test_bad_window_and_chunk_are_input_errors() -> None:
    map_ = np.zeros(SHAPE, np.float32)
    with pytest.raises(InputError, match="window must be an integer >= 0, got -1"):
        evaluate.top_k_near(map_, map_, 3, window=-1)
    with pytest.raises(InputError, match="k must be at most the 20 pixels of a map, got 21"):
        evaluate.top_k_near(map_, map_, 21)
    with pytest.raises(InputError, match="chunk_size must be an integer >= 1, got 0"):
        evaluate.kendall(map_, map_, chunk_size=0)
