"""The paper's claims on landscapes: ratios of curvatures and sharpness, models of the same seed compared.

A row's "numbers" holds mean and standard error over the images of every quantity.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jsep import record, stats
from jsep.report.findings import p_text, remark_of
from jsep.report.study_claims import Content, PaperRow, PaperRows

SAME_FACTOR = 1.25
"""Landscapes whose quantity differs by less than this factor either way count as the same."""


def _numbers(content: Content, method: str, name: str) -> dict[int, Mapping[str, Any]]:
    """seed -> mean, standard error and number of images of a quantity."""
    return {
        row["seed"]: row["numbers"][name]
        for row in content["rows"]
        if row["method"] == method and name in row.get("numbers", {})
    }


def log_ratio(content: Content, method: str, baseline: str, name: str) -> stats.CrossedMean | None:
    """log(quantity of method / quantity of baseline) over the seeds that both have; None where it is not positive.

    The images add the relative standard errors of both means, as of independent images, which is an upper bound.
    """
    own, others = _numbers(content, method, name), _numbers(content, baseline, name)
    pairs = [(own[seed], others[seed]) for seed in own if seed in others]
    means = np.array([[each["mean"] for each in pair] for pair in pairs], np.float64)
    if not len(means) or not np.isfinite(means).all() or means.min() <= 0:
        return None
    errors = np.array([[each["standard_error"] for each in pair] for pair in pairs], np.float64)
    of_images = float(np.sum(np.mean((errors / means) ** 2, axis=0)))
    return stats.mean_over_seeds(np.log(means[:, 0] / means[:, 1]), of_images=of_images)


def _ratio_row(what: str, paper: str, findings: Sequence[record.Finding], content: Content) -> PaperRow:
    parts, seeds = [], 0
    for found in findings:
        if found.mean is None:
            parts.append(found.reason)
            continue
        seeds = max(seeds, found.mean.num_seeds)
        ratio = [math.exp(value) if abs(value) < 50 else math.inf for value in found.interval]
        shown = f"{ratio[0]:.3g}" if math.isnan(ratio[1]) else f"{ratio[0]:.3g} [{ratio[1]:.2g}, {ratio[2]:.2g}]"
        p = "" if math.isnan(found.corrected_p) else f", p {p_text(found.corrected_p, equals=True)}"
        remark = remark_of(found)
        parts.append(f"{shown}{p}{f', {remark}' if remark else ''}")
    images = content.get("num_images", 0)
    basis = f"{seeds} seed{'s' if seeds != 1 else ''}{f', {images} images' if images else ''}"
    return PaperRow(what, paper, "; ".join(parts), record.worst(f.verdict for f in findings), basis)


def _finding(content: Content, question: str, name: str, method: str, baseline: str, sign: int) -> record.Finding:
    margin = 0.0 if sign else math.log(SAME_FACTOR)
    claim = record.Claim(question, name, name, method, baseline, sign, margin)
    return record.finding_of(claim, log_ratio(content, method, baseline, name))


def flatter_by_training(quantities: Mapping[str, str]) -> PaperRows:
    """Claim: adversarial training flattens a function of the image: mat over standard is below 1 (Figure 1b).

    Args: quantities: name in a row's numbers -> words; one family for Holm's correction.
    """

    def rows(content: Content) -> list[PaperRow]:
        first = [_finding(content, "flatter", name, "mat", "standard", -1) for name in quantities]
        return [
            _ratio_row(f"{quantities[f.claim.metric]}, mat to standard", "flatter (ratio below 1)", [f], content)
            for f in record.decide(first)
        ]

    return rows


def _trades_methods(content: Content) -> list[str]:
    """The methods "trades <weight>" by rising weight."""
    names = {row["method"] for row in content["rows"] if row["method"].startswith("trades ")}
    return sorted(names, key=lambda name: float(name.split()[1]))


def same_landscape(quantities: Mapping[str, str]) -> PaperRows:
    """Claim: the landscape of the explanation loss does not change with the weight of TRADES, 0 left out (Figure 3):
    equal within `SAME_FACTOR`, by two one-sided tests."""

    def rows(content: Content) -> list[PaperRow]:
        methods = [name for name in _trades_methods(content) if float(name.split()[1]) > 0]
        if len(methods) < 2:
            return [PaperRow("TRADES landscape", "no visible difference", "fewer than two weights", record.UNKNOWN, "")]
        first = [_finding(content, "same_landscape", name, methods[-1], methods[0], 0) for name in quantities]
        paper = f"no visible difference (here: within a factor of {SAME_FACTOR:g})"
        return [
            _ratio_row(f"{quantities[f.claim.metric]}, {methods[-1]} to {methods[0]}", paper, [f], content)
            for f in record.decide(first)
        ]

    return rows


def rise_together(content: Content) -> list[PaperRow]:
    """Claim: with a larger weight of TRADES both robustnesses rise (Table 1): largest against smallest weight."""
    what, paper = "robust accuracy and loss at the end, largest to smallest TRADES weight", "both rise"
    methods = _trades_methods(content)
    if len(methods) < 2:
        return [PaperRow(what, paper, "fewer than two weights", record.UNKNOWN, "")]
    last, smallest = methods[-1], methods[0]
    by_seed = {(row["method"], row["seed"]): row["robust_accuracy"] for row in content["rows"]}
    seeds = [seed for method, seed in by_seed if method == last and (smallest, seed) in by_seed]
    shares = np.array([[by_seed[last, seed], by_seed[smallest, seed]] for seed in seeds])
    tested = content.get("study", {}).get("test_images", 0)
    # The single images are not kept: as if the two models were tested on other ones each, an upper bound.
    of_images = float(np.sum(shares.mean(axis=0) * (1 - shares.mean(axis=0)))) / tested if tested else 0.0
    accuracy = stats.mean_over_seeds(shares[:, 0] - shares[:, 1], of_images=of_images)
    claim = record.Claim("rise_together", "TRADES", "robust_accuracy", last, smallest, 1)
    first = [
        record.finding_of(claim, accuracy),
        _finding(content, "rise_together", "explanation_loss_end", last, smallest, 1),
    ]
    of_accuracy, of_loss = record.decide(first)
    points = [f"{100 * value:+.1f}" for value in of_accuracy.interval]
    shown = f"{points[0]} points [{points[1]}, {points[2]}], p {p_text(of_accuracy.corrected_p, equals=True)}"
    shown += "" if of_images else ", over seeds alone"
    ratio = _ratio_row(what, paper, [of_loss], content)
    verdict = record.worst([of_accuracy.verdict, of_loss.verdict])
    return [ratio._replace(ours=f"{shown}; loss × {ratio.ours}", verdict=verdict)]
