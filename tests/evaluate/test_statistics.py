"""Intervals cover what they say, tests keep their level, corrections are those of the books: on simulated data."""

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats

from jsep import evaluate
from jsep.checks import InputError

NOMINAL = 0.95


def coverage(intervals: list[evaluate.Interval], truth: float) -> float:
    return float(np.mean([low <= truth <= high for _, low, high in intervals]))


def test_t_interval_covers_its_nominal_share_with_three_seeds() -> None:
    draws = np.random.default_rng(0).normal(2.0, 1.0, (2000, 3))
    assert abs(coverage([evaluate.t_interval(row) for row in draws], 2.0) - NOMINAL) < 0.02
    estimate, low, high = evaluate.t_interval([1.0, 2.0, 3.0])
    assert estimate == pytest.approx(2)
    assert high - 2 == pytest.approx(2 - low)
    assert high - 2 == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("draw", [pytest.param("normal", marks=pytest.mark.long), "gamma"])
def test_bootstrap_interval_covers_its_nominal_share(draw: str) -> None:
    rng = np.random.default_rng(1)
    # 4,000 simulations: a standard error of 0.35 points.
    samples = rng.normal(1.0, 1.0, (4000, 60)) if draw == "normal" else rng.gamma(2.0, 0.5, (4000, 60))
    intervals = [evaluate.bootstrap_interval(row, seed=i, num_resamples=999) for i, row in enumerate(samples)]
    assert abs(coverage(intervals, 1.0) - NOMINAL) < 0.02


def test_bootstrap_interval_of_five_values_is_too_narrow_as_its_docstring_says() -> None:
    samples = np.random.default_rng(2).normal(size=(500, 5))
    intervals = [evaluate.bootstrap_interval(row, seed=i, num_resamples=400) for i, row in enumerate(samples)]
    assert 0.75 < coverage(intervals, 0.0) < 0.88


def crossed_tables(num_seeds: int, num_pairs: int, count: int) -> np.ndarray:
    """Effects of seeds, of pairs and of both: what the losses of a method look like."""
    rng = np.random.default_rng(3)
    seeds, pairs = rng.normal(size=(count, num_seeds, 1)), 2 * rng.normal(size=(count, 1, num_pairs))
    return 5 + 0.5 * seeds + pairs + rng.normal(size=(count, num_seeds, num_pairs))


@pytest.mark.parametrize(
    ("num_seeds", "num_pairs", "count"),
    [
        (20, 60, 500),
        pytest.param(3, 60, 2500, marks=pytest.mark.slow),
        pytest.param(3, 150, 2500, marks=pytest.mark.long),
        pytest.param(5, 60, 2500, marks=pytest.mark.long),
    ],
)
def test_crossed_interval_covers_its_nominal_share_where_pairs_dominate(
    num_seeds: int, num_pairs: int, count: int
) -> None:
    tables = crossed_tables(num_seeds, num_pairs, count)
    found = [evaluate.crossed_interval(table, seed=i, num_resamples=400) for i, table in enumerate(tables)]
    shared = coverage(found, 5.0)
    assert abs(shared - NOMINAL) < 0.02, shared
    # Values taken as independent are sure of too much.
    flat = [evaluate.t_interval(table.ravel()) for table in tables]
    assert coverage(flat, 5.0) < shared - 0.1


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_proportion_interval_covers_its_nominal_share(share: float) -> None:
    """Exactly: the mean over all counts of 400 images, each with its probability."""
    counts = np.arange(401)
    chance = scipy.stats.binom.pmf(counts, 400, share)
    likely = counts[chance > 1e-9]
    found = [evaluate.proportion_interval(np.arange(400) < count) for count in likely]
    covered = sum(chance[c] for c, (_, low, high) in zip(likely, found, strict=True) if low <= share <= high)
    assert abs(covered - NOMINAL) < 0.02
    every, none = evaluate.proportion_interval([True] * 20), evaluate.proportion_interval([0] * 20)
    assert every.estimate == every.high == 1 > every.low > 0.8
    assert none.estimate == none.low == 0 < none.high < 0.2


def test_half_width_is_students_with_one_seed_and_that_of_the_two_way_layout_with_more() -> None:
    table = crossed_tables(3, 10, 1)[0]
    found = evaluate.crossed_interval(table[:1], num_resamples=20_000)
    expected = evaluate.t_interval(table[0])
    assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.03)
    # By the definitions of the two-way layout, with one value a cell.
    rows, columns, mean = table.mean(1), table.mean(0), table.mean()
    of_rows, of_columns = 10 * ((rows - mean) ** 2).sum() / 2, 3 * ((columns - mean) ** 2).sum() / 9
    rest = sum((table[i, j] - rows[i] - columns[j] + mean) ** 2 for i in range(3) for j in range(10)) / 18
    quantiles = scipy.stats.t.ppf(0.975, [2, 9, 18])
    parts = [max(of_rows - rest, 0), max(of_columns - rest, 0), rest]
    half = np.sqrt((quantiles**2 * parts).sum() / 30)
    crossed = evaluate.crossed_interval(table, num_resamples=20_000)
    assert (crossed.high - crossed.low) / 2 == pytest.approx(half, rel=0.05)


def test_crossed_interval_of_one_seed_is_that_over_pairs_and_wider_with_a_spread_of_seeds() -> None:
    table = crossed_tables(1, 60, 1)[0]
    crossed = evaluate.crossed_interval(table, seed=0)
    over_pairs = evaluate.bootstrap_interval(table[0])
    assert crossed.high - crossed.low == pytest.approx(over_pairs.high - over_pairs.low, rel=0.1)
    spread = np.repeat([[0.0], [5.0]], 60, axis=1) + table
    wider = evaluate.crossed_interval(spread, seed=0)
    assert wider.high - wider.low > 2 * (crossed.high - crossed.low)


@hypothesis.given(st.integers(0, 10**6), st.floats(-5, 5), st.floats(0.5, 4))
def test_intervals_repeat_for_a_seed_and_move_with_the_data(seed: int, shift: float, scale: float) -> None:
    values = np.random.default_rng(seed).normal(size=20)
    for interval in (evaluate.t_interval, lambda v: evaluate.bootstrap_interval(v, seed=seed, num_resamples=100)):
        first, moved = interval(values), interval(scale * values + shift)
        assert first == interval(values)
        assert first.low < first.estimate < first.high
        np.testing.assert_allclose(moved, scale * np.array(first) + shift, atol=1e-8)


def test_single_and_constant_values_have_defined_intervals() -> None:
    for interval in (evaluate.t_interval, evaluate.bootstrap_interval):
        assert interval([3.0]).estimate == 3
        assert np.isnan(interval([3.0])[1:]).all()
        assert tuple(interval([2.0, 2.0, 2.0])) == (2, 2, 2)
    assert tuple(evaluate.crossed_interval(np.ones((3, 4)))) == (1, 1, 1)
    assert np.isnan(evaluate.crossed_interval(np.ones((1, 1)))[1:]).all()


# Paired comparisons.


def test_permutation_test_equals_all_sign_flips_by_hand() -> None:
    a, b = np.array([2.0, 3.5, 1.0, 4.0, 2.5]), np.array([1.0, 3.0, 1.5, 2.0, 2.0])
    differences = a - b
    flips = [np.mean(differences * signs) for signs in itertools.product((-1, 1), repeat=5)]
    expected = np.mean(np.abs(flips) >= abs(differences.mean()) - 1e-12)
    found = evaluate.paired_comparison(a, b)
    assert found.permutation_p == pytest.approx(expected)
    assert found.wilcoxon_p == pytest.approx(scipy.stats.wilcoxon(a, b).pvalue)
    assert found.effect_size == pytest.approx(differences.mean() / differences.std(ddof=1))
    ranks = scipy.stats.rankdata(np.abs(differences))
    assert found.rank_biserial == pytest.approx((ranks[differences > 0].sum() - ranks[differences < 0].sum()) / 15)
    assert found.num_pairs == 5
    assert found.difference.estimate == pytest.approx(differences.mean())


@pytest.mark.parametrize("draw", ["normal", "skewed"])
def test_paired_tests_keep_their_level_on_nulls(draw: str) -> None:
    """The false positive rate is at most the nominal 5 %, up to three standard errors of the simulation."""
    rng = np.random.default_rng(4)
    pairs = rng.normal(size=(2, 400, 15)) if draw == "normal" else rng.gamma(0.5, size=(2, 400, 15))
    pairs = pairs + 3 * rng.normal(size=(400, 15))  # what both share
    found = [evaluate.paired_comparison(a, b, num_resamples=299) for a, b in zip(*pairs, strict=True)]
    largest = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean([each.permutation_p <= 0.05 for each in found]) <= largest
    assert np.mean([each.wilcoxon_p <= 0.05 for each in found]) <= largest


def test_paired_test_sees_through_what_pairs_share() -> None:
    rng = np.random.default_rng(5)
    shared = 10 * rng.normal(size=60)
    a, b = shared + 0.5 * rng.normal(size=60), shared + 0.5 * rng.normal(size=60) + 0.5
    found = evaluate.paired_comparison(a, b)
    assert found.permutation_p < 0.01
    assert found.difference.high < 0
    assert scipy.stats.ttest_ind(a, b).pvalue > 0.5
    swapped = evaluate.paired_comparison(b, a)
    assert swapped.effect_size == pytest.approx(-found.effect_size)
    assert swapped.rank_biserial == pytest.approx(-found.rank_biserial)


def test_equal_and_shifted_samples_have_defined_comparisons() -> None:
    values = np.arange(6.0)
    same = evaluate.paired_comparison(values, values)
    assert (same.effect_size, same.rank_biserial, same.wilcoxon_p, same.permutation_p) == (0, 0, 1, 1)
    shifted = evaluate.paired_comparison(values, values + 1)
    assert shifted.effect_size == -np.inf
    assert shifted.rank_biserial == -1
    assert shifted.permutation_p == pytest.approx(2 / 64)


@hypothesis.given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_its_step_down_procedure(p_values: list[float]) -> None:
    adjusted = evaluate.holm(p_values)
    for alpha in (0.01, 0.05, 0.3):
        rejected = np.zeros(len(p_values), bool)
        for step, place in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[place] > alpha / (len(p_values) - step):
                break
            rejected[place] = True
        np.testing.assert_array_equal(adjusted <= alpha, rejected)


def test_holm_of_a_hand_computed_case() -> None:
    np.testing.assert_allclose(evaluate.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])


def test_degraded_rule() -> None:
    assert evaluate.is_degraded(0.9299, 0.98)
    assert not evaluate.is_degraded(0.94, 0.98)
    assert not evaluate.is_degraded(0.99, 0.98)
    assert evaluate.is_degraded(0.94, 0.98, margin=0.03)


def test_bad_samples_are_input_errors() -> None:
    with pytest.raises(InputError, match="values must be 1-dimensional and not empty"):
        evaluate.t_interval([])
    with pytest.raises(InputError, match="values must be finite"):
        evaluate.bootstrap_interval([1.0, np.nan])
    with pytest.raises(InputError, match="table must be 2-dimensional"):
        evaluate.crossed_interval(np.ones(3))
    with pytest.raises(InputError, match="successes must be true or false"):
        evaluate.proportion_interval([0.5, 1.0])
    with pytest.raises(InputError, match=r"confidence must be in \(0, 1\), got 95"):
        evaluate.t_interval([1.0, 2.0], confidence=95)
    with pytest.raises(InputError, match="expected two values for each pair, got 2 and 3"):
        evaluate.paired_comparison([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(InputError, match=r"p_values must be in \[0, 1\]"):
        evaluate.holm([0.1, 1.2])
