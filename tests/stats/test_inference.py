"""Intervals of one sample cover what they say, and Holm's correction is that of the book: on simulated data."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from jsep import stats
from jsep.checks import InputError

NOMINAL = 0.95


def coverage(intervals: list[stats.Interval], truth: float) -> float:
    return float(np.mean([low <= truth <= high for _, low, high in intervals]))


def test_t_interval_covers_its_nominal_share_with_three_seeds() -> None:
    draws = np.random.default_rng(0).normal(2.0, 1.0, (2000, 3))
    assert abs(coverage([stats.t_interval(row) for row in draws], 2.0) - NOMINAL) < 0.02
    estimate, low, high = stats.t_interval([1.0, 2.0, 3.0])
    assert estimate == pytest.approx(2)
    assert high - 2 == pytest.approx(2 - low)
    assert high - 2 == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)


@hypothesis.given(st.integers(0, 10**6), st.floats(-5, 5), st.floats(0.5, 4))
def test_interval_moves_with_the_data(seed: int, shift: float, scale: float) -> None:
    values = np.random.default_rng(seed).normal(size=20)
    first, moved = stats.t_interval(values), stats.t_interval(scale * values + shift)
    assert first.low < first.estimate < first.high
    np.testing.assert_allclose(moved, scale * np.array(first) + shift, atol=1e-8)


def test_single_and_constant_values_have_defined_intervals() -> None:
    assert stats.t_interval([3.0]).estimate == 3
    assert np.isnan(stats.t_interval([3.0])[1:]).all()
    assert tuple(stats.t_interval([2.0, 2.0, 2.0])) == (2, 2, 2)


@hypothesis.given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_its_step_down_procedure(p_values: list[float]) -> None:
    adjusted = stats.holm(p_values)
    for alpha in (0.01, 0.05, 0.3):
        rejected = np.zeros(len(p_values), bool)
        for step, place in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[place] > alpha / (len(p_values) - step):
                break
            rejected[place] = True
        np.testing.assert_array_equal(adjusted <= alpha, rejected)


def test_holm_of_a_hand_computed_case() -> None:
    np.testing.assert_allclose(stats.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])


def test_bad_samples_are_input_errors() -> None:
    with pytest.raises(InputError, match="values must be 1-dimensional and not empty"):
        stats.t_interval([])
    with pytest.raises(InputError, match="values must be finite"):
        stats.t_interval([1.0, np.nan])
    with pytest.raises(InputError, match=r"confidence must be in \(0, 1\), got 95"):
        stats.t_interval([1.0, 2.0], confidence=95)
    with pytest.raises(InputError, match=r"p_values must be in \[0, 1\]"):
        stats.holm([0.1, 1.2])
