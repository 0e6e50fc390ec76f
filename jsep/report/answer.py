"""The numbers in plain words: what the run says about the paper's claim, and what confounds it."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jsep.report.columns import LOSS_SCALE, decimals_for
from jsep.report.comparisons import p_text
from jsep.report.summary import as_number, mean_of, num_pixels_of, summarise

_END = "explanation_loss_end"

LEVEL = 0.05
"""Below this a corrected p-value counts as a difference."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the numbers say.

    Attributes:
        verdict: one sentence on the order of the losses at the end of the attack.
        order_as_in_paper: True or False, and None where the run cannot tell.
        claim: the sentences on the paper's claim.
        confound: the sentences on what else could explain it.
    """

    verdict: str
    order_as_in_paper: bool | None
    claim: tuple[str, ...]
    confound: tuple[str, ...]


def answer(result: Mapping[str, Any]) -> Answer:
    """Puts a result into words; every statement is computed from its rows, without the degraded methods.

    The paper's order: the smaller the SEP weight (flatten > 0 = plain adversarial training > sharpen), the
    higher the explanation loss that is left at the end.

    Args:
        result: the content of result.json.

    Returns:
        The sentences.

    Raises:
        InputError: there are no rows.
    """
    rows = result["rows"]
    summaries = summarise(rows)
    healthy = [summary for summary in summaries if not summary["degraded"]]
    # The rule comes before the verdict: a broken classifier may have the highest loss of all.
    family = _family(healthy)
    left_out = [s["method"] for s in _family(summaries) if s["degraded"]]
    verdict, as_in_paper = _verdict(family, left_out)
    claim = []
    chain = chain_of(healthy, _END, lambda mean, decimals: f"{LOSS_SCALE * mean:.{decimals}f}", LOSS_SCALE)
    if chain:
        claim.append(
            f"At the end of the attack the mean explanation loss is {chain} (×10⁻⁷; higher is harder to manipulate)."
        )
    more = (_in_seeds(rows, family), _tested(result, family), _robust(family), degraded_sentence(result))
    claim += [sentence for sentence in more if sentence]
    confound = [
        sentence
        for sentence in (_reduction(family), _start(family), _pixels(family, num_pixels_of(rows)), _matched(family))
        if sentence
    ]
    return Answer(verdict, as_in_paper, tuple(claim), tuple(confound))


def _family(summaries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What the claim is about, by falling weight: methods with a SEP weight and what they are built on."""
    by_name = {summary["method"]: summary for summary in summaries}
    baseline = next((name for name in ("mat", "trades") if name in by_name), None)
    family = [s for s in summaries if s["method"] == baseline or s["sep_weight"] != 0.0]
    return sorted(family, key=lambda summary: -summary["sep_weight"])


def chain_of(summaries: Sequence[Mapping[str, Any]], key: str, text: Callable[[float, int], str], scale: float) -> str:
    """'a 5.8 < b 7.1': the methods in ascending order of one metric, '=' where what is shown is equal."""
    known = sorted(
        ((mean, s["method"]) for s in summaries if (mean := mean_of(s, key)) is not None),
        key=lambda pair: pair[0],
    )
    decimals = decimals_for([scale * mean for mean, _ in known])
    parts: list[str] = []
    previous = None
    for mean, method in known:
        shown = text(mean, decimals)
        if previous is not None:
            parts.append("=" if shown == previous else "<")
        parts.append(f"{method} {shown}")
        previous = shown
    return " ".join(parts)


def listing(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _violations(ends: Mapping[str, float], weights: Mapping[str, float]) -> list[tuple[str, str]]:
    """The pairs (larger weight, smaller weight) whose losses are not in the paper's order."""
    return [(a, b) for a, b in itertools.permutations(ends, 2) if weights[a] > weights[b] and not ends[a] < ends[b]]


def _verdict(family: Sequence[Mapping[str, Any]], left_out: Sequence[str]) -> tuple[str, bool | None]:
    ends = {s["method"]: mean for s in family if (mean := mean_of(s, _END)) is not None}
    weights = {s["method"]: float(s["sep_weight"]) for s in family}
    missing = [s["method"] for s in family if s["method"] not in ends]
    caution = f" Without a finite loss at the end, so not in this order: {listing(missing)}." if missing else ""
    if left_out:
        caution += f" Degraded, so left out of this order: {listing(left_out)}."
    if len({weights[method] for method in ends}) < 2:
        return (
            "This run does not have two methods with different SEP weights, so it cannot speak for or "
            f"against the paper's order.{caution}",
            None,
        )
    # In the order of falling weight; methods of equal weight have no order.
    expected = next(iter(ends)) + "".join(
        (", " if weights[a] == weights[b] else " < ") + b for a, b in itertools.pairwise(ends)
    )
    violations = _violations(ends, weights)
    if not violations:
        return f"This is the paper's order, {expected}.{caution}", True
    decimals = decimals_for([LOSS_SCALE * end for end in ends.values()])
    wrong = listing(
        [
            f"{a} ({LOSS_SCALE * ends[a]:.{decimals}f}) is not below {b} ({LOSS_SCALE * ends[b]:.{decimals}f})"
            for a, b in violations[:3]
        ]
    )
    return f"This is not the paper's order, which is {expected}: {wrong}.{caution}", False


def _in_seeds(rows: Sequence[Mapping[str, Any]], family: Sequence[Mapping[str, Any]]) -> str:
    """In how many single seeds the paper's order holds: a mean alone can hide a lucky seed."""
    weights = {s["method"]: float(s["sep_weight"]) for s in family}
    by_seed: dict[str, dict[str, float]] = {}
    for row in rows:
        end = as_number(row.get(_END))
        if row["method"] in weights and end is not None and math.isfinite(end):
            by_seed.setdefault(str(row.get("seed")), {})[row["method"]] = end
    complete = [ends for ends in by_seed.values() if len(ends) == len(weights)]
    if len(set(weights.values())) < 2 or len(complete) < 2:
        return ""
    held = sum(not _violations(ends, weights) for ends in complete)
    return f"The paper's order holds in {held} of {len(complete)} seeds."


def _tested(result: Mapping[str, Any], family: Sequence[Mapping[str, Any]]) -> str:
    """Which differences at the end the paired tests find: an order of means alone may be chance."""
    statistics = result.get("statistics")
    entries = statistics.get("comparisons", []) if isinstance(statistics, Mapping) else []
    names = [summary["method"] for summary in family]
    texts = []
    for entry in entries:
        p_value = as_number(entry.get("holm_p"))
        if entry["metric"] != _END or p_value is None or not {entry["method"], entry["baseline"]} <= set(names):
            continue
        shown = p_text(p_value)
        told = "differs from" if p_value < LEVEL else "is not told apart from"
        texts.append(f"{entry['method']} {told} {entry['baseline']} (p {shown if shown[0] == '<' else '= ' + shown})")
    return f"In the loss at the end, on the same pairs and after Holm's correction, {listing(texts)}." if texts else ""


def _robust(family: Sequence[Mapping[str, Any]]) -> str:
    known = {s["method"]: mean for s in family if (mean := mean_of(s, "robust_accuracy")) is not None}
    if len(known) < 2:
        return ""
    low, high = min(known.values()), max(known.values())
    names = listing(list(known))
    return (
        f"The mean robust accuracies of {names} differ by at most {100 * (high - low):.1f} points "
        f"({100 * low:.1f} % to {100 * high:.1f} %)."
    )


def degraded_sentence(result: Mapping[str, Any]) -> str:
    """Which models the rule for degraded ones leaves out of the verdict, or that it could not be applied."""
    summaries = summarise(result["rows"])
    reference = result.get("reference", "mat")
    if reference not in {summary["method"] for summary in summaries}:
        missing = "mat" if reference is None else reference
        return f"The rule for degraded models was not applied: there is no {missing} to compare with."
    broken = [summary for summary in summaries if summary["degraded"]]
    if not broken:
        return "No model is degraded."
    texts = [
        f"{s['method']} (mean clean accuracy {100 * clean:.1f} %)"
        if (clean := mean_of(s, "clean_accuracy")) is not None
        else s["method"]
        for s in broken
    ]
    return f"Degraded in at least one seed: {listing(texts)}."


def _reduction(family: Sequence[Mapping[str, Any]]) -> str:
    known = [s for s in family if mean_of(s, "relative_reduction") is not None and mean_of(s, _END) is not None]
    if len(known) < 2:
        return ""
    chain = chain_of(known, "relative_reduction", lambda mean, _: f"{100 * mean:.1f} %", 100.0)
    by_loss = [s["method"] for s in sorted(known, key=lambda s: -(mean_of(s, _END) or 0.0))]
    by_share = [s["method"] for s in sorted(known, key=lambda s: mean_of(s, "relative_reduction") or 0.0)]
    if " = " in chain:
        judgement = "which does not tell all of them apart"
    elif by_share == by_loss:
        judgement = "which gives the same order of robustness"
    elif by_share == by_loss[::-1]:
        judgement = "which gives the opposite order of robustness"
    else:
        judgement = "which gives another order of robustness"
    return f"The attack removes {chain} of the loss it starts from (less is harder to manipulate), {judgement}."


def _start(family: Sequence[Mapping[str, Any]]) -> str:
    known = [s for s in family if mean_of(s, "explanation_loss_start") is not None and mean_of(s, _END) is not None]
    if len(known) < 2:
        return ""
    chain = chain_of(
        known,
        "explanation_loss_start",
        lambda mean, decimals: f"{LOSS_SCALE * mean:.{decimals}f}",
        LOSS_SCALE,
    )
    by_start = sorted(known, key=lambda s: mean_of(s, "explanation_loss_start") or 0.0)
    by_end = sorted(known, key=lambda s: mean_of(s, _END) or 0.0)
    same = [s["method"] for s in by_start] == [s["method"] for s in by_end]
    if " = " in chain:
        tail = (
            "they hardly differ before the attack" if " < " not in chain else "not all of them differ before the attack"
        )
    else:
        tail = "the same order as at the end, before any attack" if same else "another order than at the end"
    return f"Before the attack the loss is {chain} (×10⁻⁷): {tail}."


def _pixels(family: Sequence[Mapping[str, Any]], num_pixels: int | None) -> str:
    known = [s for s in family if mean_of(s, "effective_pixels") is not None]
    if not known:
        return ""
    chain = chain_of(known, "effective_pixels", lambda mean, _: f"{mean:.1f}", 1.0)
    of = f" of {num_pixels}" if num_pixels else ""
    return (
        f"The maps lie on {chain} effective pixels{of}; a map on fewer pixels has a higher loss against any "
        "target, so such a difference can come from where the map lies and not from how hard it is to move."
    )


def _matched(family: Sequence[Mapping[str, Any]]) -> str:
    """The order of the losses at the end once the concentration of the maps is taken out."""
    known = [s for s in family if mean_of(s, "excess_end") is not None and mean_of(s, _END) is not None]
    if len(known) < 2:
        return ""
    chain = chain_of(known, "excess_end", lambda mean, _: f"{mean:.3f}", 1.0)
    by_loss = [s["method"] for s in sorted(known, key=lambda s: mean_of(s, _END) or 0.0)]
    by_excess = [s["method"] for s in sorted(known, key=lambda s: mean_of(s, "excess_end") or 0.0)]
    if " = " in chain:
        judgement = "which does not tell all of them apart"
    elif by_excess == by_loss:
        judgement = "which gives the same order of robustness, so that it is not concentration alone"
    elif by_excess == by_loss[::-1]:
        judgement = (
            "which gives the opposite order of robustness: the losses differ by concentration, and not by how hard the "
            "maps are to move"
        )
    else:
        judgement = "which gives another order of robustness: concentration has a part in the losses"
    return (
        "To take concentration out, each loss is divided by the loss that chance would give: that of the same two maps "
        "with the pixels of one permuted at random, as concentrated as before and with no relation of place (1: no "
        f"more alike than by chance, 0: equal). At the end of the attack this ratio is {chain} (higher is harder to "
        f"manipulate), {judgement}."
    )
