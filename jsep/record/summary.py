"""Rows of single seeds -> means, standard deviations and confidence intervals of each method."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jsep import attack, data, stats
from jsep.checks import InputError
from jsep.record.row import Result, as_number

_NOT_METRICS = frozenset({"method", "seed", "degraded", "sep_weight", "num_seeds"})


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean and sample standard deviation over the seeds of each method.

    std = sqrt(sum (x_i - mean)^2 / (n - 1)), and 0.0 with one seed. A seed without a metric is left out of its mean; a
    NaN is kept, so that a failed seed shows in the mean.

    Args:
        rows: one mapping for each method and seed, as in the rows of result.json.

    Returns:
        One mapping for each method, in order of first appearance: "method", "num_seeds", "degraded" (whether any seed
        is), "sep_weight" (0.0 where no row has one), {"mean": float, "std": float} for each numeric metric.

    Raises:
        InputError: there are no rows, or a row has no method.

    >>> rows = [{"method": "mat", "seed": 0, "loss": 1.0}, {"method": "mat", "seed": 1, "loss": 3.0}]
    >>> summarise(rows)[0]["num_seeds"], summarise(rows)[0]["loss"]
    (2, {'mean': 2.0, 'std': 1.4142135623730951})
    """
    if not rows:
        raise InputError("expected at least one row, got none; let at least one method and seed finish")
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if not isinstance(row.get("method"), str):
            raise InputError(f"expected rows with a string 'method', got {str(dict(row))[:60]!r}; add it")
        groups.setdefault(row["method"], []).append(row)
    return [_summarise_one(method, group) for method, group in groups.items()]


def _summarise_one(method: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    weights = [weight for row in rows if (weight := as_number(row.get("sep_weight"))) is not None]
    summary: dict[str, Any] = {
        "method": method,
        "num_seeds": len(rows),
        "degraded": any(bool(row.get("degraded")) for row in rows),
        "sep_weight": math.fsum(weights) / len(weights) if weights else 0.0,
    }
    for key in dict.fromkeys(key for row in rows for key in row if key not in _NOT_METRICS):
        values = [value for row in rows if (value := as_number(row.get(key))) is not None]
        if values:
            mean = math.fsum(values) / len(values)
            spread = math.fsum((value - mean) ** 2 for value in values)
            summary[key] = {"mean": mean, "std": math.sqrt(spread / (len(values) - 1)) if len(values) > 1 else 0.0}
    return summary


def mean_of(summary: Mapping[str, Any], key: str) -> float | None:
    """The mean of one metric of one method, or None where it is missing or not finite."""
    entry = summary.get(key)
    value = as_number(entry.get("mean")) if isinstance(entry, Mapping) else as_number(entry)
    return value if value is not None and math.isfinite(value) else None


def std_of(summary: Mapping[str, Any], key: str) -> float:
    """The standard deviation of one metric of one method, 0.0 where it is missing or not finite."""
    entry = summary.get(key)
    value = as_number(entry.get("std")) if isinstance(entry, Mapping) else None
    return value if value is not None and math.isfinite(value) else 0.0


def num_pixels_of(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """N, the number of pixels of a map, from scale-free loss / loss = N^2; None where no row has both losses."""
    for row in rows:
        for end in ("end", "start"):
            raw, scaled = (as_number(row.get(f"explanation_loss_{end}")), as_number(row.get(f"scale_free_loss_{end}")))
            if raw and scaled and raw > 0 and scaled > 0 and math.isfinite(scaled / raw):
                return round(math.sqrt(scaled / raw))
    return None


def pixels_of_maps(content: Mapping[str, Any]) -> int | None:
    """N, the number of pixels of a map, as a result.json of any kind tells it: by its name, by the losses of its rows,
    or by its data set; None where none of them does."""
    said = as_number(content.get("num_pixels"))
    if said:
        return int(said)
    rows = content.get("rows")
    found = num_pixels_of(rows) if isinstance(rows, Sequence) else None
    if found is not None:
        return found
    for part in (content.get(name) for name in ("pairs", "config", "study")):
        source = data.DATASETS.get(str(part.get("dataset"))) if isinstance(part, Mapping) else None
        if source is not None and source.info is not None:
            height, width, _ = source.info.image_shape
            return height * width
    return None


def intervals(result: Result) -> dict[str, dict[str, stats.Interval]]:
    """metric -> method -> mean and 95 % confidence interval, for every metric of the rows; NaN bounds where unknown.

    Seeds and images are crossed random effects (`stats.crossed_mean`) where values of single pairs or images are kept;
    otherwise the interval covers seeds alone. With one seed it covers other images for this one model only.
    """
    found: dict[str, dict[str, stats.Interval]] = {}
    for method in result.methods:
        rows = list(result.rows_of(method).values())
        for metric in dict.fromkeys(name for row in rows for name in row.metrics):
            values = [row.metrics[metric] for row in rows if metric in row.metrics]
            if not np.isfinite(values).all():
                continue
            fixed = len(values) == 1
            tables = [[row.of_pairs(metric) for row in rows], [row.per_image.get(metric) for row in rows]]
            for table, images in zip(tables, (result.images_of_pairs(), None), strict=True):
                sizes = {None if row is None else len(row) for row in table}
                if len(sizes) == 1 and None not in sizes and len(table) == len(values):
                    array = np.array(table, np.float64)
                    fits = images is None or len(images) == array.shape[1]
                    if np.isfinite(array).all():
                        mean = stats.crossed_mean(array, images if fits else None, seeds_are_fixed=fixed)
                        break
            else:
                mean = stats.mean_over_seeds(values)
            found.setdefault(metric, {})[method] = mean.interval()
    return found


def values_by_epoch(
    lines: Sequence[Mapping[str, Any]], method: str, key: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """seed -> (epochs, mean of the metric `key` over the lines of each epoch), from the lines of metrics.jsonl."""
    values: dict[str, dict[float, list[float]]] = {}
    for line in lines:
        epoch, value = as_number(line.get("epoch")), as_number(line.get(key))
        if line["method"] == method and epoch is not None and value is not None:
            values.setdefault(str(line.get("seed")), {}).setdefault(epoch, []).append(value)
    return {
        seed: (np.array(sorted(epochs)), np.array([np.mean(epochs[epoch]) for epoch in sorted(epochs)]))
        for seed, epochs in values.items()
    }


def mean_curve(seeds: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """(epochs, mean over all seeds); NaN once any seed has stopped, since a mean over fewer seeds would jump."""
    epochs = np.unique(np.concatenate([own for own, _ in seeds.values()]))
    table = np.full((len(seeds), epochs.size), np.nan)
    for row, (own, values) in zip(table, seeds.values(), strict=True):
        row[np.searchsorted(epochs, own)] = values
    return epochs, np.where(np.isnan(table).any(axis=0), np.nan, table.sum(axis=0) / len(seeds))


def mean_matrix(
    rows: Sequence[Mapping[str, Any]], by: Sequence[str], across: str | None, metric: str
) -> tuple[list[tuple[Any, ...]], list[Any], np.ndarray]:
    """Means of a metric over the seeds: one row for each value of the fields `by`, one column for each value of
    `across` (a single column for None).

    Returns: the row keys, the column keys, and the (rows, columns) means; NaN where nothing was measured.
    """
    found: dict[tuple[tuple[Any, ...], Any], list[float]] = {}
    for row in rows:
        value = as_number(row.get(metric))
        own = found.setdefault((tuple(row[field] for field in by), across and row[across]), [])
        own += [] if value is None else [value]
    lines = list(dict.fromkeys(line for line, _ in found))
    columns = list(dict.fromkeys(column for _, column in found))
    means = [[float(np.mean(found[x, y])) if found.get((x, y)) else np.nan for y in columns] for x in lines]
    return lines, columns, np.array(means)


@dataclasses.dataclass(frozen=True)
class Shift:
    """One metric under two conditions, paired by seed: the mean under each, the mean of the differences, the (S,)
    differences, and the (S,) values under the first condition."""

    first: float
    second: float
    difference: float
    differences: tuple[float, ...]
    spread: tuple[float, ...]


def shift(
    rows: Sequence[Mapping[str, Any]], field: str, conditions: tuple[Any, Any], metric: str, *, scale: float = 1.0
) -> Shift:
    """The change of scale * metric from the first to the second value of `field`, over the seeds that have both."""
    by_seed = [
        {row["seed"]: scale * float(row[metric]) for row in rows if row[field] == condition and metric in row}
        for condition in conditions
    ]
    seeds = sorted(set(by_seed[0]) & set(by_seed[1]))
    first, second = ([own[seed] for seed in seeds] for own in by_seed)
    differences = tuple(b - a for a, b in zip(first, second, strict=True))
    a, b, moved = (math.fsum(values) / len(values) for values in (first, second, differences))
    return Shift(a, b, moved, differences, tuple(first))


_OFTEN = 0.1
"""The share of its pairs on which a method's warning is worth a sentence."""


def often_raised_warnings(content: Mapping[str, Any]) -> dict[str, dict[str, tuple[int, int]]]:
    """The warnings of the attack on explanations: meaning -> {method: (pairs with it, pairs)}, over all seeds.

    Only methods with the warning on a tenth of their pairs or more. Args: content: of a result.json.
    """
    num_pairs = len(content.get("pairs", {}).get("victims", ()))
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for name, meaning in attack.WARNING_SENTENCES.items():
        raised: dict[str, list[int]] = {}
        for row in content.get("rows", ()):
            if name in row.get("explanation_warnings", {}):
                raised.setdefault(row["method"], []).append(row["explanation_warnings"][name])
        counts = {method: (sum(each), num_pairs * len(each)) for method, each in raised.items()}
        if often := {method: own for method, own in counts.items() if own[0] >= _OFTEN * own[1] > 0}:
            found[meaning] = often
    return found
