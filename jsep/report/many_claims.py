"""The paper's claims over many models, weights, clusterings and draws, each judged by a function of a result."""

from jsep.report.findings import FAILS, HOLDS, OPEN, Finding, Result, unknown, verdict_of_interval


def between_clusters_above_within(key: str, words: str, result: Result) -> Finding:
    """Claim: explanations of different clusters differ more than those of one cluster (Figure 2).

    Args: key: "loss", or "excess" for the loss over that of equally concentrated maps with permuted pixels.
    """
    what, paper = f"{words} between to within clusters", "above 1"
    entries = result.get("clusterings", ())
    ratios = [e[f"{key}_inter"] / e[f"{key}_intra"] for e in entries if e.get(f"{key}_intra") and f"{key}_inter" in e]
    if not ratios:
        return unknown(what, paper, "no clusterings")
    above = sum(ratio > 1 for ratio in ratios)
    ours = f"{min(ratios):.2f} to {max(ratios):.2f}, above 1 in {above} of {len(ratios)}"
    return Finding(what, paper, ours, HOLDS if above == len(ratios) else FAILS, f"{len(ratios)} clusterings and models")


def order_does_not_depend_on_selection(result: Result) -> Finding:
    """What the comparison of selection ways is for: the same order of the models whatever pairs are drawn."""
    what, paper = "order of the models by the way pairs are selected", "three ways compared"
    entries = result.get("summary", {}).get("selections", ())
    if not entries:
        return unknown(what, paper, "no selections")
    orders = {tuple(entry["order"]) for entry in entries}
    return Finding(
        what, paper, f"{len(orders)} orders from {len(entries)} ways", "", f"{entries[0]['num_draws']} draws each"
    )


TRENDS = {
    "scale_free_loss_end": (-1, "loss at the end"),
    "excess_end": (-1, "loss / chance at the end"),
    "relative_reduction": (1, "share that the attack removes"),
    "cosine_end": (1, "cosine to the target's map at the end"),
}
"""metric -> (the sign of its correlation with the SEP weight where a falling weight makes maps harder to manipulate,
words)."""


def harder_as_the_weight_falls(metric: str, result: Result) -> Finding:
    """Claim: the loss at the end grows as the SEP weight falls: its Spearman correlation with the weight is below 0.

    For the metrics free of concentration the question of its reviewers, whether they say so too.
    """
    sign, words = TRENDS[metric]
    what = f"rank correlation of SEP weight and {words}"
    paper = ("" if metric == "scale_free_loss_end" else "reviewers: ") + f"{'below' if sign < 0 else 'above'} 0"
    sides = {e["side"]: e for e in result.get("trends", ()) if e["metric"] == metric}
    if "both" not in sides:
        return unknown(what, paper, "no trend")
    parts = [
        f"{side} weights {entry['estimate']:+.2f} [{entry['low']:+.2f}, {entry['high']:+.2f}]"
        for side, entry in sides.items()
    ]
    entry = sides["both"]
    verdict = verdict_of_interval(entry["low"], entry["high"], sign)
    return Finding(
        what, paper, ", ".join(parts), verdict, f"{entry['num_weights']} weights, {entry['num_models']} models"
    )


STRONG = 0.7
"""A rank correlation of this size or more counts as strong."""


def not_strongly_correlated(measure: str, words: str, result: Result) -> Finding:
    """Claim: over many models both robustnesses are not strongly correlated: the interval is inside of +-STRONG."""
    what, paper = f"rank correlation of robust accuracy and {words}", f"not strong (below {STRONG:g})"
    wanted = {"subset": "all models", "unit": "models", "with_degraded": False, "measure": measure}
    entry = next((e for e in result.get("correlations", ()) if all(e.get(k) == v for k, v in wanted.items())), None)
    if entry is None:
        return unknown(what, paper, "not measured")
    found = entry["spearman"]
    low, high = found["low"], found["high"]
    verdict = HOLDS if low > -STRONG and high < STRONG else FAILS if low >= STRONG or high <= -STRONG else OPEN
    basis = f"{entry['num_models']} models of {entry['num_settings']} settings"
    return Finding(what, paper, f"{found['estimate']:+.2f} [{low:+.2f}, {high:+.2f}]", verdict, basis)
