"""The table of the paper beside the results."""

import json
import pathlib
import re

from planted import planted_result

from jsep import record, report
from jsep.record.paper import published
from jsep.report.paper import claims_of_paper, comparison_text


def test_table_of_a_result_has_a_row_a_question_and_that_of_items_counts_the_verdicts() -> None:
    content = planted_result(2e-5)
    table = report.paper_table("digits_sep", content)
    assert table is not None
    assert len(table.rows) == len(record.AT_A_GLANCE) + 1, "and the pixels of Figure 4"
    verdicts = [row[4].text for row in table.rows]
    assert set(verdicts) <= set(record.VERDICTS)
    assert report.paper_table("mine", content) is None
    items = report.items_table({"digits_sep": content})
    assert {row[-1].link for row in items.rows} == {"digits_sep/README.md"}
    counted = sum(int(part.split()[0]) for row in items.rows for part in row[1].text.split(", "))
    assert counted == len(verdicts)
    assert "Table 1: TRADES sweep" in items.notes[-1]


def test_a_published_number_stands_beside_ours_with_the_difference() -> None:
    (found,) = published("mat", "explanation_loss_end", 800.0)(planted_result(1e-5))
    assert re.fullmatch(r"10\d\d \[10\d\d, 10\d\d\] \(\+2\d %\)", comparison_text(found))
    (share,) = published("mat", "clean_accuracy", 90.0)(planted_result(1e-5))
    assert comparison_text(share).endswith("points)")


def test_what_several_findings_have_in_common_is_said_once() -> None:
    (found,) = [
        each
        for each in record.PAPER_ITEMS[-1].asks[0](planted_result(0.0))
        or record.STUDY_QUESTIONS(planted_result(0.0, num_seeds=1))
        if each.subject.startswith("loss left")
    ]
    text = comparison_text(found)
    assert text.count("interval of these models alone") == 1
    assert text.count("SEP +, flattened less MAT") == text.count("SEP −, sharpened less MAT") == 1


def test_the_page_of_a_result_that_measures_a_claim_of_the_paper_leads_with_its_verdict(tmp_path) -> None:
    name = "selection_digits"
    content = (pathlib.Path(__file__).parents[2] / "results" / name / "result.json").read_text()
    (tmp_path / "result.json").write_text(content)
    claims = claims_of_paper(record.upgrade(json.loads(content)))
    assert {each.verdict for each in claims} <= set(record.VERDICTS)
    answer = report.write(tmp_path).read_text().split('id="answer"')[1].split("</section>")[0]
    for each in claims:
        assert f"{each.subject[1:]}: {each.paper}: {each.verdict}." in answer
    assert claims_of_paper({"experiment": "mine"}) == []
