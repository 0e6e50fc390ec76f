"""Landscape quantities over the seeds, and their ratios between models of the same seed.

"numbers" of a row holds the mean and standard error over the images of every quantity.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jsep import stats

RANDOM_DIRECTIONS = ("gaussian", "rademacher")
"""Random directions: several lines are drawn for each image."""


@dataclasses.dataclass(frozen=True)
class SeedMean:
    """A quantity of a method. mean: over its seeds; error: standard deviation over the seeds, or with one seed the
    standard error over the images; single: the value of each seed."""

    mean: float
    error: float
    single: tuple[float, ...]


def landscape_number(content: Mapping[str, Any], method: str, key: str) -> SeedMean | None:
    """The quantity `key` of one method over its rows, or None where no row has it."""
    rows = [row for row in content["rows"] if row["method"] == method]
    entries = [row["numbers"][key] if key in row["numbers"] else row.get(key) for row in rows]
    entries = [entry for entry in entries if entry is not None]
    if not entries:
        return None
    values = [float(entry["mean"] if isinstance(entry, Mapping) else entry) for entry in entries]
    if len(values) > 1:
        error = float(np.std(values, ddof=1))
    else:
        error = float(entries[0]["standard_error"]) if isinstance(entries[0], Mapping) else 0.0
    return SeedMean(math.fsum(values) / len(values), error, tuple(values))


def landscape_lines(
    content: Mapping[str, Any], arrays: Mapping[str, np.ndarray], method: str, scalar: str, direction: str
) -> np.ndarray:
    """(lines, points): values of a function along one direction, all lines of all images; non-finite values are NaN."""
    values = np.asarray(arrays[f"{method}/{scalar}/lines"], np.float64)
    per_name = [
        content["config"]["num_directions"] if n in RANDOM_DIRECTIONS else 1 for n in content["directions"][scalar]
    ]
    index = content["directions"][scalar].index(direction)
    start = sum(per_name[:index])
    chosen = values[:, start : start + per_name[index]].reshape(-1, values.shape[-1])
    return np.where(np.isfinite(chosen), chosen, np.nan)


def spectral_shares(nodes: np.ndarray, weights: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The fraction of a spectrum, given as quadrature nodes and weights, that lies in each bin between `ends`."""
    nodes, weights = np.asarray(nodes, float).ravel(), np.asarray(weights, float).ravel()
    good = np.isfinite(nodes) & np.isfinite(weights)
    return np.histogram(nodes[good], ends, weights=weights[good] / weights[good].sum())[0]


def log_ratio(
    own: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]], name: str
) -> stats.CrossedMean | None:
    """log(quantity of own / quantity of others) over the seeds; None unless all have it and all are positive.

    Args: own, others: "numbers" of the rows, seed by seed.

    The relative standard errors of both means over the images are added as if independent: an upper bound.
    """
    if not own or any(name not in each for each in (*own, *others)):
        return None
    pairs = [(first[name], second[name]) for first, second in zip(own, others, strict=True)]
    means = np.array([[each["mean"] for each in pair] for pair in pairs], np.float64)
    if not np.isfinite(means).all() or means.min() <= 0:
        return None
    errors = np.array([[each["standard_error"] for each in pair] for pair in pairs], np.float64)
    of_images = float(np.sum(np.mean((errors / means) ** 2, axis=0)))
    return stats.mean_over_seeds(np.log(means[:, 0] / means[:, 1]), of_images=of_images)
