"""The statistics of a study's rows: intervals over seeds and pairs, and every method against the baseline."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jsep import evaluate

BASELINES = ("mat", "trades", "standard")
"""What the others are compared to: the first of these that a study has."""

OVER_SEEDS = ("clean_accuracy", "robust_accuracy", "relative_reduction", "effective_pixels")
ACCURACIES = ("clean_accuracy", "robust_accuracy")
COMPARED = ("explanation_loss_start", "explanation_loss_end", "excess_end")
"""Metrics of single images and pairs that are tested; one family for Holm's correction, with all methods."""


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


PerImage = Mapping[tuple[str, int], Mapping[str, np.ndarray]]
"""(method, seed) -> metric -> its value of every test image."""


def _table(rows: Sequence[Mapping[str, Any]], metric: str, of_images: PerImage | None = None) -> np.ndarray | None:
    """(seeds, pairs or images) of one method, or None where a row lacks them."""
    values = [
        (of_images or {}).get((row["method"], row["seed"]), {}).get(metric, row.get("per_pair", {}).get(metric))
        for row in rows
    ]
    return None if any(value is None for value in values) else np.array(values, np.float64)


def describe(
    rows: Sequence[Mapping[str, Any]],
    *,
    seed: int = 0,
    baseline: str | None = None,
    of_images: PerImage | None = None,
) -> dict[str, Any]:
    """What result.json holds under "statistics".

    "over_seeds": for each method and metric the mean with Student's 95 % interval over the seeds.
    "over_seeds_and_pairs": the same for metrics of pairs with the crossed bootstrap. "comparisons": each method less
    the baseline on shared pairs, a pair's value being its mean over the seeds that both have: interval, effect size,
    Wilcoxon's and the permutation test, and Holm's correction of the latter over all of them. A degraded method has its
    differences, but no tests: they could not speak for its robustness, and would weaken those of the others.

    Args: rows: of result.json; seed: of the resampling; baseline: what the others are compared to; default: the first
    of BASELINES that there is; of_images: correctness of every test image, compared as the pairs are.
    Returns: numbers, and null where there is no finite one.
    """
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        by_method.setdefault(row["method"], []).append(row)
    order = list(dict.fromkeys(row["method"] for row in rows))
    found: dict[str, Any] = {"confidence": 0.95, "over_seeds": [], "over_seeds_and_pairs": [], "comparisons": []}
    for method in order:
        own = by_method[method]
        for metric in OVER_SEEDS:
            values = [row[metric] for row in own if metric in row]
            if values:
                mean, low, high = evaluate.t_interval(values)
                entry = {"method": method, "metric": metric, "num_seeds": len(values), "mean": mean}
                found["over_seeds"].append({**entry, "low": _finite(low), "high": _finite(high)})
        for metric in evaluate.PER_PAIR:
            table = _table(own, metric)
            if table is not None:
                mean, low, high = evaluate.crossed_interval(table, seed=seed)
                entry = {"method": method, "metric": metric, "num_seeds": len(table), "num_pairs": table.shape[1]}
                found["over_seeds_and_pairs"].append({**entry, "mean": mean, "low": low, "high": high})
    baseline = baseline or next((name for name in BASELINES if name in by_method), None)
    if baseline is not None:
        found["comparisons"] = _comparisons(by_method, order, baseline, seed, of_images)
    return found


def _comparisons(
    by_method: Mapping[str, Sequence[Mapping[str, Any]]],
    order: Sequence[str],
    baseline: str,
    seed: int,
    of_images: PerImage | None,
) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for method in order:
        if method == baseline:
            continue
        shared = {row["seed"] for row in by_method[method]} & {row["seed"] for row in by_method[baseline]}
        degraded = any(row.get("degraded") for row in (*by_method[method], *by_method[baseline]))
        for metric in (*ACCURACIES, *COMPARED):
            tables = [
                _table([row for row in by_method[name] if row["seed"] in shared], metric, of_images)
                for name in (method, baseline)
            ]
            if not shared or tables[0] is None or tables[1] is None:
                continue
            result = evaluate.paired_comparison(tables[0].mean(0), tables[1].mean(0), seed=seed)
            entries.append(
                {
                    "method": method,
                    "baseline": baseline,
                    "metric": metric,
                    "num_seeds": len(shared),
                    "num_pairs": result.num_pairs,
                    "difference": result.difference.estimate,
                    "low": _finite(result.difference.low),
                    "high": _finite(result.difference.high),
                    "effect_size": _finite(result.effect_size),
                    "rank_biserial": result.rank_biserial,
                    "wilcoxon_p": None if degraded else result.wilcoxon_p,
                    "permutation_p": None if degraded else result.permutation_p,
                    "holm_p": None,
                    "degraded": degraded,
                }
            )
    tested = [entry for entry in entries if not entry["degraded"]]
    if tested:
        corrected = evaluate.holm([entry["permutation_p"] for entry in tested])
        for entry, p_value in zip(tested, corrected, strict=True):
            entry["holm_p"] = float(p_value)
    return entries
