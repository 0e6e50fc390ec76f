"""A confidence interval for every number of an evaluation's rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jsep import evaluate

Values = Mapping[tuple[str, int], Mapping[str, np.ndarray]]
"""(method, seed) -> metric -> its value of every test image or pair."""


def intervals(values: Values, *, seed: int = 0) -> list[dict[str, Any]]:
    """For each method and metric {"method", "metric", "mean", "low", "high", "num_seeds", "num_values"}, 95 %.

    A proportion of one seed (values that are true or false) has Wilson's interval, everything else the crossed
    bootstrap over seeds and images or pairs. "relative_reduction" is that of the mean losses, as in the rows: its
    interval is that of its linearisation, 1 - R - (end - R start) / mean(start) with R = mean(end) / mean(start). A
    value that is not finite in some seed leaves its image or pair out.

    Args: values: of the same images and pairs for all methods; seed: of the resampling.
    """
    found = []
    for method in dict.fromkeys(method for method, _ in values):
        own = [metrics for (name, _), metrics in values.items() if name == method]
        for metric in own[0]:
            table = np.array([metrics[metric] for metrics in own])
            found.append({"method": method, "metric": metric, **_interval(table, seed)})
        names = ("explanation_loss_start", "explanation_loss_end")
        if all(name in metrics for metrics in own for name in names):
            start, end = (np.array([metrics[name] for metrics in own], np.float64) for name in names)
            if start.mean() > 0:
                kept = end.mean() / start.mean()
                reduction = 1 - kept - (end - kept * start) / start.mean()
                found.append({"method": method, "metric": "relative_reduction", **_interval(reduction, seed)})
    return found


def _interval(table: np.ndarray, seed: int) -> dict[str, Any]:
    is_share = table.dtype == bool
    finite = table[:, np.isfinite(table).all(axis=0)]
    counts = {"num_seeds": len(table), "num_values": finite.shape[1]}
    if not finite.size:
        return {"mean": None, "low": None, "high": None, **counts}
    if is_share and len(table) == 1:
        estimate = evaluate.proportion_interval(finite[0])
    else:
        estimate = evaluate.crossed_interval(finite, seed=seed)
    limits = (0.0, 1.0) if is_share else (-np.inf, np.inf)
    bounds = [float(np.clip(bound, *limits)) if np.isfinite(bound) else None for bound in estimate]
    return {"mean": bounds[0], "low": bounds[1], "high": bounds[2], **counts}
