"""The mean of a table seeds x pairs where both are samples, and pairs that share an image are not independent."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from jsep.checks import InputError
from jsep.stats.inference import Interval, check_confidence, sample


@dataclasses.dataclass(frozen=True)
class CrossedMean:
    """An estimate with the two parts of its uncertainty; see `crossed_mean`.

    estimate: the mean. of_seeds: the variance of the mean over seeds, images held fixed; NaN where it is unknown, 0
    where the models themselves are what is spoken of. of_images: what other images add to that variance.
    freedom_of_seeds, freedom_of_images: the degrees of freedom of both; num_seeds, num_pairs: what was averaged.
    """

    estimate: float
    of_seeds: float
    of_images: float
    freedom_of_seeds: float
    freedom_of_images: float
    num_seeds: int
    num_pairs: int

    @property
    def standard_error(self) -> float:
        """sqrt(of_seeds + of_images)."""
        return float(np.sqrt(self.of_seeds + self.of_images))

    def half_width(self, confidence: float = 0.95) -> float:
        """h with h^2 = t_seeds^2 of_seeds + t_images^2 of_images, t Student's quantiles at their degrees of freedom."""
        check_confidence(confidence)
        return _half_width(self, (1 + confidence) / 2)

    def interval(self, confidence: float = 0.95) -> Interval:
        """estimate +- half_width; NaN bounds where a part is unknown."""
        half = self.half_width(confidence)
        return Interval(self.estimate, self.estimate - half, self.estimate + half)

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided: 1 minus the confidence at which the interval begins to hold `null`; NaN where there is none."""
        return _p_value(self, abs(self.estimate - null))

    def one_sided_p(self, null: float, sign: int) -> float:
        """Of the hypothesis that sign * (mean - null) <= 0."""
        half = self.p_value(null) / 2
        return half if sign * (self.estimate - null) > 0 else 1 - half

    def equivalence_p(self, margin: float) -> float:
        """Two one-sided tests: the larger p of "mean <= -margin" and "mean >= margin".

        Below alpha exactly where the interval at confidence 1 - 2 alpha lies inside of +-margin.
        Reference: Schuirmann 1987.
        """
        return max(self.one_sided_p(-margin, 1), self.one_sided_p(margin, -1))

    def with_seeds(self, num_seeds: int) -> "CrossedMean":
        """What to expect of `num_seeds` seeds with the same estimate and variances: the plan of a larger study."""
        return dataclasses.replace(
            self,
            of_seeds=self.of_seeds * self.num_seeds / num_seeds,
            freedom_of_seeds=num_seeds - 1,
            num_seeds=num_seeds,
        )


def crossed_mean(
    table: np.ndarray, images: Sequence[Sequence[int]] | None = None, *, seeds_are_fixed: bool = False
) -> CrossedMean:
    """The mean of a table (S seeds, P pairs), its seeds and images both drawn from many.

    Every seed is tested on the same pairs, so the two are crossed. With the seeds' means m_s and the pairs' means d_p,

        V_seeds  = var(m_s) / S
        V_images = sum_{p ~ q} (d_p - m) (d_q - m) / P^2,   p ~ q: the pairs p and q share an image (or p = q)
        V_rest   = the same of the residuals of rows and columns, within each seed, over S^2 P^2

    each with its correction for small samples. A seed varies by V_seeds, which is Student's interval over seeds whose
    pairs are averaged; other images add V_images - V_rest, where it is positive. Both enter `half_width` with Student's
    quantile at their own degrees of freedom: for the images those of the quadratic form above, of independent pairs.
    It is conservative: V_rest is counted with the seeds' quantile. Simulated error rates: docs/metrics.md.

    Args: table: (S, P), finite; images: (P, n) the images of each pair, pairs that share one count as dependent; None:
      every pair has its own. seeds_are_fixed: speak of these trained models alone and not of other seeds.
    Returns: CrossedMean; with one seed that is not fixed `of_seeds` is NaN.
    Raises: InputError for a table of another shape, no or not finite values, or images that do not fit it.
    Reference: Cameron, Gelbach & Miller 2011 (several ways of clustering); Aronow, Samii & Assenova 2015 (dyads).
    """
    array = sample(table, "table", ndim=2)
    num_seeds, num_pairs = array.shape
    shared = None if images is None else _shared(images, num_pairs)
    mean, of_pairs = float(array.mean()), array.mean(axis=0)
    of_images, freedom = _variance_of_images(of_pairs[None] - mean, shared)
    if seeds_are_fixed:
        return CrossedMean(mean, 0.0, of_images, np.inf, freedom, num_seeds, num_pairs)
    if num_seeds == 1:
        return CrossedMean(mean, float("nan"), of_images, 0.0, freedom, num_seeds, num_pairs)
    of_seeds = float(array.mean(axis=1).var(ddof=1)) / num_seeds
    residuals = array - array.mean(axis=1, keepdims=True) - of_pairs + mean
    rest, _ = _variance_of_images(residuals, shared)
    rest *= num_seeds / (num_seeds - 1)
    extra = max(of_images - rest, 0.0)
    return CrossedMean(mean, of_seeds, extra, num_seeds - 1, freedom, num_seeds, num_pairs)


def mean_over_seeds(
    values: Sequence[float] | np.ndarray, *, of_images: float = 0.0, seeds_are_fixed: bool = False
) -> CrossedMean:
    """The mean of one value a seed, for numbers that are known of whole models alone.

    Args: values: (S,); of_images: what other images would add to the variance of the mean, from elsewhere;
      seeds_are_fixed: as `crossed_mean`. Raises: InputError for no values, or some that are not finite.
    """
    array = sample(values)
    of_seeds = float("nan") if len(array) == 1 else float(array.var(ddof=1)) / len(array)
    fixed = seeds_are_fixed
    return CrossedMean(
        float(array.mean()), 0.0 if fixed else of_seeds, of_images, np.inf if fixed else len(array) - 1, np.inf,
        len(array), 0,
    )  # fmt: skip


def mean_of_interval(interval: Interval, num_seeds: int, *, confidence: float = 0.95) -> CrossedMean:
    """An estimate of which only a normal interval is known, such as a bootstrap's on a scale where it is symmetric."""
    import scipy.stats

    error = (interval.high - interval.low) / 2 / float(scipy.stats.norm.ppf((1 + confidence) / 2))
    return CrossedMean(interval.estimate, error**2, 0.0, np.inf, np.inf, num_seeds, 0)


def _shared(images: Sequence[Sequence[int]], num_pairs: int) -> np.ndarray:
    """(P, P) of 0 and 1: which pairs share an image."""
    rows = np.asarray(images)
    if rows.ndim != 2 or len(rows) != num_pairs:
        raise InputError(f"images must name those of each of the {num_pairs} pairs, (P, n), got shape {rows.shape}")
    codes = np.unique(rows, return_inverse=True)[1].reshape(rows.shape)
    has = np.zeros((num_pairs, codes.max() + 1))
    has[np.arange(num_pairs)[:, None], codes] = 1
    return (has @ has.T > 0).astype(np.float64)


def _variance_of_images(deviations: np.ndarray, shared: np.ndarray | None) -> tuple[float, float]:
    """The variance of the mean of (S, P) deviations whose rows are independent, and its degrees of freedom."""
    num_seeds, num_pairs = deviations.shape
    if num_pairs == 1:
        return float("nan"), 0.0
    independent = float(np.sum(deviations**2)) / (num_pairs - 1)
    if shared is None:
        return independent / (num_pairs * num_seeds**2), num_pairs - 1.0
    centred = shared - shared.mean(axis=0) - shared.mean(axis=1, keepdims=True) + shared.mean()
    trace, square = np.trace(centred), np.sum(centred**2)
    if trace <= 1e-9 * num_pairs:  # one image in all pairs: nothing tells what others would give
        return float("nan"), 0.0
    dependent = float(np.sum((deviations @ shared) * deviations)) / trace
    # The quadratic form may come out below what independent pairs would give, or below 0.
    return max(dependent, independent) / (num_pairs * num_seeds**2), float(trace**2 / square)


def _half_width(mean: CrossedMean, quantile: float) -> float:
    total = 0.0
    for variance, freedom in ((mean.of_seeds, mean.freedom_of_seeds), (mean.of_images, mean.freedom_of_images)):
        if np.isnan(variance):
            return float("nan")
        if variance > 0:
            total += _students_quantile(quantile, freedom) ** 2 * variance
    return float(np.sqrt(total))


def _students_quantile(quantile: float, freedom: float) -> float:
    import scipy.special  # its functions of a number are fifty times as fast as those of scipy.stats

    return float(scipy.special.ndtri(quantile) if np.isinf(freedom) else scipy.special.stdtrit(freedom, quantile))


@functools.lru_cache(maxsize=4096)
def _p_value(mean: CrossedMean, distance: float) -> float:
    import scipy.optimize

    if np.isnan(mean.of_seeds) or np.isnan(mean.of_images):
        return float("nan")
    if distance == 0:
        return 1.0
    if mean.of_seeds + mean.of_images == 0:
        return 0.0

    def missing(log_p: float) -> float:
        return _half_width(mean, 1 - np.exp(log_p) / 2) - distance

    smallest = np.log(1e-12)
    if missing(smallest) <= 0:
        return 1e-12
    return float(np.exp(scipy.optimize.brentq(missing, smallest, 0.0)))
