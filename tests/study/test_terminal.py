"""What a script prints at its end: short, narrow, and with the verdicts of the engine."""

import json
import pathlib

import pytest

from jsep import record, report
from jsep.study.runner import table_and_findings

RESULTS = pathlib.Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("name", ["digits_sep", "evaluate_digits", "vit_sep_quick", "objectives_digits"])
def test_the_end_of_a_study_fits_a_screen_and_says_every_verdict(name: str) -> None:
    content = record.upgrade(json.loads((RESULTS / name / "result.json").read_text()))
    lines = table_and_findings(content).splitlines()
    methods = len(record.summarise(content["rows"]))
    # A line a method and at most 20 others; the script adds two.
    assert len(lines) <= 20 + methods
    assert max(map(len, lines)) <= 100
    text = " ".join(lines)
    found = report.answer(content)
    if len(found.verdicts) > 16:
        assert f"{len(found.verdicts)} questions" in text
        return
    for question, _ in found.verdicts:
        heading = record.QUESTIONS[question].heading
        assert (
            heading in text
            or question in ("order_by_loss", "order_by_concordance", "equal_accuracy")
            or (question.startswith("belief_by"))
        )


def test_a_model_that_is_done_is_one_line_and_other_rows_are_none() -> None:
    row = json.loads((RESULTS / "digits_sep" / "result.json").read_text())["rows"][0]
    line = report.row_line(row)
    assert line.startswith(f"clean {100 * row['clean_accuracy']:.1f} %")
    assert len(line) < 80
    assert report.row_line({"model": "mat", "attack": "pgd"}) == ""
