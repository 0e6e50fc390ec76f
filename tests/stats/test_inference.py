"""Intervals of one sample cover what they say, and Holm's correction is that of the book: on simulated data."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats

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


@pytest.mark.slow
@pytest.mark.parametrize("draw", [pytest.param("normal", marks=pytest.mark.long), "gamma"])
def test_bootstrap_interval_covers_its_nominal_share(draw: str) -> None:
    rng = np.random.default_rng(1)
    # 4,000 simulations: a standard error of 0.35 points.
    samples = rng.normal(1.0, 1.0, (4000, 60)) if draw == "normal" else rng.gamma(2.0, 0.5, (4000, 60))
    intervals = [stats.bootstrap_interval(row, seed=i, num_resamples=999) for i, row in enumerate(samples)]
    assert abs(coverage(intervals, 1.0) - NOMINAL) < 0.02


def test_bootstrap_interval_of_five_values_is_too_narrow_as_its_docstring_says() -> None:
    samples = np.random.default_rng(2).normal(size=(500, 5))
    intervals = [stats.bootstrap_interval(row, seed=i, num_resamples=400) for i, row in enumerate(samples)]
    assert 0.75 < coverage(intervals, 0.0) < 0.88


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_proportion_interval_covers_its_nominal_share(share: float) -> None:
    """Exactly: the mean over all counts of 400 images, each with its probability."""
    counts = np.arange(401)
    chance = scipy.stats.binom.pmf(counts, 400, share)
    likely = counts[chance > 1e-9]
    found = [stats.proportion_interval(np.arange(400) < count) for count in likely]
    covered = sum(chance[c] for c, (_, low, high) in zip(likely, found, strict=True) if low <= share <= high)
    assert abs(covered - NOMINAL) < 0.02
    every, none = stats.proportion_interval([True] * 20), stats.proportion_interval([0] * 20)
    assert every.estimate == every.high == 1 > every.low > 0.8
    assert none.estimate == none.low == 0 < none.high < 0.2


@hypothesis.given(st.integers(0, 10**6), st.floats(-5, 5), st.floats(0.5, 4))
def test_intervals_repeat_for_a_seed_and_move_with_the_data(seed: int, shift: float, scale: float) -> None:
    values = np.random.default_rng(seed).normal(size=20)
    for interval in (stats.t_interval, lambda v: stats.bootstrap_interval(v, seed=seed, num_resamples=100)):
        first, moved = interval(values), interval(scale * values + shift)
        assert first == interval(values)
        assert first.low < first.estimate < first.high
        np.testing.assert_allclose(moved, scale * np.array(first) + shift, atol=1e-8)


def test_single_and_constant_values_have_defined_intervals() -> None:
    for interval in (stats.t_interval, stats.bootstrap_interval):
        assert interval([3.0]).estimate == 3
        assert np.isnan(interval([3.0])[1:]).all()
        assert tuple(interval([2.0, 2.0, 2.0])) == (2, 2, 2)


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
        stats.bootstrap_interval([1.0, np.nan])
    with pytest.raises(InputError, match="successes must be true or false"):
        stats.proportion_interval([0.5, 1.0])
    with pytest.raises(InputError, match=r"confidence must be in \(0, 1\), got 95"):
        stats.t_interval([1.0, 2.0], confidence=95)
    with pytest.raises(InputError, match=r"p_values must be in \[0, 1\]"):
        stats.holm([0.1, 1.2])
