"""Correlation of two quantities over many models, also controlled for clean accuracy and map concentration."""

from typing import Any, NamedTuple

import numpy as np

from jsep.checks import InputError, check_choice, check_count
from jsep.stats.inference import as_numbers

KINDS = ("pearson", "spearman", "kendall")


class Correlation(NamedTuple):
    """A correlation over models with its bootstrap interval (models resampled) and its p-value (null hypothesis 0)."""

    estimate: float
    low: float
    high: float
    p_value: float
    num_models: int


def _coefficient(kind: str, x: np.ndarray, y: np.ndarray) -> float:
    import scipy.stats

    if np.ptp(x) == 0 or np.ptp(y) == 0:  # constant, as in a resample of one model: 0 rather than NaN
        return 0.0
    if kind == "kendall":
        return float(scipy.stats.kendalltau(x, y).statistic)
    if kind == "spearman":
        x, y = scipy.stats.rankdata(x), scipy.stats.rankdata(y)
    return float(np.corrcoef(x, y)[0, 1])


def _residuals(kind: str, values: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The residuals of a linear fit of `values` on `given` (of their ranks for Spearman)."""
    import scipy.stats

    if kind == "spearman":
        values, given = scipy.stats.rankdata(values), scipy.stats.rankdata(given, axis=0)
    design = np.column_stack([np.ones(len(values)), given])
    fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    left = values - fitted
    # An exact fit leaves only rounding errors: set them to 0.
    return np.where(np.abs(left) < 1e-10 * np.abs(values).max(initial=1e-300), 0.0, left)


def _partial(kind: str, x: np.ndarray, y: np.ndarray, given: np.ndarray) -> float:
    left = [_residuals(kind, values, given) for values in (x, y)]
    return _coefficient("pearson", *left)


def _members(groups: Any, num_models: int) -> list[np.ndarray]:
    """The indices of the models of each group; without groups every model is its own group."""
    if groups is None:
        return [np.array([place]) for place in range(num_models)]
    names = np.asarray(groups)
    if names.shape != (num_models,):
        raise InputError(f"expected one group a model, got shape {names.shape} for {num_models} models")
    return [np.flatnonzero(names == name) for name in np.unique(names)]


def _interval(
    statistic: Any, columns: tuple[np.ndarray, ...], groups: Any, seed: int, num_resamples: int
) -> tuple[float, float]:
    import scipy.stats

    members = _members(groups, len(columns[0]))
    if len(members) < 2:
        raise InputError("an interval needs models of at least 2 groups, got 1")

    def resampled(drawn: np.ndarray) -> float:
        places = drawn if groups is None else np.concatenate([members[group] for group in drawn])
        return statistic(*(column[places] for column in columns))

    found = scipy.stats.bootstrap(
        (np.arange(len(members)),),
        resampled,
        vectorized=False,
        n_resamples=num_resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def _columns(*columns: Any, minimum: int) -> list[np.ndarray]:
    arrays = [as_numbers(column, "columns") for column in columns]
    if any(array.shape[:1] != arrays[0].shape[:1] for array in arrays) or arrays[0].ndim != 1:
        raise InputError(f"expected one value a model in each column, got shapes {[array.shape for array in arrays]}")
    if not all(np.isfinite(array).all() for array in arrays):
        raise InputError("columns must be finite; leave out models that were not measured")
    if len(arrays[0]) < minimum:
        raise InputError(f"a correlation needs at least {minimum} models, got {len(arrays[0])}")
    return arrays


def correlation(
    x: Any, y: Any, *, kind: str = "spearman", groups: Any = None, seed: int = 0, num_resamples: int = 1000
) -> Correlation:
    """The correlation of x and y over models, with a percentile bootstrap interval over the models.

    Args: x, y: (M,), M >= 4; kind: "pearson", "spearman" or "kendall" (tau-b); groups: (M,) names of groups that the
      bootstrap resamples as a whole (cluster bootstrap), such as the seeds of one setting, which are not independent;
      default: every model is its own group. The p-value ignores groups.
    Returns: Correlation; 0 with p-value 1 if x or y is constant.
    Raises: InputError for an unknown kind, columns of different length, too few models or values that are not finite.
    """
    import scipy.stats

    check_choice("correlation", kind, KINDS)
    check_count("num_resamples", num_resamples)
    first, second = _columns(x, y, minimum=4)
    tests = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr, "kendall": scipy.stats.kendalltau}
    constant = np.ptp(first) == 0 or np.ptp(second) == 0
    p_value = 1.0 if constant else float(tests[kind](first, second).pvalue)
    low, high = _interval(lambda a, b: _coefficient(kind, a, b), (first, second), groups, seed, num_resamples)
    return Correlation(_coefficient(kind, first, second), low, high, p_value, len(first))


def partial_correlation(
    x: Any, y: Any, given: Any, *, kind: str = "spearman", groups: Any = None, seed: int = 0, num_resamples: int = 1000
) -> Correlation:
    """The partial correlation of x and y over models given `given`: that of the residuals of linear fits on `given`.

    Spearman ranks all columns first. The p-value is that of Student's t test with M - 2 - k degrees of freedom, which
    assumes nearly normal columns.

    Args: x, y: (M,); given: (M, k), the controls, such as clean accuracy and effective pixels; kind: "pearson" or
      "spearman"; groups: as `correlation`.
    Returns: Correlation; 0 with p-value 1 if `given` explains x or y completely.
    Raises: InputError as `correlation`, or for fewer than k + 4 models.
    """
    import scipy.stats

    check_choice("partial correlation", kind, KINDS[:2])
    check_count("num_resamples", num_resamples)
    controls = as_numbers(given, "given")
    if controls.ndim not in (1, 2):
        raise InputError(f"given must be (M, k), the controls of each model, got shape {controls.shape}")
    controls = controls[:, None] if controls.ndim == 1 else controls
    count = controls.shape[1]
    first, second, controls = _columns(x, y, controls, minimum=count + 4)
    estimate = _partial(kind, first, second, controls)
    freedom = len(first) - 2 - count
    t = estimate * np.sqrt(freedom / max(1 - estimate**2, 1e-300))
    columns = (first, second, controls)
    low, high = _interval(lambda a, b, c: _partial(kind, a, b, c), columns, groups, seed, num_resamples)
    return Correlation(estimate, low, high, float(2 * scipy.stats.t.sf(abs(t), freedom)), len(first))
