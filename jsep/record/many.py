"""The paper's claims that rest on many models, SEP weights or clusterings."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jsep import evaluate, stats
from jsep.record.claims import CORRELATION, RATIO, Claim
from jsep.record.paper import Ask, Comparison, Content, not_measured
from jsep.record.row import upgrade
from jsep.record.verdict import Finding, decide, finding_of


def between_clusters_above_within(measures: Mapping[str, str]) -> Ask:
    """Claim: explanations differ more between clusters than within one (Figure 2).

    The sampling unit is the model: the logarithm of its between-to-within ratio, averaged over all clusterings.
    Args: measures: "loss" or "one_minus_concordance" -> its wording.
    """

    def ask(content: Content) -> list[Comparison]:
        entries = upgrade(content).get("clusterings", ())
        found, first = [], []
        for key, words in measures.items():
            by_model: dict[str, list[float]] = {}
            for entry in entries:
                within, between = entry.get(f"{key}_intra"), entry.get(f"{key}_inter")
                if within and between:
                    by_model.setdefault(entry["model"], []).append(math.log(between / within))
            if not by_model:
                found.append(not_measured(f"{words} between to within clusters", "above 1", "no clusterings"))
                continue
            mean = stats.mean_over_seeds([float(np.mean(values)) for values in by_model.values()])
            claim = Claim("clusters", words, key, "between", "within", 1, scale=RATIO, units="models")
            first.append(finding_of(claim, mean))
        for each in decide(first):
            assert each.mean is not None
            basis = f"{each.mean.num_seeds} models, {len(entries)} clusterings of them"
            subject = f"{each.claim.subject} between to within clusters"
            found.append(Comparison(subject, "above 1", (each,), each.verdict, basis))
        return found

    return ask


def rank_by_selection(content: Content) -> list[Comparison]:
    """Compares the ways to select pairs: how often draws of pairs rank the models alike by their mean loss."""
    subject, paper = "draws that rank the models alike, by the way pairs are selected", "three ways compared"
    entries = content.get("summary", {}).get("selections", ())
    if not entries:
        return [not_measured(subject, paper, "no selections")]
    shares = [100 * entry["draws_in_order"] for entry in entries]
    note = f"{min(shares):.0f} to {max(shares):.0f} % with {len(entries)} ways"
    return [Comparison(subject, paper, basis=f"{entries[0]['num_draws']} draws each", note=note)]


def mean_standard_errors(selection: Mapping[str, Any]) -> np.ndarray:
    """Standard errors for one way to select pairs, averaged over the models; one entry for each number of pairs."""
    return np.mean(list(selection["standard_errors"].values()), axis=0)


TRENDS = ("scale_free_loss_end", "one_minus_concordance_end", "relative_reduction", "cosine_end")
"""The metrics whose trend with the SEP weight is tested."""

SIDES = ("both", "negative", "positive")
"""The weights of a trend: all, those up to 0, those from 0 on."""

STRONG = 0.7
"""A rank correlation of at least this magnitude counts as strong."""


def _correlation(claim: Claim, entry: Mapping[str, Any], size: int) -> Finding:
    """The finding for a rank correlation after Fisher's z-transformation, which makes its interval nearly symmetric."""
    low, estimate, high = (math.atanh(min(max(entry[key], -0.9999), 0.9999)) for key in ("low", "estimate", "high"))
    interval = stats.Interval(estimate, low, high)
    return dataclasses.replace(finding_of(claim, stats.mean_of_interval(interval, size)), measured=interval)


def harder_as_the_weight_falls(content: Content, side: str = "both") -> list[Comparison]:
    """Claim: explanations get harder to manipulate as the SEP weight falls (Table 4), by the paper's metric and by
    those independent of concentration: each metric's rank correlation with the weight has the sign of "less robust".

    The trends over all weights, the negative and the positive ones are one family for Holm's correction.
    side: which of them to return, "negative", "positive" or "both".
    """
    entries = {(entry["metric"], entry["side"]): entry for entry in upgrade(content).get("trends", ())}
    asked = [(metric, own) for metric in TRENDS for own in SIDES if (metric, own) in entries]
    first = []
    for metric, own in asked:
        claim = Claim("trend", own, metric, "SEP weight", "", -evaluate.METRICS[metric].better, scale=CORRELATION)
        first.append(_correlation(claim, entries[metric, own], entries[metric, own]["num_weights"]))
    decided = dict(zip(asked, decide(first), strict=True))
    found = []
    for metric in TRENDS:
        claimed = "below 0" if evaluate.METRICS[metric].better > 0 else "above 0"
        paper = claimed if metric == TRENDS[0] else f"reviewers: {claimed}"
        each, entry = decided.get((metric, side)), entries.get((metric, side), {})
        if each is None:
            found.append(not_measured(_trend_of(metric), paper, "no trend"))
            continue
        basis = f"{entry['num_weights']} weights, {entry['num_models']} models"
        found.append(Comparison(_trend_of(metric), paper, (each,), each.verdict, basis))
    return found


def _trend_of(metric: str) -> str:
    return f"rank correlation of SEP weight and {evaluate.METRICS[metric].heading}"


def not_strongly_correlated(measures: Mapping[str, str]) -> Ask:
    """Claim: over many models both robustnesses are not strongly correlated: |rho| < STRONG, by two one-sided tests.

    Args: measures: name in the result -> its wording; together they are one family for Holm's correction.
    """

    def ask(content: Content) -> list[Comparison]:
        entries, first, found = {}, [], []
        for measure, words in measures.items():
            subject, paper = f"rank correlation of robust accuracy and {words}", f"not strong (below {STRONG:g})"
            entry = correlation_of(upgrade(content), measure)
            if entry is None:
                found.append(not_measured(subject, paper, "not measured"))
                continue
            entries[subject] = entry
            claim = Claim(
                "not_strong", subject, "robust_accuracy", measure, "", 0, math.atanh(STRONG), "paper", CORRELATION
            )
            first.append(_correlation(claim, entry["spearman"], entry["num_settings"]))
        for each in decide(first):
            entry = entries[each.claim.subject]
            basis = f"{entry['num_models']} models of {entry['num_settings']} settings"
            found.append(Comparison(each.claim.subject, f"not strong (below {STRONG:g})", (each,), each.verdict, basis))
        return found

    return ask


def correlation_of(
    content: Content, measure: str, *, subset: str = "all models", unit: str = "models", with_degraded: bool = False
) -> Mapping[str, Any] | None:
    """The correlation coefficients of a study for one measure; None where it has none for this subset of models."""
    wanted = {"measure": measure, "subset": subset, "unit": unit, "with_degraded": with_degraded}
    listed = content.get("correlations", ())
    return next((entry for entry in listed if all(entry.get(key) == value for key, value in wanted.items())), None)
