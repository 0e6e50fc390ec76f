"""Landscape quantities over the seeds, and the paper's claims on landscapes, tested on ratios of curvatures and of
sharpness between models of the same seed.

"numbers" of a row holds the mean and standard error over the images of every quantity.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jsep import stats
from jsep.record.claims import RATIO, Claim
from jsep.record.names import readable
from jsep.record.paper import Ask, Comparison, Content, count, not_measured
from jsep.record.verdict import Finding, decide, finding_of, worst

SAME_FACTOR = 1.25
"""Two landscapes count as the same if their quantities differ by less than this factor in either direction."""


RANDOM_DIRECTIONS = ("gaussian", "rademacher")
"""Random directions: several lines are drawn for each image."""


@dataclasses.dataclass(frozen=True)
class SeedMean:
    """A quantity of a method. mean: over its seeds; error: standard deviation over the seeds, or with one seed the
    standard error over the images; single: the value of each seed."""

    mean: float
    error: float
    single: tuple[float, ...]


def landscape_number(content: Content, method: str, key: str) -> SeedMean | None:
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
    content: Content, arrays: Mapping[str, np.ndarray], method: str, scalar: str, direction: str
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


def _numbers(content: Content, method: str, name: str) -> dict[int, Mapping[str, Any]]:
    """seed -> mean, standard error and number of images of a quantity."""
    return {
        row["seed"]: row["numbers"][name]
        for row in content["rows"]
        if row["method"] == method and name in row.get("numbers", {})
    }


def log_ratio(content: Content, method: str, baseline: str, name: str) -> stats.CrossedMean | None:
    """log(quantity of method / quantity of baseline) over the seeds that both have; None unless both are positive.

    The relative standard errors of both means over the images are added as if independent: an upper bound.
    """
    own, others = _numbers(content, method, name), _numbers(content, baseline, name)
    pairs = [(own[seed], others[seed]) for seed in own if seed in others]
    means = np.array([[each["mean"] for each in pair] for pair in pairs], np.float64)
    if not len(means) or not np.isfinite(means).all() or means.min() <= 0:
        return None
    errors = np.array([[each["standard_error"] for each in pair] for pair in pairs], np.float64)
    of_images = float(np.sum(np.mean((errors / means) ** 2, axis=0)))
    return stats.mean_over_seeds(np.log(means[:, 0] / means[:, 1]), of_images=of_images)


def _finding(content: Content, question: str, name: str, method: str, baseline: str, sign: int) -> Finding:
    margin = 0.0 if sign else math.log(SAME_FACTOR)
    claim = Claim(question, name, name, method, baseline, sign, margin, scale=RATIO)
    return finding_of(claim, log_ratio(content, method, baseline, name))


def _comparison(subject: str, paper: str, content: Content, *findings: Finding, note: str = "") -> Comparison:
    seeds = max((found.mean.num_seeds for found in findings if found.mean is not None), default=0)
    basis = ", ".join(
        filter(None, [f"{seeds} seed{'s' if seeds != 1 else ''}", count(content.get("num_images", 0), "image")])
    )
    return Comparison(subject, paper, findings, worst(found.verdict for found in findings), basis, note)


def flatter_by_training(quantities: Mapping[str, str]) -> Ask:
    """Claim: adversarial training flattens a function of the image: the ratio mat / standard is below 1 (Figure 1b).

    Args: quantities: key of a row's "numbers" -> its wording; together they are one family for Holm's correction.
    """

    def ask(content: Content) -> list[Comparison]:
        first = [_finding(content, "flatter", name, "mat", "standard", -1) for name in quantities]
        return [
            _comparison(f"{quantities[f.claim.metric]}, MAT to standard", "flatter (ratio below 1)", content, f)
            for f in decide(first)
        ]

    return ask


def _trades_methods(content: Content) -> list[str]:
    """The methods "trades <weight>" in order of increasing weight."""
    names = {row["method"] for row in content["rows"] if row["method"].startswith("trades ")}
    return sorted(names, key=lambda name: float(name.split()[1]))


def same_landscape(quantities: Mapping[str, str]) -> Ask:
    """Claim: the landscape of the explanation loss does not change with the weight of TRADES, weight 0 excluded
    (Figure 3): equal within `SAME_FACTOR`, by two one-sided tests."""

    def ask(content: Content) -> list[Comparison]:
        methods = [name for name in _trades_methods(content) if float(name.split()[1]) > 0]
        if len(methods) < 2:
            return [not_measured("TRADES landscape", "no visible difference", "fewer than two weights")]
        first = [_finding(content, "same_landscape", name, methods[-1], methods[0], 0) for name in quantities]
        paper = f"no visible difference (here: within a factor of {SAME_FACTOR:g})"
        compared = f"{readable(methods[-1])} to {readable(methods[0])}"
        return [_comparison(f"{quantities[f.claim.metric]}, {compared}", paper, content, f) for f in decide(first)]

    return ask


def rise_together(content: Content) -> list[Comparison]:
    """Claim: a larger weight of TRADES raises both robustnesses (Table 1): largest against smallest weight."""
    subject, paper = "robust accuracy and loss at the end, largest to smallest TRADES weight", "both rise"
    methods = _trades_methods(content)
    if len(methods) < 2:
        return [not_measured(subject, paper, "fewer than two weights")]
    last, smallest = methods[-1], methods[0]
    by_seed = {(row["method"], row["seed"]): row["robust_accuracy"] for row in content["rows"]}
    seeds = [seed for method, seed in by_seed if method == last and (smallest, seed) in by_seed]
    shares = np.array([[by_seed[last, seed], by_seed[smallest, seed]] for seed in seeds])
    tested = content.get("study", {}).get("test_images", 0)
    # Correctness of single images is not kept: treating both test sets as independent gives an upper bound.
    of_images = float(np.sum(shares.mean(axis=0) * (1 - shares.mean(axis=0)))) / tested if tested else 0.0
    accuracy = stats.mean_over_seeds(shares[:, 0] - shares[:, 1], of_images=of_images)
    claim = Claim("rise_together", "TRADES", "robust_accuracy", last, smallest, 1)
    first = [finding_of(claim, accuracy), _finding(content, "rise_together", "explanation_loss_end", last, smallest, 1)]
    note = "" if of_images else "accuracy over seeds alone"
    return [_comparison(subject, paper, content, *decide(first), note=note)]
