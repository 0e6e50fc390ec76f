"""The findings of `record.verdict` as text and table cells: the only module that words a verdict."""

import collections
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from jsep import evaluate, record
from jsep.evaluate import METRICS, Metric
from jsep.record import readable, readable_all
from jsep.record.summary import often_raised_warnings
from jsep.report.formatting import (
    MISSING,
    coefficient,
    factor,
    listing,
    p_text,
    signed,
    significant,
    unit_of_difference,
)
from jsep.report.table import Cell, Column, Table, make_table, text_column

NOTE = (
    "Method less baseline on the same pairs and images with the same seeds. Interval: 95 %, of other seeds and other "
    "images (both are drawn anew, and pairs that share an image are not independent). Corrected p: Holm's, over all "
    'rows of this table; below 0.05 it decides. "undecided": the data allow either; the remark says how many seeds '
    'would decide if nothing else changed. "equal": both one-sided tests put the difference within 2 points.'
)

NOTE_ON_RATIOS = (
    "Method by baseline at the same images with the same seeds (robust accuracy: method less baseline). Interval: "
    "95 %, of other seeds and other images. Corrected p: Holm's, over all rows of this table; below 0.05 it decides. "
    f'"undecided": the data allow either. "equal": both one-sided tests put the ratio within {record.SAME_FACTOR:g}. '
    "Worst rise: the largest rise of the function in the ball; top eigenvalue: of its Hessian in the image."
)

FEW_SEEDS = "With three seeds the 95 % interval reaches 4.3 standard errors to either side, so that most is undecided."


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
    headline = " ".join([*_headline(findings), *_removed(result, found)]) or _nothing(result)
    return Answer(headline, (*_these_models(findings), *sentences, *_degraded_sentences(result)), found)


def brief_answer(content: Mapping[str, Any]) -> tuple[str, ...]:
    """What a terminal shows: the headline, the verdicts by other measures, and the remarks on the whole."""
    found = answer(content)
    by_verdict: dict[str, list[str]] = {}
    for (name, _), own in found.verdicts.items():
        if name not in _STATEMENTS:
            by_verdict.setdefault(own, []).append(record.QUESTIONS[name].heading)
    others = [
        f"{verdict}: {', '.join(dict.fromkeys(by_verdict[verdict]))}" for verdict in _ORDER if verdict in by_verdict
    ]
    said = [f"By other measures, {'; '.join(others)}."] if others else []
    remarks = (FEW_SEEDS, _ONE_ATTACK)
    shown = [each for each in found.sentences if each in remarks or each.startswith((_WARNING, _THESE, *_DEGRADED))]
    these = [each for each in shown if each.startswith(_THESE)]
    return (found.headline, *these, *said, *dict.fromkeys(each for each in shown if each not in these))


def short_answer(content: Mapping[str, Any]) -> str:
    """The verdicts of a result in one line: what is decided by name, what is not as a count."""
    found = answer(content).verdicts
    if not found:
        return "No two methods are compared by a claim."
    counts = collections.Counter(found.values())
    open_ones = [f"{counts[verdict]} {_COUNTED[verdict]}" for verdict in _COUNTED if counts[verdict]]
    if len(open_ones) == len(counts) == 1:
        return f"All {open_ones[0].replace(' ', ' questions ', 1)}." if len(found) > 1 else f"{open_ones[0]}."
    headings = {
        verdict: dict.fromkeys(record.QUESTIONS[name].heading for (name, _), own in found.items() if own == verdict)
        for verdict in _ORDER
        if verdict in counts and verdict not in _COUNTED
    }
    decided = [f"{verdict}: {_few(list(own))}" for verdict, own in headings.items()]
    return _capital(f"{'; '.join([*decided, *open_ones])}.")


_COUNTED = {record.UNDECIDED: "undecided", record.UNKNOWN: "not to be told"}

_ORDER = (record.HOLDS, record.EQUAL, record.FAILS, record.UNDECIDED, record.UNKNOWN)
"""The order in which a headline says its verdicts."""

_LOSS, _CONCORDANCE = "by the loss that the attack leaves", "with the concentration of the maps taken out"

_HARDER, _GROWS = (
    "adversarial training makes explanations harder to manipulate",
    "a larger budget of adversarial training makes them harder still",
)
_SEP = "flattening (SEP weight > 0) makes explanations easier to manipulate and sharpening (< 0) harder"

_STATEMENTS: dict[str, tuple[str, str]] = {
    "belief_by_loss": (_HARDER, _LOSS),
    "belief_by_concordance": (_HARDER, _CONCORDANCE),
    "grows_by_loss": (_GROWS, _LOSS),
    "grows_by_concordance": (_GROWS, _CONCORDANCE),
    "order_by_loss": (_SEP, _LOSS),
    "order_by_concordance": (_SEP, _CONCORDANCE),
    **{
        name: (record.QUESTIONS[name].sentence, "")
        for name in (
            "equal_accuracy", "stable_maps", "regularised_accuracy", "sep_landscape", "same_loss", "flatter_loss",
            "flatter_explanation", "rise_together", "same_landscape",
        )
    },
}  # fmt: skip
"""question -> what it asks, as a clause, and the measure by which it asks; a headline says these, in this order."""

_MOST_NAMES = 3


def _headline(findings: Sequence[record.Finding]) -> list[str]:
    """The verdicts as sentences: one for what holds, one for each that does not, one for what is open."""
    parts: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for (name, subject), own in record.by_question(findings).items():
        if name in _STATEMENTS:
            statement, measure = _STATEMENTS[name]
            if own[0].claim.scale == record.RATIO and len({each.claim.metric for each in own}) == 1:
                subject, measure = "", f"by the {subject}"  # of landscapes, where a subject is a quantity
            parts.setdefault(statement, {}).setdefault(record.verdict_of(own), []).append((subject, measure))
    clauses: dict[str, list[tuple[str, str]]] = {}
    for statement in dict.fromkeys(each for each, _ in _STATEMENTS.values()):
        answers = parts.get(statement, {})
        several = len({subject for asked in answers.values() for subject, _ in asked}) > 1
        for verdict, asked in answers.items():
            clauses.setdefault(verdict, []).append(_clause(statement, asked, several, len(answers) > 1, verdict))
    reasons = {
        each.reason for each in findings if each.verdict == record.UNKNOWN and each.claim.question in _STATEMENTS
    }
    why = f" ({reasons.pop()})" if len(reasons) == 1 and "" not in reasons else ""
    return [_said(verdict, clauses[verdict], why) for verdict in _ORDER if verdict in clauses]


def _clause(
    statement: str, asked: Sequence[tuple[str, str]], several: bool, mixed: bool, verdict: str
) -> tuple[str, str]:
    """A statement with the methods that it is about, where there are several, and the measures that agree on it, ""
    where all of them leave it open."""
    subjects = list(dict.fromkeys(subject for subject, _ in asked))
    measures = [measure for measure in dict.fromkeys(measure for _, measure in asked) if measure]
    methods = f" ({_few([readable(each) for each in subjects])})" if several else ""
    named = bool(measures) and (mixed or verdict not in _COUNTED)
    return f"{statement}{methods}", f", {listing(measures)}" if named else ""


def _few(names: Sequence[str]) -> str:
    return listing(names) if len(names) <= _MOST_NAMES else f"{listing([*names[:2], f'{len(names) - 2} others'])}"


def _said(verdict: str, clauses: Sequence[tuple[str, str]], why: str) -> str:
    # Measures that all clauses share are named once, at the end.
    shared = clauses[-1][1] if len({measures for _, measures in clauses}) == 1 else None
    texts = [text if shared is not None else text + measures for text, measures in clauses]
    if verdict in (record.HOLDS, record.EQUAL):
        return _capital(f"{', and '.join(texts)}{shared or ''}.")
    opening, word = {
        record.FAILS: ("It does not hold", "that"),
        record.UNDECIDED: ("It is undecided", "whether"),
        record.UNKNOWN: (f"This run cannot tell{why}", "whether"),
    }[verdict]
    return f"{opening} {listing([f'{word} {text}' for text in texts])}{shared or ''}."


def _nothing(result: record.Result) -> str:
    return f"{'; '.join(map(readable, result.methods))}: no two methods of this result are compared by a claim."


def _removed(result: record.Result, found: Mapping[tuple[str, str], str]) -> list[str]:
    """What the attack removes without adversarial training and after that of the largest budget, where all claims on
    adversarial training hold, those on its budget among them."""
    asked = {name: verdict for (name, _), verdict in found.items() if name.startswith(("belief_", "grows_"))}
    if "grows_by_loss" not in asked or set(asked.values()) != {record.HOLDS}:
        return []
    base = [each for each in record.summarise(result.content["rows"]) if each["method"].startswith("base_")]
    base.sort(key=lambda each: float(each["method"].removeprefix("base_")))
    first, last = (_share_removed(each) for each in (base[0], base[-1]))
    within = (result.content.get("config") or {}).get("explanation_epsilon")
    attack = f"An attack within {255 * within:.3g}/255" if within else "An attack"
    budget = base[-1]["method"].removeprefix("base_")
    return [
        f"{attack} removes {first} of the explanation loss of a network with standard training, and {last} of one "
        f"trained at {budget}/255."
    ]


def _share_removed(summary: Mapping[str, Any]) -> str:
    start, end = (summary[f"scale_free_loss_{when}"]["mean"] for when in ("start", "end"))
    return f"{100 * summary['relative_reduction']['mean']:.0f} % (from {start:.2f} to {end:.2f} {evaluate.LOSS_UNIT})"


_THESE = "Of these models alone, over other images: "


def _these_models(findings: Sequence[record.Finding]) -> list[str]:
    """What too few seeds show of their own models, for the questions of the headline."""
    own = [each for each in findings if each.these_models is not None and each.claim.question in _STATEMENTS]
    parts = [f"{_label(each.claim)}, {_compared(each.claim)} {interval_text(each)}" for each in own]
    return [f"{_THESE}{'; '.join(parts)}."] if parts else []


def _label(claim: record.Claim) -> str:
    """The heading of a claim's question, with the quantity for one of a landscape."""
    of = f", {claim.subject}" if claim.metric not in METRICS else ""
    return record.QUESTIONS[claim.question].heading + of


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
        is_ratio = claim.scale == record.RATIO
        metric = None if is_ratio else _metric(finding)
        unit = "" if metric is None else unit_of_difference(metric)
        estimate, low, high = (
            significant(math.exp(value)) if metric is None else signed(value, metric) for value in interval
        )
        rows.append(
            [
                _label(claim) + (f" [{unit}]" if unit else ""),
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
    notes = (
        NOTE_ON_RATIOS if result.content.get("kind") == record.LANDSCAPE else NOTE,
        *_attack_sentences(result),
        *_warning_sentences(result.content),
    )
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


_DEGRADED = ("Degraded ", "No model is degraded.")


def _degraded_sentences(result: record.Result) -> list[str]:
    """A sentence naming the degraded models, on which no verdict rests; none where no model has a baseline."""
    broken = sorted({row.method for row in result.rows if row.degraded})
    if broken:
        return [
            f"{_DEGRADED[0]}in at least one seed, and left out of every comparison: "
            f"{listing([readable(each) for each in broken])}."
        ]
    return [_DEGRADED[1]] if any(row.baseline for row in result.rows) else []


def auto_attack_sentences(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The automatic checks that AutoAttack raised, one sentence each with the model."""
    return tuple(
        f"{readable(row['method'])} (seed {row['seed']}): {text}"
        for row in content.get("rows", ())
        for text in row.get("auto_attack_warnings", [])
    )
