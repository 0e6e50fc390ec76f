"""The findings of `record.verdict` in words and cells: the one place where a verdict becomes text."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jsep import evaluate, record, stats
from jsep.report.columns import MISSING

HEAD = ("question", "compared", "difference", "95 % interval", "corrected p", "verdict", "remark")

NOTE = (
    "Method less baseline on the same pairs and images with the same seeds. Interval: 95 %, of other seeds and other "
    "images (both are drawn anew, and pairs that share an image are not independent). Corrected p: Holm's, over all "
    'rows of this table; below 0.05 it decides. "undecided": the data allow either; the remark says how many seeds '
    'would decide if nothing else changed. "equal": both one-sided tests put the difference within 2 points.'
)

FEW_SEEDS = "With three seeds the 95 % interval reaches 4.3 standard errors to either side, so that most is undecided."


class Answer(NamedTuple):
    """What a result says: headline, one or two sentences for the top of a page; sentences, one a question; verdicts,
    (question, subject) -> verdict, of which all of it is made."""

    headline: str
    sentences: tuple[str, ...]
    verdicts: Mapping[tuple[str, str], str]


def answer(content: Mapping[str, Any]) -> Answer:
    """Puts the findings of a result into words. Args: content: of result.json, of any format."""
    result = record.Result.from_dict(content)
    findings = record.judge(result)
    questions = record.by_question(findings)
    found = record.verdicts(findings)
    sentences = [question_sentence(key, own) for key, own in questions.items()]
    if any(f.mean is not None and f.mean.num_seeds == 3 and f.verdict == record.UNDECIDED for f in findings):
        sentences.append(FEW_SEEDS)
    return Answer(_headline(result, found), (*sentences, degraded_sentence(content)), found)


_HEADLINES = (
    ("order_by_loss", "The paper's order of explanation robustness (flattening lowers, sharpening raises the loss that "
     "the attack leaves)"),
    ("order_by_concordance", "the same with the concentration of the maps taken out"),
    ("equal_accuracy", "robust accuracy equal within 2 points"),
    ("belief_by_loss", "explanations harder to manipulate after adversarial training, by the loss left"),
    ("belief_by_concordance", "the same with the concentration of the maps taken out"),
)  # fmt: skip
"""What the headline of a result is about: question -> words."""


def _headline(result: record.Result, found: Mapping[tuple[str, str], str]) -> str:
    parts = []
    for question, words in _HEADLINES:
        own = [(subject, verdict) for (name, subject), verdict in found.items() if name == question]
        for subject, verdict in own:
            of = f" ({subject})" if len(own) > 1 else ""
            parts.append(f"{words}{of}: {verdict}")
    if not parts:
        parts = [
            f"{record.QUESTIONS[name].sentence} ({subject}): {verdict}" for (name, subject), verdict in found.items()
        ]
    if not parts:
        methods = ", ".join(result.methods)
        return f"{methods}: no two methods of this result are compared by a claim."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def question_sentence(key: tuple[str, str], findings: Sequence[record.Finding]) -> str:
    """'SEP leaves robust accuracy where it was, within 2 points: undecided (sep_pos - mat -1.5 points [...], ...).'"""
    sentence = record.QUESTIONS[key[0]].sentence
    parts = "; ".join(finding_text(finding) for finding in findings)
    verdict = record.verdict_of(findings)
    return f"{sentence[0].upper()}{sentence[1:]}: {verdict} ({parts})."


def finding_text(finding: record.Finding) -> str:
    """'sep_pos − mat −72 [−207, +63] × 1e-7, p = 1.000', with the remark where there is one."""
    claim = finding.claim
    compared = f"{claim.method} − {claim.baseline}"
    if finding.mean is None:
        return f"{compared}: {finding.reason}"
    unit = _unit(claim.metric)
    p = "" if math.isnan(finding.corrected_p) else f", p {p_text(finding.corrected_p, equals=True)}"
    remark = remark_of(finding)
    return f"{compared} {interval_text(finding)}{f' {unit}' if unit else ''}{p}{f', {remark}' if remark else ''}"


def remark_of(finding: record.Finding) -> str:
    """How many seeds would decide, what was left out, or why nothing can be told."""
    parts = [finding.reason] if finding.reason else []
    if finding.verdict == record.UNDECIDED:
        parts.append(
            "more seeds alone would not decide, more images are needed"
            if finding.seeds_needed is None
            else f"about {finding.seeds_needed} seeds would decide"
        )
    if finding.these_models is not None:
        parts.append("interval of these models alone")
    return "; ".join(parts)


def finding_cells(content: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the table of findings, in the order of HEAD; none where nothing is compared."""
    rows = []
    for finding in record.judge(record.Result.from_dict(content)):
        claim = finding.claim
        unit = _unit(claim.metric)
        interval = finding.interval
        rows.append(
            [
                record.QUESTIONS[claim.question].heading + (f" [{unit}]" if unit else ""),
                f"{claim.method} − {claim.baseline}",
                signed(interval.estimate, claim.metric),
                MISSING
                if math.isnan(interval.low)
                else f"{signed(interval.low, claim.metric)} … {signed(interval.high, claim.metric)}",
                p_text(finding.corrected_p),
                finding.verdict,
                remark_of(finding),
            ]
        )
    return rows


def findings_markdown(content: Mapping[str, Any]) -> str:
    """The table of findings with its note, or nothing where nothing is compared."""
    rows = finding_cells(content)
    if not rows:
        return ""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|---:|---:|---:|---|---|"]
    lines += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows]
    return "\n".join([*lines, "", NOTE])


def interval_text(finding: record.Finding) -> str:
    """'−72 [−207, +63]' in the unit in which the metric is shown."""
    metric, interval = finding.claim.metric, finding.interval
    if math.isnan(interval.low):
        return signed(interval.estimate, metric)
    return f"{signed(interval.estimate, metric)} [{signed(interval.low, metric)}, {signed(interval.high, metric)}]"


def signed(value: float, metric: str) -> str:
    """A difference with its sign, as its metric is shown, with three significant digits."""
    if math.isnan(value):
        return MISSING
    shown = value * evaluate.METRICS[metric].scale
    size = abs(shown)
    text = f"{shown:+.0f}" if size >= 100 else f"{shown:+.1f}" if size >= 10 else f"{shown:+.3g}"
    if size < 10 and evaluate.METRICS[metric].decimals is not None:
        text = f"{shown:+.{evaluate.METRICS[metric].decimals}f}"
    return text.replace("-", "−")


def _unit(metric: str) -> str:
    """Of a difference: points where the metric is in percent."""
    shown = evaluate.METRICS[metric]
    return {"%": "points", "1e-7": "× 1e-7"}.get(shown.unit, shown.unit)


def p_text(value: float | None, *, equals: bool = False) -> str:
    """A p-value as shown.

    >>> p_text(0.0412), p_text(0.0002), p_text(None), p_text(0.5, equals=True)
    ('0.041', '< 0.001', '–', '= 0.500')
    """
    if value is None or math.isnan(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{'= ' if equals else ''}{value:.3f}"


def listing(names: Sequence[str]) -> str:
    """Such as "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def degraded_sentence(content: Mapping[str, Any]) -> str:
    """Which models are degraded, so that no verdict rests on them."""
    broken = sorted({str(row["method"]) for row in content.get("rows", ()) if row.get("degraded")})
    if not broken:
        return "No model is degraded."
    return f"Degraded in at least one seed, and left out of every comparison: {listing(broken)}."


def auto_attack_sentences(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The automatic checks of AutoAttack that were raised, each with its model."""
    return tuple(
        f"{row['method']} (seed {row['seed']}): {text}"
        for row in content.get("rows", ())
        for text in row.get("auto_attack_warnings", [])
    )


def seeds_and_images(mean: stats.CrossedMean) -> str:
    """Such as "3 seeds, 24 pairs"."""
    seeds = f"{mean.num_seeds} seed{'s' if mean.num_seeds != 1 else ''}"
    return f"{seeds}, {mean.num_pairs} pairs" if mean.num_pairs else seeds
