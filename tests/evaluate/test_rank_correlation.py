"""Rank correlation against SciPy, and an interval that covers as often as it says."""

import jax
import numpy as np
import pytest
import scipy.stats

from jsep import evaluate
from jsep.checks import InputError

KEY = jax.random.key(0)


def correlated(rho, shape, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=shape)
    return first, rho * first + np.sqrt(1 - rho**2) * rng.normal(size=shape)


def test_rho_is_scipys_with_ties_too():
    first, second = correlated(0.6, 40)
    for x, y in ((first, second), (np.round(first), np.round(second))):
        found = evaluate.rank_correlation(KEY, x, y, num_resamples=50)
        assert float(found.rho) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-6)
        assert found.low < found.rho < found.high


def test_several_models_are_averaged_within_and_ranked_between():
    first, second = correlated(0.5, (4, 30))
    first, second = first + 10 * np.arange(4)[:, None], second - 10 * np.arange(4)[:, None]
    within = evaluate.rank_correlation(KEY, first, second, num_resamples=50)
    expected = np.mean([scipy.stats.spearmanr(x, y).statistic for x, y in zip(first, second, strict=True)])
    assert float(within.rho) == pytest.approx(expected, abs=1e-6)
    between = evaluate.rank_correlation(KEY, first, second, num_resamples=50, between=True)
    assert (float(between.rho), float(between.low), float(between.high)) == pytest.approx((-1, -1, -1))


def test_interval_covers_zero_for_unrelated_numbers_about_as_often_as_it_says():
    covered = 0
    for seed in range(60):
        first, second = correlated(0.0, 40, seed)
        found = evaluate.rank_correlation(jax.random.key(seed), first, second, num_resamples=300)
        covered += bool(found.low < 0 < found.high)
    assert 51 <= covered <= 60  # 57 expected


def test_constant_numbers_have_no_correlation():
    assert float(evaluate.rank_correlation(KEY, np.ones(9), np.arange(9.0), num_resamples=5).rho) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second": np.zeros(4)}, r"expected two arrays \(M, n\) with n >= 3 images, got \(1, 5\) and \(1, 4\)"),
        ({"between": True}, "a correlation between models needs at least 3 of them, got 1"),
        ({"confidence": 95}, r"confidence must be in \(0, 1\), got 95"),
        ({"first": np.array([1, 2, 3, 4, np.nan])}, "the numbers must be finite"),
        ({"num_resamples": 0}, "num_resamples must be an integer >= 1"),
    ],
)
def test_bad_input_is_an_input_error(change, message):
    with pytest.raises(InputError, match=message):
        evaluate.rank_correlation(KEY, **{"first": np.arange(5.0), "second": np.arange(5.0), **change})
