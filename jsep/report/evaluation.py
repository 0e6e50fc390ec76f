"""An evaluation in plain words: the rule for degraded models first, then who is robust, and what that is made of."""

from collections.abc import Mapping, Sequence
from typing import Any

from jsep.report.answer import LEVEL, Answer, answer, degraded_sentence, listing
from jsep.report.columns import LOSS_SCALE, significant
from jsep.report.comparisons import p_text
from jsep.report.summary import as_number, mean_of, num_pixels_of, summarise


def evaluation_answer(result: Mapping[str, Any]) -> Answer:
    """Puts an evaluation into words; every statement is computed from its rows and statistics.

    Degraded models are named first and left out of everything that follows. Where two models differ in their SEP
    weight, the sentences on the paper's order (`answer`) follow.

    Raises: InputError: there are no rows.
    """
    healthy = [summary for summary in summarise(result["rows"]) if not summary["degraded"]]
    verdict = [degraded_sentence(result), *_predictions(result, healthy), *_explanations(result, healthy)]
    base = answer(result)
    if base.order_as_in_paper is None:
        claim, confound = [], [] if len(healthy) < 2 else list(base.confound)
    else:
        claim, confound = [base.verdict, *(s for s in base.claim if s != verdict[0])], list(base.confound)
    return Answer(" ".join(verdict), base.order_as_in_paper, (*_auto_attack(result), *claim), tuple(confound))


def _interval(result: Mapping[str, Any], method: str, metric: str, scale: float, unit: str) -> str:
    """', 95 % interval 60.1 % to 70.2 %', or nothing."""
    entries = result.get("statistics", {}).get("intervals", [])
    found = next((e for e in entries if (e["method"], e["metric"]) == (method, metric)), None)
    if found is None or found["low"] is None:
        return ""
    low, high = (f"{scale * found[key]:.1f}{unit}" for key in ("low", "high"))
    return f", 95 % interval {low} to {high}"


def _against(result: Mapping[str, Any], method: str, metric: str) -> str:
    """What the paired test says of a method and the baseline in one metric, or nothing."""
    entries = result.get("statistics", {}).get("comparisons", [])
    found = next((e for e in entries if (e["method"], e["metric"]) == (method, metric)), None)
    p_value = None if found is None else as_number(found.get("holm_p"))
    if found is None or p_value is None:
        return ""
    text = p_text(p_value)
    equal = "" if text.startswith("<") else "= "
    told = "differs from" if p_value < LEVEL else "is not told apart from"
    return f" It {told} {found['baseline']} on the same images (p {equal}{text} after Holm's correction)."


def _best(summaries: Sequence[Mapping[str, Any]], key: str) -> tuple[str, float] | None:
    known = [(mean, s["method"]) for s in summaries if (mean := mean_of(s, key)) is not None]
    return (max(known)[1], max(known)[0]) if known else None


def _predictions(result: Mapping[str, Any], healthy: Sequence[Mapping[str, Any]]) -> list[str]:
    best = _best(healthy, "robust_accuracy")
    if best is None:
        return ["No model is left to be judged."]
    method, accuracy = best
    shown = f"{100 * accuracy:.1f} %{_interval(result, method, 'robust_accuracy', 100.0, ' %')}"
    if len(healthy) == 1:
        return [f"{method} has a robust accuracy of {shown}."]
    names = listing([summary["method"] for summary in healthy])
    equal = [s["method"] for s in healthy if mean_of(s, "robust_accuracy") == accuracy]
    have = "have" if len(equal) > 1 else "has"
    sentence = f"Of {names}, {listing(equal)} {have} the highest robust accuracy, {shown}."
    if len(equal) > 1:
        return [sentence]
    return [sentence + _against(result, method, "robust_accuracy")]


def _explanations(result: Mapping[str, Any], healthy: Sequence[Mapping[str, Any]]) -> list[str]:
    by_loss, by_excess = _best(healthy, "explanation_loss_end"), _best(healthy, "excess_end")
    if by_loss is None:
        return []
    shown = significant(LOSS_SCALE * by_loss[1])
    if len(healthy) == 1:
        summary = healthy[0]
        removed, pixels = mean_of(summary, "relative_reduction"), mean_of(summary, "effective_pixels")
        size = num_pixels_of(result["rows"])
        of = f" of {size}" if size else ""
        return [
            f"The attack on its explanations removes {100 * (removed or 0):.1f} % of the explanation loss and leaves "
            f"{shown} (×10⁻⁷); the maps lie on {pixels or 0:.1f} effective pixels{of}."
        ]
    sentence = f"Under the attack on explanations {by_loss[0]} keeps the highest explanation loss, {shown} (×10⁻⁷)."
    sentence += _against(result, by_loss[0], "explanation_loss_end")
    if by_excess is None:
        return [sentence]
    if by_excess[0] == by_loss[0]:
        also = f"It is also the highest over the loss of equally concentrated maps ({by_excess[1]:.3f})"
        return [sentence, f"{also}, so that it is not concentration alone."]
    of_loss = next(mean_of(s, "excess_end") for s in healthy if s["method"] == by_loss[0])
    return [
        sentence,
        f"With the concentration of the maps taken out it is another: over the loss of equally concentrated maps "
        f"{by_excess[0]} keeps the most ({by_excess[1]:.3f}; {by_loss[0]}: {of_loss or 0:.3f})."
        + _against(result, by_excess[0], "excess_end"),
    ]


def _auto_attack(result: Mapping[str, Any]) -> list[str]:
    """The accuracies under AutoAttack and the automatic checks that were raised."""
    rows = [row for row in result["rows"] if as_number(row.get("auto_attack_accuracy")) is not None]
    if not rows:
        return []
    texts = [
        f"{s['method']} {100 * mean:.1f} %"
        for s in summarise(rows)
        if (mean := mean_of(s, "auto_attack_accuracy")) is not None
    ]
    raised = [f"{r['method']} (seed {r['seed']}): {text}" for r in rows for text in r.get("auto_attack_warnings", [])]
    return [f"AutoAttack leaves {listing(texts)} of the test images.", *raised]
