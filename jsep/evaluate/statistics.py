"""Intervals, paired tests and their corrections: NumPy in, numbers out, SciPy and statsmodels inside.

Every function that resamples takes a `seed` and gives the same numbers for it.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jsep.checks import InputError, check_count

DEGRADED_MARGIN = 0.05
"""More than this below the clean accuracy of MAT, and a model counts as degraded."""


_LARGEST_BATCH = 10_000_000
"""Numbers in memory at once while a sample is drawn anew: 80 MB."""


def is_degraded(clean_accuracy: float, reference: float, *, margin: float = DEGRADED_MARGIN) -> bool:
    """Whether a model's clean accuracy is more than `margin` below that of its reference (MAT with the same seed).

    Its explanation loss is then no sign of robustness: a broken classifier has maps that nobody wants to manipulate.
    Args: accuracies and margin as fractions.
    """
    return bool(clean_accuracy < reference - margin)


class Interval(NamedTuple):
    """An estimate with the bounds of its confidence interval; the bounds are NaN where there is one value only."""

    estimate: float
    low: float
    high: float


def _sample(values: object, what: str = "values", ndim: int = 1) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != ndim or array.size == 0:
        raise InputError(f"{what} must be {ndim}-dimensional and not empty, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{what} must be finite; leave out what was not measured")
    return array


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"confidence must be in (0, 1), got {confidence}")


def t_interval(values: Sequence[float] | np.ndarray, *, confidence: float = 0.95) -> Interval:
    """The mean with Student's interval: mean +- t_{n-1} s / sqrt(n); right for a few seeds, if they are near normal.

    Raises: InputError for no values, some that are not finite, or a confidence outside (0, 1).
    """
    import scipy.stats  # a second to load

    array = _sample(values)
    _check_confidence(confidence)
    mean = float(array.mean())
    if len(array) == 1:
        return Interval(mean, float("nan"), float("nan"))
    half = scipy.stats.t.ppf((1 + confidence) / 2, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array))
    return Interval(mean, mean - float(half), mean + float(half))


def bootstrap_interval(
    values: Sequence[float] | np.ndarray, *, seed: int = 0, confidence: float = 0.95, num_resamples: int = 2000
) -> Interval:
    """The mean with its bias-corrected and accelerated bootstrap interval, over images (dozens of values, any shape).

    With a handful of values it is too narrow (5 normal ones: the 95 % interval covers 84 %, 60 ones: 94 %): there take
    `t_interval`.
    Raises: InputError as `t_interval`, or for a count < 1.
    Reference: Efron 1987; `scipy.stats.bootstrap`.
    """
    import scipy.stats

    array = _sample(values)
    _check_confidence(confidence)
    check_count("num_resamples", num_resamples)
    mean = float(array.mean())
    if len(array) == 1:
        return Interval(mean, float("nan"), float("nan"))
    if np.ptp(array) == 0:
        return Interval(mean, mean, mean)
    found = scipy.stats.bootstrap(
        (array,), np.mean, confidence_level=confidence, n_resamples=num_resamples, rng=np.random.default_rng(seed),
        batch=max(1, _LARGEST_BATCH // len(array)),
    ).confidence_interval  # fmt: skip
    return Interval(mean, float(found.low), float(found.high))


def proportion_interval(successes: Sequence[bool] | np.ndarray, *, confidence: float = 0.95) -> Interval:
    """The share of the true ones with Wilson's score interval: an accuracy over images, also at 0 and at 1.

    Args: successes: (B,) of bool or 0 and 1.
    Raises: InputError for none, other values, or a confidence outside (0, 1).
    Reference: Wilson 1927; `scipy.stats.binomtest`.
    """
    import scipy.stats

    array = _sample(successes, "successes")
    if not np.isin(array, (0, 1)).all():
        raise InputError("successes must be true or false; for other values take bootstrap_interval")
    _check_confidence(confidence)
    tested = scipy.stats.binomtest(int(array.sum()), len(array))
    found = tested.proportion_ci(confidence, method="wilson")
    return Interval(float(array.mean()), float(found.low), float(found.high))


def crossed_interval(
    table: np.ndarray, *, seed: int = 0, confidence: float = 0.95, num_resamples: int = 2000
) -> Interval:
    """The mean of (S seeds, P pairs) with its interval when seeds and pairs are both drawn anew: the hierarchical
    bootstrap, expanded for few seeds.

    Every seed was tested on the same pairs, so a resample draws S seeds and, independently, P pairs with replacement
    and takes that sub-table: neither the pairs of a seed nor the seeds of a pair count as independent. The percentile
    interval of a few seeds is too narrow (89 % with three), since a resample of three has two thirds of their variance
    and no heavy tails. Its two sides are therefore lengthened by one factor, so that on average they have the length

        h^2 = (t_a^2 (M_seeds - M_rest) + t_b^2 (M_pairs - M_rest) + t_c^2 M_rest) / (S P),

    with M the mean squares of the two-way analysis of variance (differences below 0 are 0) and t Student's quantiles at
    their degrees of freedom S - 1, P - 1 and (S - 1)(P - 1): each part of the variance is as uncertain as its own count
    makes it. With one seed it is the interval over the pairs, and says nothing about other trainings. Simulated
    coverage: docs/metrics.md.

    Args: table: (S, P). Raises: InputError as `bootstrap_interval`.
    Reference: Owen 2007 (the pigeonhole bootstrap); Hesterberg 2015, section 4.6.2 (expanded percentile intervals).
    """
    array = _sample(table, "table", ndim=2)
    _check_confidence(confidence)
    check_count("num_resamples", num_resamples)
    rng = np.random.default_rng(seed)
    num_seeds, num_pairs = array.shape
    mean = float(array.mean())
    if array.size == 1:
        return Interval(mean, float("nan"), float("nan"))
    # How often each seed and pair is drawn is all that the mean needs.
    of_seeds = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), num_resamples) / num_seeds
    means = np.concatenate(
        [
            np.einsum("rs,sp,rp->r", part, array, _weights(rng, num_pairs, len(part)), optimize=True)
            for part in np.array_split(of_seeds, -(-num_resamples * num_pairs // _LARGEST_BATCH))
        ]
    )
    spread = means.std()
    # All values equal, up to the rounding of their mean.
    if spread <= 1e-12 * np.abs(array).max():
        return Interval(mean, mean, mean)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    factor = _half_width(array, confidence) / (_normal_quantile(confidence) * spread)
    return Interval(mean, mean - factor * (mean - float(low)), mean + factor * (float(high) - mean))


def _weights(rng: np.random.Generator, count: int, num_resamples: int) -> np.ndarray:
    return rng.multinomial(count, np.full(count, 1 / count), num_resamples) / count


def _normal_quantile(confidence: float) -> float:
    import scipy.stats

    return float(scipy.stats.norm.ppf((1 + confidence) / 2))


def _half_width(table: np.ndarray, confidence: float) -> float:
    """h of `crossed_interval`."""
    import scipy.stats

    of_seeds, of_pairs = table.mean(axis=1), table.mean(axis=0)
    left = table - of_seeds[:, None] - of_pairs + table.mean()
    freedom = np.array([len(of_seeds) - 1, len(of_pairs) - 1, (len(of_seeds) - 1) * (len(of_pairs) - 1)])
    sums = np.array([table.shape[1] * np.var(of_seeds), table.shape[0] * np.var(of_pairs), np.mean(left**2)])
    sums *= [len(of_seeds), len(of_pairs), table.size]
    # One seed or one pair has no mean square of its own.
    seeds, pairs, rest = np.where(freedom > 0, sums / np.maximum(freedom, 1), 0.0)
    quantiles = scipy.stats.t.ppf((1 + confidence) / 2, np.maximum(freedom, 1))
    parts = np.maximum([seeds - rest, pairs - rest, rest], 0.0)
    return float(np.sqrt(np.sum(quantiles**2 * parts) / table.size))


@dataclasses.dataclass(frozen=True)
class PairedComparison:
    """a against b on the same pairs.

    difference: mean(a - b) with its bootstrap interval; effect_size: mean / standard deviation of the differences
    (Cohen's d_z; infinite where they are all the same and not 0); rank_biserial: in [-1, 1], the share of the rank sum
    of positive differences less that of negative ones; wilcoxon_p, permutation_p: two-sided; num_pairs.
    """

    difference: Interval
    effect_size: float
    rank_biserial: float
    wilcoxon_p: float
    permutation_p: float
    num_pairs: int


def paired_comparison(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, *, seed: int = 0, num_resamples: int = 9999
) -> PairedComparison:
    """Whether a and b differ on shared pairs: Wilcoxon's signed-rank test and the permutation (sign-flip) test.

    Args: a, b: (P,) of the same pairs in the same order; num_resamples: random sign flips, or all 2^P where they are
      fewer.
    Raises: InputError for samples of different length, no values, or some that are not finite.
    Reference: `scipy.stats.wilcoxon`, `scipy.stats.permutation_test`.
    """
    import scipy.stats

    first, second = _sample(a, "a"), _sample(b, "b")
    if len(first) != len(second):
        raise InputError(f"expected two values for each pair, got {len(first)} and {len(second)}")
    check_count("num_resamples", num_resamples)
    differences = first - second
    interval = bootstrap_interval(differences, seed=seed)
    if not differences.any():
        return PairedComparison(interval, 0.0, 0.0, 1.0, 1.0, len(differences))
    ranks = scipy.stats.rankdata(np.abs(differences[differences != 0]))
    signs = np.sign(differences[differences != 0])
    spread = differences.std(ddof=1) if len(differences) > 1 else 0.0
    permuted = scipy.stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=num_resamples,
        batch=max(1, _LARGEST_BATCH // len(differences)),
        rng=np.random.default_rng(seed),
    )
    return PairedComparison(
        interval,
        float(differences.mean() / spread) if spread else float(np.copysign(np.inf, differences.mean())),
        float((ranks * signs).sum() / ranks.sum()),
        float(scipy.stats.wilcoxon(differences, method="auto").pvalue),
        float(permuted.pvalue),
        len(differences),
    )


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values, in the given order: below alpha exactly where the step-down procedure rejects.

    Raises: InputError for none, or one outside [0, 1]. Reference: Holm 1979; `statsmodels.stats.multitest`.
    """
    from statsmodels.stats.multitest import multipletests

    array = _sample(p_values, "p_values")
    if array.min() < 0 or array.max() > 1:
        raise InputError(f"p_values must be in [0, 1], got {array.min():g} .. {array.max():g}")
    return multipletests(array, method="holm")[1]
