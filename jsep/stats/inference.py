"""Confidence intervals of one sample, and the correction of p-values for multiple tests.

Functions that resample take a `seed`; equal seeds give equal results.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jsep.checks import InputError


class Interval(NamedTuple):
    """An estimate with the bounds of its confidence interval; the bounds are NaN if they cannot be estimated, as from a
    single value."""

    estimate: float
    low: float
    high: float


def as_numbers(values: object, what: str = "values") -> np.ndarray:
    """The values as float64. Raises: InputError for other values than numbers, and rows of unequal length."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"their type is {array.dtype}")
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be an array of numbers ({error})") from None
    return array.astype(np.float64)


def sample(values: object, what: str = "values", ndim: int = 1) -> np.ndarray:
    """The values as float64. Raises: InputError unless they are `ndim`-dimensional, not empty and finite."""
    array = as_numbers(values, what)
    if array.ndim != ndim or array.size == 0:
        raise InputError(f"{what} must be {ndim}-dimensional and not empty, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{what} must be finite; leave out what was not measured")
    return array


def check_confidence(confidence: float) -> None:
    """Raises InputError unless the confidence is in (0, 1)."""
    if not 0 < confidence < 1:
        raise InputError(f"confidence must be in (0, 1), got {confidence}")


def t_interval(values: Sequence[float] | np.ndarray, *, confidence: float = 0.95) -> Interval:
    """The mean with Student's t interval, mean +- t_{n-1} s / sqrt(n); suitable for few, nearly normal values (seeds).

    >>> from jsep import stats
    >>> [round(float(end), 2) for end in stats.t_interval([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48]

    Raises: InputError for empty or non-finite values, or a confidence outside (0, 1).
    """
    import scipy.stats  # a second to load

    array = sample(values)
    check_confidence(confidence)
    mean = float(array.mean())
    if len(array) == 1:
        return Interval(mean, float("nan"), float("nan"))
    half = scipy.stats.t.ppf((1 + confidence) / 2, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array))
    return Interval(mean, mean - float(half), mean + float(half))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values, in the given order: below alpha exactly where Holm's step-down procedure rejects.

    With the n values sorted, p_(i) becomes the largest of min(1, (n - j) p_(j)) over j <= i (i, j from 0).
    Raises: InputError for no values, or a value outside [0, 1]. Reference: Holm 1979.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    array = sample(p_values, "p_values")
    if array.min() < 0 or array.max() > 1:
        raise InputError(f"p_values must be in [0, 1], got {array.min():g} .. {array.max():g}")
    order = np.argsort(array, kind="stable")
    raised = np.minimum(np.maximum.accumulate((len(array) - np.arange(len(array))) * array[order]), 1.0)
    adjusted = np.empty_like(raised)
    adjusted[order] = raised
    return adjusted


class Band(NamedTuple):
    """Pointwise statistics of many curves: 10 % quantile, median, mean and 90 % quantile."""

    low: np.ndarray
    median: np.ndarray
    mean: np.ndarray
    high: np.ndarray


def band(curves: np.ndarray) -> Band:
    """The `Band` of curves (num_curves, num_points); NaN values are ignored. Raises: InputError for another shape.

    >>> [float(each[0]) for each in band(np.arange(11.0)[:, None])]
    [1.0, 5.0, 5.0, 9.0]
    """
    curves = as_numbers(curves, "curves")
    if curves.ndim != 2 or not curves.size:
        raise InputError(f"curves must be (num_curves, num_points), got shape {curves.shape}")
    low, median, high = np.nanquantile(curves, (0.1, 0.5, 0.9), axis=0)
    return Band(low, median, np.nanmean(curves, axis=0), high)
