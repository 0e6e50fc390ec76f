"""Sampling variability: how much an estimate of explanation robustness, and the ranking of models, depends on which
pairs of images are drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jsep.checks import InputError, check_count

PAIR_COUNTS = (10, 20, 40, 80, 150)
"""Numbers of pairs for which the standard error of the mean is reported."""


def _table(draws: Sequence[Mapping[str, Any]], selection: str, methods: Sequence[str], metric: str) -> np.ndarray:
    """(methods, draws, pairs), each value a mean over the seeds."""
    chosen = [entry for entry in draws if entry["selection"] == selection]
    numbers = sorted({entry["draw"] for entry in chosen})
    cells = [
        [
            np.mean([e[metric] for e in chosen if e["method"] == method and e["draw"] == number], axis=0)
            for number in numbers
        ]
        for method in methods
    ]
    return np.array(cells, np.float64)


def pair_sampling_variability(
    draws: Sequence[Mapping[str, Any]],
    *,
    metric: str = "explanation_loss_end",
    counts: Sequence[int] = PAIR_COUNTS,
    num_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """The variability of a mean metric over draws of pairs, for each selection rule.

    The reference of a rule is the mean over all of its draws. The bootstrap draws n of the rule's pooled pairs with
    replacement, the same for every method, since all models are tested on the same pairs.

    Args: draws: entries with "selection", "draw", "method", "seed" and a list of P numbers under `metric`; counts:
      numbers of pairs n; num_resamples; seed: of the bootstrap.
    Returns: "methods"; "counts"; and "selections", for each rule:
      "mean", "std_of_draws", "standard_error": by method, the mean, the standard deviation of the D draw means, and the
        bootstrap standard error of a mean of P pairs;
      "standard_errors": by method, the standard error relative to the mean, for each n;
      "order": methods by increasing mean; "draws_in_order": fraction of draws with that order; "same_order": for each n
        the fraction of resamples with it; "mean_tau": mean over the draws of Kendall's tau between the order of the
        draw and the order over all rules.
    Raises: InputError if there are no draws, or a method lacks one.
    """
    import scipy.stats  # takes a second to import

    check_count("num_resamples", num_resamples)
    if not draws:
        raise InputError("expected at least one draw, got none")
    methods = list(dict.fromkeys(entry["method"] for entry in draws))
    selections = list(dict.fromkeys(entry["selection"] for entry in draws))
    rng = np.random.default_rng(seed)
    tables = {selection: _table(draws, selection, methods, metric) for selection in selections}
    if any(not np.isfinite(table).all() for table in tables.values()):
        raise InputError("every method must have every draw, with finite losses; attack the missing ones")
    overall = np.mean([table.mean(axis=(1, 2)) for table in tables.values()], axis=0)
    found = []
    for selection, table in tables.items():
        of_draws, means = table.mean(axis=2), table.mean(axis=(1, 2))
        order = np.argsort(means, kind="stable")
        pooled = table.reshape(len(methods), -1)
        errors, same = {}, {}
        for count in (*counts, table.shape[2]):
            picked = rng.integers(0, pooled.shape[1], (num_resamples, count))
            resampled = pooled[:, picked].mean(axis=2)
            errors[count] = resampled.std(axis=1, ddof=1)
            same[count] = float(np.mean(np.all(np.argsort(resampled, axis=0, kind="stable") == order[:, None], axis=0)))
        taus = [1.0 if len(methods) < 2 else scipy.stats.kendalltau(one, overall).statistic for one in of_draws.T]
        in_order = [np.array_equal(np.argsort(one, kind="stable"), order) for one in of_draws.T]

        def by_method(values: np.ndarray) -> dict[str, float]:
            return {method: float(value) for method, value in zip(methods, values, strict=True)}

        spread = of_draws.std(axis=1, ddof=1) if of_draws.shape[1] > 1 else np.zeros(len(methods))
        found.append(
            {
                "selection": selection,
                "num_draws": table.shape[1],
                "num_pairs": table.shape[2],
                "mean": by_method(means),
                "std_of_draws": by_method(spread),
                "standard_error": by_method(errors[table.shape[2]]),
                "standard_errors": {
                    method: [float(errors[count][index] / means[index]) for count in counts]
                    for index, method in enumerate(methods)
                },
                "order": [methods[index] for index in order],
                "draws_in_order": float(np.mean(in_order)),
                "same_order": [same[count] for count in counts],
                "mean_tau": float(np.nanmean(taus)),
            }
        )
    return {"methods": methods, "counts": list(counts), "selections": found}
