"""Correlations find planted ones, and planted confounds."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats

from jsep import stats
from jsep.checks import InputError


def planted(rho: float, count: int, seed: int = 0) -> np.ndarray:
    """Two normal columns of correlation rho."""
    return np.random.default_rng(seed).multivariate_normal([0, 0], [[1, rho], [rho, 1]], count).T


@pytest.mark.parametrize("kind", ["pearson", "spearman", "kendall"])
def test_coefficients_and_p_values_are_scipys(kind: str) -> None:
    x, y = np.round(planted(0.5, 30), 1)
    expected = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr, "kendall": scipy.stats.kendalltau}
    found = stats.correlation(x, y, kind=kind, num_resamples=50)
    assert found.estimate == pytest.approx(expected[kind](x, y).statistic)
    assert found.p_value == pytest.approx(expected[kind](x, y).pvalue)
    assert found.num_models == 30


@pytest.mark.parametrize(
    "rho", [0.6, pytest.param(-0.8, marks=pytest.mark.slow), pytest.param(0.0, marks=pytest.mark.slow)]
)
def test_intervals_cover_planted_correlations(rho: float) -> None:
    draws = [planted(rho, 60, seed) for seed in range(120)]
    found = [stats.correlation(x, y, kind="pearson", seed=i, num_resamples=200) for i, (x, y) in enumerate(draws)]
    covered = np.mean([each.low <= rho <= each.high for each in found])
    # 120 simulations have a standard error of 2 points.
    assert abs(covered - 0.95) < 0.06
    assert np.mean([each.estimate for each in found]) == pytest.approx(rho, abs=0.03)


@hypothesis.settings(max_examples=5)
@hypothesis.given(st.integers(0, 10**6))
def test_partial_correlation_equals_the_inverse_covariance_and_removes_a_confounder(seed: int) -> None:
    rng = np.random.default_rng(seed)
    confounders = rng.normal(size=(200, 2))
    x, y = confounders @ [2.0, -1.0] + rng.normal(size=200), confounders @ [1.0, -2.0] + rng.normal(size=200)
    found = stats.partial_correlation(x, y, confounders, kind="pearson", num_resamples=100)
    precision = np.linalg.inv(np.corrcoef(np.column_stack([x, y, confounders]).T))
    assert found.estimate == pytest.approx(-precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1]), abs=1e-9)
    assert abs(found.estimate) < 0.3 < stats.correlation(x, y, num_resamples=50).estimate
    # Ranks: no increasing function of a column changes anything.
    ranks = stats.partial_correlation(x, y, confounders, num_resamples=20).estimate
    assert stats.partial_correlation(np.exp(x), y**3, np.exp(confounders), num_resamples=20).estimate == (
        pytest.approx(ranks, abs=1e-9)
    )


def test_partial_correlation_keeps_its_level_and_has_power() -> None:
    rng = np.random.default_rng(0)
    hits = {0.0: 0, 1.0: 0}
    for link in hits:
        for _ in range(200):
            z = rng.normal(size=25)
            x = z + rng.normal(size=25)
            y = z + link * x + rng.normal(size=25)
            hits[link] += stats.partial_correlation(x, y, z, kind="pearson", num_resamples=2).p_value < 0.05
    assert hits[0.0] / 200 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert hits[1.0] / 200 > 0.9


def test_groups_are_drawn_as_a_whole() -> None:
    x, y = planted(0.5, 20)
    alone = stats.correlation(x, y, num_resamples=200)
    # Copies of a model say nothing new: with groups the interval stays, without it shrinks.
    copies, names = [np.tile(each, 4) for each in (x, y)], np.tile(np.arange(20), 4)
    grouped = stats.correlation(*copies, groups=names, num_resamples=200)
    assert grouped.estimate == pytest.approx(alone.estimate)
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high), abs=1e-9)
    taken_as_new = stats.correlation(*copies, num_resamples=200)
    assert taken_as_new.high - taken_as_new.low < 0.7 * (alone.high - alone.low)
    with pytest.raises(InputError, match="expected one group a model"):
        stats.correlation(x, y, groups=["a"])
    with pytest.raises(InputError, match="at least 2 groups"):
        stats.correlation(x, y, groups=["a"] * 20)


def test_constant_and_explained_columns_have_defined_values() -> None:
    x = np.arange(8.0)
    constant = stats.correlation(x, np.ones(8), num_resamples=20)
    assert (constant.estimate, constant.p_value) == (0, 1)
    explained = stats.partial_correlation(x, x**2, x, kind="pearson", num_resamples=20)
    assert (explained.estimate, explained.p_value) == (0, 1)


def test_bad_columns_are_input_errors() -> None:
    x = np.arange(8.0)
    with pytest.raises(InputError, match="unknown correlation 'spearmann'.*did you mean 'spearman'"):
        stats.correlation(x, x, kind="spearmann")
    with pytest.raises(InputError, match="expected one value a model in each column"):
        stats.correlation(x, x[:4])
    with pytest.raises(InputError, match="at least 4 models, got 3"):
        stats.correlation(x[:3], x[:3])
    with pytest.raises(InputError, match="at least 6 models, got 5"):
        stats.partial_correlation(x[:5], x[:5], np.ones((5, 2)))
    with pytest.raises(InputError, match="columns must be finite"):
        stats.correlation(x, np.full(8, np.nan))
