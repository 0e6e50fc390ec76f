"""What a script prints at its end: short, narrow, and with the verdicts of the engine, for every kind of study."""

import dataclasses
import json
import pathlib

import pytest

from jsep import record, report, study
from jsep.study.runner import findings_text, table_and_findings

RESULTS = pathlib.Path(__file__).parents[2] / "results"
COMMITTED = {
    path.parent.name: record.upgrade(json.loads(path.read_text())) for path in sorted(RESULTS.glob("*/result.json"))
}
CARD = {
    "format": 2, "kind": "card", "experiment": "card", "model": "a_model", "protocol": "digits-1", "complete": True,
    "card": {"clean_accuracy": 0.97, "robust_accuracy": 0.7, "explanation_loss_end": 1e-4, "pairs_attacked": 20},
}  # fmt: skip


def contents_of(kind: str) -> dict[str, dict]:
    """The committed results of a kind, or a made one."""
    if kind == "card":
        return {"card": CARD}
    return {name: content for name, content in COMMITTED.items() if record.kind_of(content) == kind}


@pytest.mark.parametrize("name", study.STUDIES)
def test_the_end_of_every_kind_fits_a_screen(name: str) -> None:
    kind = study.STUDIES[name]
    found = contents_of(kind.kind)
    assert found, f"no committed result of kind {kind.kind}: make one for this test"
    for where, content in found.items():
        text = (kind.table or table_and_findings)(content)
        lines = text.splitlines()
        # The script adds an empty line, the command for all columns and the page.
        assert len(lines) + 3 <= 25, where
        assert max(map(len, lines)) <= 100, where
        # One table: a single rule below a single heading.
        assert sum(set(line) <= {"-", " "} and "-" in line for line in lines) == 1, where


def test_describe_ends_with_the_page() -> None:
    text = study.describe(study.LandscapeConfig(), COMMITTED["landscape_digits"], "runs/landscape")
    *lines, page = text.splitlines()
    assert page == f"page: {pathlib.Path('runs/landscape/index.html')}"
    assert len(lines) < 24
    found = report.answer(COMMITTED["landscape_digits"])
    assert found.headline.startswith("SEP with weight > 0 flattens, with weight < 0 sharpens the landscape of the expl")
    assert found.headline in " ".join(text.split())


@pytest.mark.parametrize("name", ["digits_sep", "evaluate_digits", "vit_sep_quick", "landscape_digits"])
def test_the_end_says_every_verdict(name: str) -> None:
    content = COMMITTED[name]
    text = " ".join(findings_text(content).split())
    found = report.answer(content)
    assert found.headline in text
    headlines = ("order_by_loss", "order_by_concordance", "equal_accuracy", "belief_by_loss", "belief_by_concordance")
    for question, _ in found.verdicts:
        if question not in headlines and record.kind_of(content) != "landscape":
            assert record.QUESTIONS[question].heading in text


def test_many_methods_leave_rows_to_the_page() -> None:
    content = COMMITTED["objectives_digits"]
    rows = [{**row, "method": f"{row['method']}_{place}"} for row in content["rows"] for place in range(3)]
    text = table_and_findings({**content, "rows": rows})
    assert len(text.splitlines()) <= 22
    assert "Not shown here: " in text


def test_a_table_is_cut_to_its_leading_rows_and_columns() -> None:
    table = report.make_table(
        ["name", *(f"a long column of numbers {place}" for place in range(9))],
        [[f"row {row}", *("1.0",) * 9] for row in range(9)], notes=("A note.",),
    )  # fmt: skip
    cut = report.fitted(table, 8)
    text = report.format_table(cut)
    assert len(text.splitlines()) == 8
    assert text.endswith("Not shown here: 5 rows and 6 columns.")
    assert "A note" not in text
    whole = dataclasses.replace(table, columns=table.columns[:2], rows=[row[:2] for row in table.rows])
    assert report.fitted(whole, 20) == whole


def test_a_model_that_is_done_is_one_line_and_other_rows_are_none() -> None:
    row = json.loads((RESULTS / "digits_sep" / "result.json").read_text())["rows"][0]
    line = report.row_line(row)
    assert line.startswith(f"clean {100 * row['clean_accuracy']:.1f} %")
    assert len(line) < 80
    assert report.row_line({"model": "mat", "attack": "pgd"}) == ""
