"""The paper's tables and figures compared with the results: every number and claim, and whether it holds."""

import collections
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jsep import evaluate, record
from jsep.report.findings import FEW_SEEDS, finding_text, remarks_of
from jsep.report.formatting import MISSING, listing, minus, significant
from jsep.report.table import Cell, Table, make_table, text_column

_Results = Mapping[str, Mapping[str, Any]]


def order_table(results: _Results, page: str = "") -> Table:
    """The verdict on each question of `record.AT_A_GLANCE`, for every study among the paper's items.

    Args: results: folder name -> content of its result.json; page: path from the table to the folder of the results,
      for links.
    """
    rows = []
    for item in record.PAPER_ITEMS:
        name = next((name for name in item.results if name in results), None)
        if name is None or record.STUDY_QUESTIONS not in item.asks:
            continue
        result = record.Result.from_dict(results[name])
        found: dict[str, list[str]] = {}
        for (question, _), verdict in record.verdicts(record.judge(result)).items():
            found.setdefault(question, []).append(verdict)
        cells = [record.worst(found[name]) if name in found else MISSING for name in record.AT_A_GLANCE]
        basis = f"({record.basis(result, result.methods)})"
        rows.append([Cell(item.name, basis, link=f"{page}{name}/README.md"), *cells])
    headings = ["study", *(record.QUESTIONS[name].heading for name in record.AT_A_GLANCE)]
    return make_table(map(text_column, headings), rows)


def items_table(results: _Results) -> Table:
    """One row for each item of the paper: how many of its claims hold, and where; then the items not yet run.

    Args: results: folder name -> content of its result.json.
    """
    rows, missing = [], []
    for item in record.PAPER_ITEMS:
        name = next((name for name in item.results if name in results), None)
        if name is None:
            missing.append(item.name)
            continue
        found = [each for ask in item.asks for each in ask(results[name])]
        counts = collections.Counter(each.verdict for each in found if each.verdict)
        verdicts = [f"{count} {verdict}" for verdict in reversed(record.VERDICTS) if (count := counts[verdict])]
        numbers = sum(each.number is not None for each in found)
        rows.append([
            item.name, ", ".join(verdicts) or MISSING, str(numbers) if numbers else MISSING,
            Cell(name, link=f"{name}/README.md"),
        ])  # fmt: skip
    notes = [f"Not yet run: {'; '.join(missing)}."] if missing else []
    headings = ("item", "its claims, tested here", "published numbers beside ours", "result")
    return make_table(map(text_column, headings), rows, notes=notes)


def paper_table(name: str, result: Mapping[str, Any]) -> Table | None:
    """One row for each claim and number of the paper's items that a result measures; None where it measures none.

    Args: name: of its folder; result: the content of its result.json.
    """
    rows = [
        [
            cell or MISSING
            for cell in (item.name, each.subject, each.paper, comparison_text(each), each.verdict, each.basis)
        ]
        for item in record.PAPER_ITEMS
        if name in item.results
        for ask in item.asks
        for each in ask(result)
    ]
    if not rows:
        return None
    notes = [
        "Published losses and the measured ones beside them are mean squared errors in the paper's unit, 1e-7; every "
        f"other loss is {evaluate.LOSS_UNIT}. In brackets 95 % intervals, of differences over seeds and images, of "
        "single numbers over the seeds; p after Holm's correction over the claims of a study. The recipes are small "
        "(see each result), so a published number is there for its size; the claims are what is tested. "
        f'{FEW_SEEDS} "{record.UNKNOWN}": the result lacks what it takes, or models are degraded, and a broken '
        "classifier is no evidence."
    ]
    headings = ("item", "of", "paper", "this project", "claim", "rests on")
    return make_table(map(text_column, headings), rows, notes=notes)


def claims_of_paper(result: Mapping[str, Any]) -> list[record.Comparison]:
    """The paper's claims that a result measures, with their verdicts, by its experiment; none for others."""
    own = [item for item in record.PAPER_ITEMS if result.get("experiment") in item.results]
    return [each for item in own for ask in item.asks for each in ask(result) if each.verdict]


def claim_sentences(found: Sequence[record.Comparison]) -> tuple[str, ...]:
    """The verdicts on the paper's claims as sentences: one for each claim, with what it was tested on."""
    by_claim: dict[str, dict[str, list[str]]] = {}
    for each in found:
        if each.verdict:
            by_claim.setdefault(each.paper, {}).setdefault(each.verdict, []).append(each.subject)
    return tuple(
        f"The claim that {paper}: {'; '.join(f'{verdict} ({listing(own)})' for verdict, own in verdicts.items())}."
        for paper, verdicts in by_claim.items()
    )


def comparison_text(compared: record.Comparison) -> str:
    """The outcome in words: the measured number beside the published one, or the findings."""
    if compared.number is not None:
        return _number_text(compared)
    findings = compared.findings
    subjects = {finding.claim.subject for finding in findings}
    # Remarks common to all findings appear once.
    remarks = [remarks_of(finding) for finding in findings if finding.mean is not None]
    shared = [each for each in remarks[0] if all(each in own for own in remarks)] if len(remarks) > 1 else []
    parts = [
        (f"{_named(finding.claim.subject)}: " if len(subjects) > 2 else "") + finding_text(finding, unsaid=shared)
        for finding in findings
    ]
    text = "; ".join(parts) + (f" ({'; '.join(shared)})" if shared else "")
    return ", ".join(filter(None, [text, compared.note]))


def _named(subject: str) -> str:
    """The subject of a claim for people: a training method, an explanation method, or words."""
    return record.explanation_name(record.readable(subject))


def _number_text(compared: record.Comparison) -> str:
    assert compared.number is not None
    own, published = compared.number, compared.published
    text = significant(own.estimate)
    if not math.isnan(own.low):
        text += f" [{significant(own.low)}, {significant(own.high)}]"
    is_share = evaluate.METRICS[compared.metric].unit == "%"
    change = f"{own.estimate - published:+.1f} points" if is_share else f"{100 * (own.estimate / published - 1):+.0f} %"
    return f"{text} ({', '.join(filter(None, [minus(change), compared.note]))})"


def comparison_table(found: list[record.Comparison], title: str = "") -> Table:
    """The comparisons of one result as a table."""
    rows = [
        [each.subject, each.paper, comparison_text(each), each.verdict or MISSING, each.basis or MISSING]
        for each in found
    ]
    return make_table(map(text_column, ("claim", "paper", "this result", "verdict", "rests on")), rows, title=title)
