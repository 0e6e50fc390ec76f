"""What a study says to the paper's tables: the findings of its questions, and published numbers beside its own."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jsep import evaluate, record, stats
from jsep.report.columns import significant
from jsep.report.findings import finding_text, interval_text, p_text, remark_of


class PaperRow(NamedTuple):
    """One question of a table or figure: what it is of, what the paper says, what a result says, the verdict ("" for a
    number without a claim), and how many seeds and pairs it rests on."""

    what: str
    paper: str
    ours: str
    verdict: str
    basis: str


Content = Mapping[str, Any]
PaperRows = Callable[[Content], list[PaperRow]]
"""The content of a result.json -> its rows; none where the result has not what it takes."""


def questions(*names: str) -> PaperRows:
    """The findings of a study's questions, Holm's correction over all claims of the study."""

    def rows(content: Content) -> list[PaperRow]:
        return question_rows(record.Result.from_dict(content), names)

    return rows


def question_rows(result: record.Result, names: Sequence[str]) -> list[PaperRow]:
    """A row for each (question, subject) of the result among `names`."""
    return [
        PaperRow(
            f"{record.QUESTIONS[name].heading} ({subject})",
            record.QUESTIONS[name].sentence if own[0].claim.source == "paper" else f"{own[0].claim.source}: so?",
            "; ".join(finding_text(finding) for finding in own),
            record.verdict_of(own),
            basis(result, [method for f in own for method in (f.claim.method, f.claim.baseline)]),
        )
        for (name, subject), own in record.by_question(record.judge(result)).items()
        if name in names
    ]


def basis(result: record.Result, methods: Sequence[str]) -> str:
    """The seeds of these methods, and the pairs of the result."""
    seeds = len({row.seed for row in result.rows if row.method in methods})
    pairs = f", {len(result.victims)} pairs" if result.victims else ""
    return f"{seeds} seed{'s' if seeds != 1 else ''}{pairs}"


def published(method: str, metric: str, number: float) -> PaperRows:
    """A published number, in the unit in which the metric is shown, beside ours, which another recipe gives."""

    def rows(content: Content) -> list[PaperRow]:
        return [published_row(record.Result.from_dict(content), method, metric, number)]

    return rows


def published_row(result: record.Result, method: str, metric: str, number: float) -> PaperRow:
    """The row of `published`."""
    shown = evaluate.METRICS[metric]
    own = [row for row in result.rows if row.method == method and metric in row.metrics]
    what = f"{method}, {shown.title}"
    if not own:
        return PaperRow(what, f"{number:g}", f"no {method}", record.UNKNOWN, "")
    interval = stats.t_interval([shown.scale * row.metrics[metric] for row in own])
    text = significant(interval.estimate)
    if not math.isnan(interval.low):
        text += f" [{significant(interval.low)}, {significant(interval.high)}]"
    degraded = ", degraded" if any(row.degraded for row in own) else ""
    change = (
        f"{interval.estimate - number:+.1f} points"
        if shown.unit == "%"
        else f"{100 * (interval.estimate / number - 1):+.0f} %"
    )
    return PaperRow(what, f"{number:g}", f"{text} ({change}{degraded})", "", basis(result, [method]))


def attack_works(method: str) -> PaperRows:
    """Claim: the attack moves the map towards another image's while the class stays (Figure 1a)."""

    def rows(content: Content) -> list[PaperRow]:
        result = record.Result.from_dict(content)
        own = [row for row in result.rows if row.method == method]
        what, paper = f"{method}: loss at the end less that at the start", "the map moves, the prediction stays"
        tables = [(row.of_pairs("explanation_loss_end"), row.of_pairs("explanation_loss_start")) for row in own]
        if not own or any(end is None or start is None for end, start in tables):
            return [PaperRow(what, paper, f"no pairs of {method}", record.UNKNOWN, "")]
        table = np.array([end - start for end, start in tables if end is not None and start is not None])
        claim = record.Claim("attack_works", method, "explanation_loss_end", method, "before the attack", -1)
        mean = stats.crossed_mean(table, result.images_of_pairs())
        (found,) = record.decide([record.finding_of(claim, mean)])
        kept = record.summarise([row.as_dict() for row in own])[0].get("label_kept", {}).get("mean")
        ours = f"{interval_text(found)} × 1e-7" + ("" if kept is None else f", label kept {100 * kept:.1f} %")
        budget = content.get("config", {}).get("explanation_epsilon")
        ours += f", inside {255 * budget:.3g}/255" if budget else ", no budget"
        return [PaperRow(what, paper, ours, found.verdict, basis(result, [method]))]

    return rows


# A matrix of explanations: trained with one, tested with another.


def cell(content: Content, explanation: str) -> record.Result:
    """As if a study: the baseline and what was trained with an explanation, tested with it."""
    rows = [
        row
        for row in content.get("rows", ())
        if row["explained_by"] == explanation and (row.get("baseline") is None or row["trained_with"] == explanation)
    ]
    # The baseline has no explanation in its loss and stands once in each study: on the pairs of the others it counts.
    hashes = {row.get("pairs_hash") for row in rows if row.get("baseline") is not None}
    kept = {(row["method"], row["seed"]): row for row in rows if row.get("pairs_hash") in hashes}
    return record.Result.from_dict({**content, "rows": list(kept.values())})


def questions_in_cell(explanation: str, *names: str) -> PaperRows:
    """The questions of a study on one cell of the diagonal (Table 3)."""

    def rows(content: Content) -> list[PaperRow]:
        found = question_rows(cell(record.upgrade(content), explanation), names)
        return [row._replace(what=f"{explanation}: {row.what}") for row in found]

    return rows


def published_in_cell(explanation: str, method: str, metric: str, number: float) -> PaperRows:
    """A published number of a model trained and tested with one explanation."""

    def rows(content: Content) -> list[PaperRow]:
        row = published_row(cell(record.upgrade(content), explanation), method, metric, number)
        return [row._replace(what=f"{explanation}: {row.what}")]

    return rows


def sharpened_above_flattened(content: Content, trained_with: str = "gradient_x_input") -> list[PaperRow]:
    """Claim: whatever explanation is attacked, SEP_neg ends above SEP_pos (Figure 5); one claim an explanation."""
    content = record.upgrade(content)
    trained = [row for row in content.get("rows", ()) if row.get("trained_with") == trained_with]
    names = dict.fromkeys(row["explained_by"] for row in trained)
    what, paper = "loss at the end, by the explanation attacked", "sep_pos < sep_neg with every method"
    first = []
    for name in names:
        result = record.Result.from_dict({**content, "rows": [r for r in trained if r["explained_by"] == name]})
        methods = {row.method: row.sep_weight for row in result.rows}
        positive = next((m for m in methods if m.endswith("sep_pos")), None)
        negative = next((m for m in methods if m.endswith("sep_neg")), None)
        if positive and negative:
            claim = record.Claim("sharpened_above", name, "explanation_loss_end", negative, positive, 1)
            first.append(record.difference_of(result, claim))
    if not first:
        return [PaperRow(what, paper, "no explanation measured for both", record.UNKNOWN, "")]
    found = record.decide(first)
    parts = [
        f"{f.claim.subject}: {f.reason}"
        if f.mean is None
        else f"{f.claim.subject} {interval_text(f)}, p {p_text(f.corrected_p, equals=True)}"
        for f in found
    ]
    remarks = dict.fromkeys(remark for f in found if (remark := remark_of(f)))
    ours = "; ".join(parts) + (f" ({'; '.join(remarks)})" if len(remarks) == 1 else "")
    seeds = max((f.mean.num_seeds for f in found if f.mean is not None), default=0)
    return [PaperRow(what, paper, ours, record.worst(f.verdict for f in found), f"{seeds} seeds")]
