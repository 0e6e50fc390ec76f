"""The paper's claims over many models, weights and clusterings."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jsep import evaluate, record, stats
from jsep.report.findings import p_text
from jsep.report.study_claims import Content, PaperRow, PaperRows


def between_clusters_above_within(measures: Mapping[str, str]) -> PaperRows:
    """Claim: explanations of different clusters differ more than those of one cluster (Figure 2).

    The unit is the model: the logarithm of its ratio between to within clusters, the mean over all clusterings.
    Args: measures: "loss" or "one_minus_concordance" -> words.
    """

    def rows(content: Content) -> list[PaperRow]:
        entries = record.upgrade(content).get("clusterings", ())
        found, first = [], []
        for key, words in measures.items():
            by_model: dict[str, list[float]] = {}
            for entry in entries:
                within, between = entry.get(f"{key}_intra"), entry.get(f"{key}_inter")
                if within and between:
                    by_model.setdefault(entry["model"], []).append(math.log(between / within))
            if not by_model:
                found.append(
                    PaperRow(f"{words} between to within clusters", "above 1", "no clusterings", record.UNKNOWN, "")
                )
                continue
            mean = stats.mean_over_seeds([float(np.mean(values)) for values in by_model.values()])
            claim = record.Claim("clusters", words, key, "between", "within", 1)
            first.append(record.finding_of(claim, mean))
        for each in record.decide(first):
            assert each.mean is not None
            ratio = [math.exp(value) for value in each.interval]
            count = f"{each.mean.num_seeds} models, {len(entries)} clusterings of them"
            ours = f"{ratio[0]:.3g} [{ratio[1]:.3g}, {ratio[2]:.3g}]{_p(each)}"
            found.append(
                PaperRow(f"{each.claim.subject} between to within clusters", "above 1", ours, each.verdict, count)
            )
        return found

    return rows


def _p(found: record.Finding) -> str:
    return "" if math.isnan(found.corrected_p) else f", p {p_text(found.corrected_p, equals=True)}"


def order_does_not_depend_on_selection(content: Content) -> list[PaperRow]:
    """What the comparison of selection ways is for: how many orders of the mean losses the ways of selecting give."""
    what, paper = "orders of the mean losses, by the way pairs are selected", "three ways compared"
    entries = content.get("summary", {}).get("selections", ())
    if not entries:
        return [PaperRow(what, paper, "no selections", record.UNKNOWN, "")]
    orders = {tuple(entry["order"]) for entry in entries}
    ours = f"{len(orders)} different from {len(entries)} ways"
    return [PaperRow(what, paper, ours, "", f"{entries[0]['num_draws']} draws each")]


TRENDS = ("scale_free_loss_end", "one_minus_concordance_end", "relative_reduction", "cosine_end")
"""The metrics whose trend over the SEP weight is asked for."""


def _of_correlation(entry: Mapping[str, Any], count: int) -> stats.CrossedMean:
    """A rank correlation on Fisher's scale, where its interval is near symmetric."""
    low, estimate, high = (math.atanh(min(max(entry[key], -0.9999), 0.9999)) for key in ("low", "estimate", "high"))
    return stats.mean_of_interval(stats.Interval(estimate, low, high), count)


def _correlation_text(found: record.Finding, entry: Mapping[str, Any]) -> str:
    return f"{entry['estimate']:+.2f} [{entry['low']:+.2f}, {entry['high']:+.2f}]{_p(found)}"


def harder_as_the_weight_falls(content: Content, side: str = "both") -> list[PaperRow]:
    """Claim: explanations get harder to manipulate as the SEP weight falls (Table 4), by the paper's metric and by
    those free of concentration: the rank correlation with the weight has the opposite sign of "more robust".

    side: of the weights: "negative", "positive" or "both".
    """
    entries = {(entry["metric"], entry["side"]): entry for entry in record.upgrade(content).get("trends", ())}
    rows, first = [], []
    for metric in TRENDS:
        sign = -evaluate.METRICS[metric].better
        what = f"rank correlation of SEP weight and {evaluate.METRICS[metric].heading}"
        paper = ("" if metric == TRENDS[0] else "reviewers: ") + f"{'below' if sign < 0 else 'above'} 0"
        entry = entries.get((metric, side))
        if entry is None:
            rows.append(PaperRow(what, paper, "no trend", record.UNKNOWN, ""))
            continue
        claim = record.Claim("trend", paper, metric, "SEP weight", "0", sign)
        first.append(record.finding_of(claim, _of_correlation(entry, entry["num_weights"])))
    for found in record.decide(first):
        entry = entries[found.claim.metric, side]
        what = f"rank correlation of SEP weight and {evaluate.METRICS[found.claim.metric].heading}"
        of = f"{entry['num_weights']} weights, {entry['num_models']} models"
        rows.append(PaperRow(what, found.claim.subject, _correlation_text(found, entry), found.verdict, of))
    return rows


STRONG = 0.7
"""A rank correlation of this size or more counts as strong."""


def not_strongly_correlated(measures: Mapping[str, str]) -> PaperRows:
    """Claim: over many models both robustnesses are not strongly correlated: within +-STRONG, by two one-sided tests.

    Args: measures: name in the result -> words; one family for Holm's correction.
    """

    def rows(content: Content) -> list[PaperRow]:
        entries, first, found = {}, [], []
        for measure, words in measures.items():
            wanted = {"subset": "all models", "unit": "models", "with_degraded": False, "measure": measure}
            listed = record.upgrade(content).get("correlations", ())
            entry = next((e for e in listed if all(e.get(k) == v for k, v in wanted.items())), None)
            what, paper = f"rank correlation of robust accuracy and {words}", f"not strong (below {STRONG:g})"
            if entry is None:
                found.append(PaperRow(what, paper, "not measured", record.UNKNOWN, ""))
                continue
            entries[what] = entry
            claim = record.Claim("not_strong", what, "robust_accuracy", measure, "0", 0, math.atanh(STRONG))
            first.append(record.finding_of(claim, _of_correlation(entry["spearman"], entry["num_settings"])))
        for each in record.decide(first):
            entry = entries[each.claim.subject]
            of = f"{entry['num_models']} models of {entry['num_settings']} settings"
            paper = f"not strong (below {STRONG:g})"
            text = _correlation_text(each, entry["spearman"])
            found.append(PaperRow(each.claim.subject, paper, text, each.verdict, of))
        return found

    return rows
