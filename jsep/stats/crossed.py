"""The mean of a table of seeds x pairs in which both are random samples and pairs that share an image are dependent."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from jsep.checks import InputError, check_count, check_positive
from jsep.stats.inference import Interval, check_confidence, sample


@dataclasses.dataclass(frozen=True)
class CrossedMean:
    """A mean with its two variance components; see `crossed_mean`.

    estimate: the mean. of_seeds: variance of the mean due to seeds, for fixed images; NaN if unknown, 0 if inference is
    about these trained models only. of_images: additional variance due to the sample of images.
    freedom_of_seeds, freedom_of_images: degrees of freedom of the two; num_seeds, num_pairs: the size of the table.
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
        """h, where h^2 = t_seeds^2 of_seeds + t_images^2 of_images, with Student's t quantiles at either freedom."""
        check_confidence(confidence)
        return _half_width(self, (1 + confidence) / 2)

    def interval(self, confidence: float = 0.95) -> Interval:
        """estimate +- half_width; the bounds are NaN if a variance component is unknown."""
        half = self.half_width(confidence)
        return Interval(self.estimate, self.estimate - half, self.estimate + half)

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided: 1 minus the confidence at which the interval just reaches `null`; NaN if a variance is unknown."""
        return _p_value(self, abs(self.estimate - null))

    def one_sided_p(self, null: float, sign: int) -> float:
        """The one-sided p-value of the hypothesis sign * (mean - null) <= 0; sign: 1 or -1."""
        half = self.p_value(null) / 2
        return half if sign * (self.estimate - null) > 0 else 1 - half

    def equivalence_p(self, margin: float) -> float:
        """Two one-sided tests (TOST): the larger p-value of "mean <= -margin" and "mean >= margin".

        It is below alpha exactly if the interval at confidence 1 - 2 alpha lies inside (-margin, margin).
        Reference: Schuirmann 1987.
        """
        return max(self.one_sided_p(-margin, 1), self.one_sided_p(margin, -1))

    def with_seeds(self, num_seeds: int) -> "CrossedMean":
        """The expected result with `num_seeds` seeds, for the same estimate and variances; for planning a study."""
        return dataclasses.replace(
            self,
            of_seeds=self.of_seeds * self.num_seeds / num_seeds,
            freedom_of_seeds=num_seeds - 1,
            num_seeds=num_seeds,
        )


def crossed_mean(
    table: np.ndarray, images: Sequence[Sequence[int]] | None = None, *, seeds_are_fixed: bool = False
) -> CrossedMean:
    """The mean of a table (S seeds, P pairs) in which seeds and images are both random samples.

    Every seed is tested on the same pairs: the factors are crossed. With the mean m, seed means m_s and pair means d_p,

        V_seeds  = var(m_s) / S
        V_images = sum_{p ~ q} (d_p - m) (d_q - m) / P^2,   p ~ q: the pairs p and q share an image (or p = q)
        V_rest   = the same sum over the residuals of the additive model, within each seed, over S^2 P^2

    each with its small-sample correction. `of_seeds` is V_seeds, as in Student's interval over the seed means;
    `of_images` is max(V_images - V_rest, 0). `half_width` uses Student's t quantile of each at its own degrees of
    freedom; those of `of_images` are of the quadratic form V_images under independent pairs.
    The interval is conservative: V_rest is part of V_seeds and gets its quantile. Simulated error rates:
    docs/metrics.md.

    Args: table: (S, P), finite; images: (P, n), the images of each pair; pairs that share an image are dependent; None:
      all pairs are independent. seeds_are_fixed: inference about these trained models only, not about other seeds.
    Returns: CrossedMean; `of_seeds` is NaN for a single seed unless seeds_are_fixed.
    Raises: InputError for a table that is not 2-dimensional, empty or not finite, or images of another length.
    Reference: Cameron, Gelbach & Miller 2011 (multiway clustering); Aronow, Samii & Assenova 2015 (dyadic data).
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
    """The mean over seeds of quantities with one value per model.

    Args: values: (S,), finite; of_images: variance of the mean due to the sample of images, if known otherwise;
      seeds_are_fixed: as `crossed_mean`. Raises: InputError for empty or non-finite values.
    """
    array = sample(values)
    check_positive("of_images", of_images, allow_zero=True)
    of_seeds = float("nan") if len(array) == 1 else float(array.var(ddof=1)) / len(array)
    fixed = seeds_are_fixed
    return CrossedMean(
        float(array.mean()), 0.0 if fixed else of_seeds, of_images, np.inf if fixed else len(array) - 1, np.inf,
        len(array), 0,
    )  # fmt: skip


def mean_of_interval(interval: Interval, num_seeds: int, *, confidence: float = 0.95) -> CrossedMean:
    """A `CrossedMean` from a symmetric normal interval alone, such as a bootstrap interval on a symmetrising scale."""
    import scipy.stats

    check_confidence(confidence)
    check_count("num_seeds", num_seeds)
    error = (interval.high - interval.low) / 2 / float(scipy.stats.norm.ppf((1 + confidence) / 2))
    return CrossedMean(interval.estimate, error**2, 0.0, np.inf, np.inf, num_seeds, 0)


def _shared(images: Sequence[Sequence[int]], num_pairs: int) -> np.ndarray:
    """(P, P): 1 where two pairs share an image, else 0."""
    rows = np.asarray(images)
    if rows.ndim != 2 or len(rows) != num_pairs:
        raise InputError(f"images must name those of each of the {num_pairs} pairs, (P, n), got shape {rows.shape}")
    codes = np.unique(rows, return_inverse=True)[1].reshape(rows.shape)
    has = np.zeros((num_pairs, codes.max() + 1))
    has[np.arange(num_pairs)[:, None], codes] = 1
    return (has @ has.T > 0).astype(np.float64)


def _variance_of_images(deviations: np.ndarray, shared: np.ndarray | None) -> tuple[float, float]:
    """The variance of the mean of deviations (S, P) with independent rows, and its degrees of freedom."""
    num_seeds, num_pairs = deviations.shape
    if num_pairs == 1:
        return float("nan"), 0.0
    independent = float(np.sum(deviations**2)) / (num_pairs - 1)
    if shared is None:
        return independent / (num_pairs * num_seeds**2), num_pairs - 1.0
    centred = shared - shared.mean(axis=0) - shared.mean(axis=1, keepdims=True) + shared.mean()
    trace, square = np.trace(centred), np.sum(centred**2)
    if trace <= 1e-9 * num_pairs:  # all pairs share an image: the variance cannot be estimated
        return float("nan"), 0.0
    dependent = float(np.sum((deviations @ shared) * deviations)) / trace
    # The quadratic form can be smaller than the variance for independent pairs, even negative.
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
    import scipy.special  # for scalars fifty times as fast as scipy.stats

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
