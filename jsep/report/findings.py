"""The findings of `record.verdict` as text and table cells: the only module that words a verdict."""

import collections
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from jsep import evaluate, record
from jsep.evaluate import Metric
from jsep.record import readable, readable_all
from jsep.record.summary import often_raised_warnings
from jsep.report.formatting import MISSING, coefficient, factor, listing, p_text, signed, unit_of_difference
from jsep.report.table import Cell, Column, Table, make_table, text_column

NOTE = (
    "Method less baseline on the same pairs and images with the same seeds. Interval: 95 %, of other seeds and other "
    "images (both are drawn anew, and pairs that share an image are not independent). Corrected p: Holm's, over all "
    'rows of this table; below 0.05 it decides. "undecided": the data allow either; the remark says how many seeds '
    'would decide if nothing else changed. "equal": both one-sided tests put the difference within 2 points.'
)

FEW_SEEDS = "With three seeds the 95 % interval reaches 4.3 standard errors to either side, so that most is undecided."


_MOST_QUESTIONS = 16
"""A terminal shows no more verdicts than this one by one."""


class Answer(NamedTuple):
    """The answer of a result in words. headline: one or two sentences for the top of a page; sentences: one for each
    question; verdicts: (question, subject) -> verdict, from which both are made."""

    headline: str
    sentences: tuple[str, ...]
    verdicts: Mapping[tuple[str, str], str]


def answer(content: Mapping[str, Any]) -> Answer:
    """The findings of a result in words. Args: content: of a result.json of any format version."""
    result = record.Result.from_dict(content)
    findings = record.judge(result)
    found = record.verdicts(findings)
    sentences = [_sentence(key, own) for key, own in record.by_question(findings).items()]
    if any(f.mean is not None and f.mean.num_seeds == 3 and f.verdict == record.UNDECIDED for f in findings):
        sentences.append(FEW_SEEDS)
    sentences += [*_attack_sentences(result), *_warning_sentences(content)]
    return Answer(_headline(result, found), (*sentences, *_degraded_sentences(result)), found)


def brief_answer(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The verdicts alone, as a terminal shows them: the headline, the other questions, the remarks on the whole."""
    found = answer(content)
    names = [name for name, _ in found.verdicts]
    others = [
        f"{record.QUESTIONS[name].heading}{f' ({readable(subject)})' if names.count(name) > 1 else ''}: {own}"
        for (name, subject), own in found.verdicts.items()
        if name not in _HEADLINES
    ]
    shown = (each for each in found.sentences if each in (FEW_SEEDS, _ONE_ATTACK) or each.startswith(_WARNING))
    remarks = (*shown, found.sentences[-1])
    if len(names) > _MOST_QUESTIONS:
        counts = collections.Counter(found.verdicts.values())
        parts = "; ".join(f"{verdict}: {counts[verdict]}" for verdict in record.VERDICTS if counts[verdict])
        return (f"{len(names)} questions about the methods. {_capital(parts)}. The page has each of them.", *remarks)
    has_headline = any(name in _HEADLINES for name in names)
    said = [f"By other measures: {'; '.join(others)}."] if others and has_headline else []
    return (found.headline, *said, *remarks)


_HEADLINES = {
    "order_by_loss": "The paper's order of explanation robustness (flattening lowers, sharpening raises the loss that "
    "the attack leaves)",
    "order_by_concordance": "the same with the concentration of the maps taken out",
    "equal_accuracy": "robust accuracy equal within 2 points",
    "belief_by_loss": "explanations harder to manipulate after adversarial training, by the loss left",
    "belief_by_concordance": "the same with the concentration of the maps taken out",
}
"""question -> its wording in the headline of a result."""


def _headline(result: record.Result, found: Mapping[tuple[str, str], str]) -> str:
    parts = []
    for question, about in _HEADLINES.items():
        own = [(subject, verdict) for (name, subject), verdict in found.items() if name == question]
        for subject, verdict in own:
            of = f" ({readable(subject)})" if len(own) > 1 else ""
            parts.append(f"{about}{of}: {verdict}")
    if not parts:
        parts = [
            f"{record.QUESTIONS[name].sentence} ({readable(subject)}): {verdict}"
            for (name, subject), verdict in found.items()
        ]
    if not parts:
        return f"{'; '.join(map(readable, result.methods))}: no two methods of this result are compared by a claim."
    return _capital(f"{'; '.join(parts)}.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(key: tuple[str, str], findings: Sequence[record.Finding]) -> str:
    """'SEP leaves robust accuracy where it was, within 2 points: undecided (SEP +, flattened less MAT −1.5 points
    [...], ...).'"""
    parts = "; ".join(map(finding_text, findings))
    return _capital(f"{record.QUESTIONS[key[0]].sentence}: {record.verdict_of(findings)} ({parts}).")


def finding_text(finding: record.Finding, *, unsaid: Collection[str] = ()) -> str:
    """'SEP +, flattened less MAT −0.30 [−0.85, +0.26] N²·MSE, p = 1.000', with its remarks, except those in
    `unsaid`."""
    claim = finding.claim
    if finding.mean is None:
        return f"{_compared(claim)}: {finding.reason}".removeprefix(": ")
    p = "" if math.isnan(finding.corrected_p) else f", p {p_text(finding.corrected_p, equals=True)}"
    remark = "; ".join(each for each in remarks_of(finding) if each not in unsaid)
    return f"{_compared(claim)} {interval_text(finding)}{p}{f', {remark}' if remark else ''}".strip()


def _compared(claim: record.Claim) -> str:
    if claim.contrast:
        return readable_all(claim.method, tuple(claim.weights))
    # Not a minus sign, which some of the names have.
    sign = {record.DIFFERENCE: "less", record.RATIO: "/"}.get(claim.scale)
    return f"{readable(claim.method)} {sign} {readable(claim.baseline)}" if sign else ""


def _metric(finding: record.Finding) -> Metric:
    return evaluate.METRICS[finding.claim.metric].of_maps(finding.num_pixels)


def interval_text(finding: record.Finding) -> str:
    """'−0.30 [−0.85, +0.26] N²·MSE' in the display unit of the metric; ratios and correlations are
    back-transformed."""
    claim, interval = finding.claim, finding.interval
    if claim.scale == record.RATIO:
        return factor(interval)
    if claim.scale == record.CORRELATION:
        return coefficient(*map(math.tanh, interval))
    metric = _metric(finding)
    estimate, low, high = (signed(value, metric) for value in interval)
    ends = "" if math.isnan(interval.low) else f" [{low}, {high}]"
    return f"{estimate}{ends} {unit_of_difference(metric)}".strip()


def remarks_of(finding: record.Finding) -> list[str]:
    """How many seeds would decide, what was left out, or why there is no verdict."""
    parts = [finding.reason] if finding.reason else []
    if finding.turns:
        metric = _metric(finding)
        signs = ", ".join(f"{name} {signed(value, metric)}" for name, value in finding.by_attack.items())
        parts.append(f"the sign depends on the attack: {signs}")
    elif finding.verdict == record.UNDECIDED and finding.claim.scale != record.CORRELATION:
        parts.append(
            f"more {finding.claim.units} alone would not decide, more images are needed"
            if finding.seeds_needed is None
            else f"about {finding.seeds_needed} {finding.claim.units} would decide"
        )
    return parts + ["interval of these models alone"] * (finding.these_models is not None)


def findings_table(content: Mapping[str, Any]) -> Table | None:
    """Every claim of a result with its difference, interval and verdict; None for a result without claims."""
    rows, result = [], record.Result.from_dict(content)
    for finding in record.judge(result):
        claim, interval = finding.claim, finding.interval
        metric = _metric(finding)
        unit = unit_of_difference(metric)
        estimate, low, high = (signed(value, metric) for value in interval)
        rows.append(
            [
                record.QUESTIONS[claim.question].heading + (f" [{unit}]" if unit else ""),
                _compared(claim),
                Cell(estimate, value=interval.estimate),
                MISSING if math.isnan(interval.low) else f"{low} … {high}",
                Cell(p_text(finding.corrected_p), value=finding.corrected_p),
                finding.verdict,
                "; ".join(remarks_of(finding)),
            ]
        )
    columns = [
        text_column("question"), text_column("compared"), Column("difference"),
        Column("95 % interval"), Column("corrected p"), text_column("verdict"), text_column("remark"),
    ]  # fmt: skip
    if not rows:
        return None
    notes = (NOTE, *_attack_sentences(result), *_warning_sentences(result.content))
    return make_table(columns, rows, title="Findings", notes=notes, in_terminal=False)


_ONE_ATTACK = "Explanations were attacked by the study's own attack alone: a stronger one may change an order."


def _attack_sentences(result: record.Result) -> list[str]:
    """Which attack on explanations the findings rest on; none for a result without one."""
    if not any(metric in row.metrics for row in result.rows for metric in record.OUTCOMES):
        return []
    if not result.weaker_attacks:
        kind = (result.content.get("config") or {}).get("explanation_attack_kind")
        return [] if kind == "auto" else [_ONE_ATTACK]
    return [
        f"Findings on explanations rest on the attack {result.rows[0].attack!r}; the same pairs were attacked by "
        f"{listing(result.weaker_attacks)} too, and where the sign of a difference depends on that, it is undecided."
    ]


_WARNING = "Warning: "


def _warning_sentences(content: Mapping[str, Any]) -> list[str]:
    """What the ensemble warns of, one sentence for each kind."""
    sentences = []
    for meaning, counts in often_raised_warnings(content).items():
        where = listing([f"{readable(method)} {own} of {total} pairs" for method, (own, total) in counts.items()])
        sentences.append(f"{_WARNING}{where}: {meaning}.")
    return sentences


def _degraded_sentences(result: record.Result) -> list[str]:
    """A sentence naming the degraded models, on which no verdict rests; none where no model has a baseline."""
    broken = sorted({row.method for row in result.rows if row.degraded})
    if broken:
        return [f"Degraded in at least one seed, and left out of every comparison: {'; '.join(map(readable, broken))}."]
    return ["No model is degraded."] if any(row.baseline for row in result.rows) else []


def auto_attack_sentences(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The automatic checks that AutoAttack raised, one sentence each with the model."""
    return tuple(
        f"{readable(row['method'])} (seed {row['seed']}): {text}"
        for row in content.get("rows", ())
        for text in row.get("auto_attack_warnings", [])
    )
