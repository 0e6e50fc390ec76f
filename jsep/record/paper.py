"""Statements of the paper compared with a result: verdicts on its claims, and published numbers beside measured
ones."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jsep import evaluate, stats
from jsep.record.claims import LANDSCAPE, QUESTIONS, Claim
from jsep.record.names import explanation_name, readable
from jsep.record.row import Result, upgrade
from jsep.record.summary import num_pixels_of, pixels_of_maps, summarise
from jsep.record.verdict import (
    UNKNOWN,
    Finding,
    by_question,
    decide,
    difference_of,
    finding_of,
    judge,
    verdict_of,
    worst,
)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One statement or number of the paper, compared with a result.

    subject: what the statement is about; paper: what the paper says; findings: the tests on the result; verdict: "" for
    a number without a claim; basis: the seeds and pairs used; note: further remarks; number: instead of findings, the
    measured mean with its interval, in the unit of the paper, as the subject says; published: the paper's number.
    """

    subject: str
    paper: str
    findings: tuple[Finding, ...] = ()
    verdict: str = ""
    basis: str = ""
    note: str = ""
    metric: str = ""
    number: stats.Interval | None = None
    published: float = math.nan


LOSS_IN_PAPER = "MSE, 1e-7"
"""The unit of the paper's explanation losses, and of the measured ones beside them."""

Content = Mapping[str, Any]
Ask = Callable[[Content], list[Comparison]]
"""The content of a result.json -> its comparisons with the paper."""


def not_measured(subject: str, paper: str, reason: str) -> Comparison:
    """The comparison for a result that lacks the measurements it needs."""
    return Comparison(subject, paper, verdict=UNKNOWN, note=reason)


def count(number: int, noun: str) -> str:
    """A count with its noun, such as "3 seeds"; "" for 0."""
    return f"{number} {noun}{'s' if number != 1 else ''}" if number else ""


def basis(result: Result, methods: Sequence[str]) -> str:
    """How many seeds these methods have, and how many pairs the result has."""
    seeds = len({row.seed for row in result.rows if row.method in methods})
    if result.content.get("kind") == LANDSCAPE:  # measured at the first images of the pairs
        measured = count(result.content.get("num_images", 0), "image")
    else:
        measured = count(len(result.victims), "pair")
    return ", ".join(filter(None, [f"{seeds} seed{'s' if seeds != 1 else ''}", measured]))


def questions(*names: str) -> Ask:
    """The findings on these questions of a study, with Holm's correction over all claims of the study."""

    def ask(content: Content) -> list[Comparison]:
        """The content of a result.json -> one comparison for each question and subject."""
        return _questions(Result.from_dict(content), names)

    return ask


def _questions(result: Result, names: Sequence[str]) -> list[Comparison]:
    return [
        Comparison(
            f"{QUESTIONS[name].heading} ({readable(subject)})",
            QUESTIONS[name].sentence if own[0].claim.source == "paper" else f"{own[0].claim.source}: so?",
            tuple(own),
            verdict_of(own),
            basis(result, [method for f in own for method in (f.claim.method, f.claim.baseline)]),
        )
        for (name, subject), own in by_question(judge(result)).items()
        if name in names
    ]


def published(method: str, metric: str, number: float) -> Ask:
    """A published number beside the measured one (of another recipe), in the unit of the paper: losses times 1e7."""

    def ask(content: Content) -> list[Comparison]:
        return [_published(Result.from_dict(content), method, metric, number)]

    return ask


def _published(result: Result, method: str, metric: str, number: float) -> Comparison:
    shown = evaluate.METRICS[metric]
    if shown.is_loss:
        shown = dataclasses.replace(shown, unit=LOSS_IN_PAPER, scale=evaluate.LOSS_SCALE)
    own = [row for row in result.rows if row.method == method and metric in row.metrics]
    subject = f"{readable(method)}, {shown.title}"
    if not own:
        return not_measured(subject, f"{number:g}", f"no {readable(method)}")
    interval = stats.t_interval([shown.scale * row.metrics[metric] for row in own])
    note = "degraded" if any(row.degraded for row in own) else ""
    return Comparison(subject, f"{number:g}", (), "", basis(result, [method]), note, metric, interval, number)


def attack_works(method: str) -> Ask:
    """Claim: the attack moves the map towards that of another image while the prediction stays (Figure 1a)."""

    def ask(content: Content) -> list[Comparison]:
        result = Result.from_dict(content)
        own = [row for row in result.rows if row.method == method]
        subject = f"{readable(method)}: loss at the end less that at the start"
        paper = "the map moves, the prediction stays"
        tables = [(row.of_pairs("explanation_loss_end"), row.of_pairs("explanation_loss_start")) for row in own]
        if not own or any(end is None or start is None for end, start in tables):
            return [not_measured(subject, paper, f"no pairs of {readable(method)}")]
        table = np.array([end - start for end, start in tables if end is not None and start is not None])
        claim = Claim("attack_works", method, "explanation_loss_end", method, "before the attack", -1)
        mean = stats.crossed_mean(table, result.images_of_pairs())
        pixels = num_pixels_of([row.metrics for row in result.rows]) or pixels_of_maps(content)
        found = decide([dataclasses.replace(finding_of(claim, mean), num_pixels=pixels)])
        kept = summarise([row.as_dict() for row in own])[0].get("label_kept", {}).get("mean")
        budget = content.get("config", {}).get("explanation_epsilon")
        note = "" if kept is None else f"label kept {100 * kept:.1f} %, "
        note += f"inside {255 * budget:.3g}/255" if budget else "no budget"
        return [Comparison(subject, paper, found, found[0].verdict, basis(result, [method]), note)]

    return ask


# A matrix of explanation methods: trained with one, tested with another.


def cell_of_matrix(content: Content, explanation: str) -> Result:
    """A diagonal cell as the result of a study: the baseline and the models trained and tested with `explanation`."""
    rows = [
        row
        for row in content.get("rows", ())
        if row["explained_by"] == explanation and (row.get("baseline") is None or row["trained_with"] == explanation)
    ]
    # The baseline has no explanation in its loss, so every study holds a row of it: keep the one on the same pairs.
    hashes = {row.get("pairs_hash") for row in rows if row.get("baseline") is not None}
    kept = {(row["method"], row["seed"]): row for row in rows if row.get("pairs_hash") in hashes}
    return Result.from_dict({**content, "rows": list(kept.values())})


def questions_in_cell(explanation: str, *names: str) -> Ask:
    """The questions of a study, asked of the models trained and tested with one explanation (Table 3)."""

    def ask(content: Content) -> list[Comparison]:
        found = _questions(cell_of_matrix(upgrade(content), explanation), names)
        return [dataclasses.replace(each, subject=f"{explanation_name(explanation)}: {each.subject}") for each in found]

    return ask


def published_in_cell(explanation: str, method: str, metric: str, number: float) -> Ask:
    """A published number of a model trained and tested with one explanation, beside the measured one."""

    def ask(content: Content) -> list[Comparison]:
        found = _published(cell_of_matrix(upgrade(content), explanation), method, metric, number)
        return [dataclasses.replace(found, subject=f"{explanation_name(explanation)}: {found.subject}")]

    return ask


def sharpened_above_flattened(content: Content, trained_with: str = "gradient_x_input") -> list[Comparison]:
    """Claim: SEP_neg ends above SEP_pos whichever explanation is attacked (Figure 5); one claim for each method."""
    content = upgrade(content)
    trained = [row for row in content.get("rows", ()) if row.get("trained_with") == trained_with]
    names = dict.fromkeys(row["explained_by"] for row in trained)
    subject, paper = "loss at the end, by the explanation attacked", "SEP + < SEP − with every method"
    first = []
    for name in names:
        result = Result.from_dict({**content, "rows": [r for r in trained if r["explained_by"] == name]})
        methods = {row.method: row.sep_weight for row in result.rows}
        positive = next((m for m in methods if m.endswith("sep_pos")), None)
        negative = next((m for m in methods if m.endswith("sep_neg")), None)
        if positive and negative:
            claim = Claim("sharpened_above", name, "explanation_loss_end", negative, positive, 1)
            first.append(difference_of(result, claim))
    if not first:
        return [not_measured(subject, paper, "no explanation measured for both")]
    found = decide(first)
    seeds = max((f.mean.num_seeds for f in found if f.mean is not None), default=0)
    return [Comparison(subject, paper, found, worst(f.verdict for f in found), f"{seeds} seeds")]
