"""An evaluation's page, what AutoAttack raised, and the tables of intervals."""

import re

import pytest
from planted import planted_result

from jsep import report
from jsep.report.study_tables import interval_table


@pytest.fixture
def make_evaluation(make_rows, make_result):
    def make(reference: str | None = "mat", broken: tuple[str, ...] = (), **changes) -> dict:
        rows = make_rows()
        for row in rows:
            row["one_minus_concordance_end"] = {"sep_pos": 0.62, "mat": 0.55, "sep_neg": 0.51}[row["method"]]
            row["degraded"] = row["method"] in broken
            row["robust_accuracy"] = {"sep_pos": 0.70, "mat": 0.74, "sep_neg": 0.72}[row["method"]]
        more = {"kind": "evaluation", "reference": reference} | changes
        return make_result(rows=rows, data={"dataset": "digits", "split": "test", "num_images": 400}, **more)

    return make


def test_checks_of_auto_attack_that_were_raised_are_said(make_evaluation, write_run, tmp_path) -> None:
    result = make_evaluation()
    for row in result["rows"]:
        row |= {"auto_attack_accuracy": 0.6, "auto_attack_warnings": ["It draws."] if row["seed"] == 1 else []}
    page = report.write(write_run(tmp_path / "run", result=result)).read_text()
    assert "SEP +, flattened (seed 1): It draws." in page
    assert "SEP +, flattened (seed 0)" not in page


def cells(result: dict, *, every: bool = False) -> tuple[list[str], dict[str, list[str]]]:
    table = interval_table(result, every=every)
    assert table is not None
    return [column.heading for column in table.columns], {
        row[0].text: [cell.text for cell in row[1:]] for row in table.rows
    }


def test_intervals_have_a_short_table_and_one_of_every_metric() -> None:
    result = planted_result(1e-5, degraded=(("sep_neg", 0),))
    head, by_name = cells(result)
    assert head == ["metric", "standard", "MAT", "SEP +, flattened", "SEP −, sharpened *"]
    assert all(re.fullmatch(r"0\.\d{3} \[0\.\d{3} … 0\.\d{3}\]", cell) for cell in by_name["loss at end [N²·MSE]"])
    assert "cosine start" not in by_name
    assert "cosine start" in cells(result, every=True)[1]
    _, one = cells(planted_result(1e-5, num_seeds=1))
    assert one["clean acc. [%]"] == ["97.0"] * 4, "one number has no interval"
    assert "[" in one["loss at end [N²·MSE]"][0], "but its pairs have"


def test_page_of_an_evaluation_has_its_own_question_and_no_word_of_training(
    make_evaluation, write_run, tmp_path
) -> None:
    run = write_run(tmp_path / "run", result=make_evaluation())
    page = report.write(run).read_text()
    assert "are they, or are their maps only more concentrated, or is the classifier broken?" in page
    assert "400 test images" in page
    assert "Every metric with its 95 % interval" in page
    assert "metrics.jsonl" not in page
    assert "training curves" not in page
