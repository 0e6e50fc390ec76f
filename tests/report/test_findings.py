"""One verdict in every outlet: page, terminal, README and the table of results show the findings and nothing else."""

import copy
import html
import json
import pathlib
import re

import pytest
from planted import planted_result

from jsep import record, report
from jsep.evaluate import METRICS
from jsep.report.findings import FEW_SEEDS, short_answer
from jsep.report.formatting import p_text, signed, unit_of_difference
from jsep.report.page import answer_values
from jsep.report.rendering import render
from jsep.study.runner import findings_text

PLANTED = {
    "clear": planted_result(2e-5),
    "opposite": planted_result(-2e-5),
    "none": planted_result(0.0, num_seeds=3),
    "one seed": planted_result(2e-5, num_seeds=1),
    "degraded": planted_result(2e-5, degraded=(("sep_neg", 0), ("sep_neg", 1))),
    "unequal": planted_result(2e-5, accuracy_shift=-0.1),
}
EXPECTED = {
    "clear": (record.HOLDS, record.EQUAL, record.HOLDS),
    "opposite": (record.FAILS, record.EQUAL, record.FAILS),
    "none": (record.UNDECIDED, record.EQUAL, record.UNDECIDED),
    "one seed": (record.UNKNOWN, record.UNKNOWN, record.UNKNOWN),
    "degraded": (record.UNKNOWN, record.UNKNOWN, record.HOLDS),
    "unequal": (record.HOLDS, record.FAILS, record.HOLDS),
}
"""The paper's order by the loss, equal accuracy, and what adversarial training does."""

QUESTIONS = ("order_by_loss", "equal_accuracy", "belief_by_loss")
CLAUSES = {
    "order_by_loss": "flattening (SEP weight > 0) makes explanations easier to manipulate and sharpening (< 0) harder",
    "equal_accuracy": "SEP leaves robust accuracy where it was, within 2 points",
    "belief_by_loss": "adversarial training makes explanations harder to manipulate",
}
OPENINGS = {
    "It does not hold": {record.FAILS},
    "It is undecided": {record.UNDECIDED},
    "This run cannot tell": {record.UNKNOWN},
}


def verdicts_in(text: str) -> tuple[set[str], ...]:
    """The verdicts behind each question that the sentences of a text allow."""
    plain = html.unescape(" ".join(re.sub(r"<[^>]*>", "", text).split()))
    sentences = re.split(r"(?<=\.) (?=[A-Z])", plain)
    found = []
    for clause in CLAUSES.values():
        own = next(each for each in sentences if clause in each or clause[:1].upper() + clause[1:] in each)
        said = next((verdicts for opening, verdicts in OPENINGS.items() if own.startswith(opening)), None)
        found.append(said or {record.HOLDS, record.EQUAL})
    return tuple(found)


@pytest.mark.parametrize("name", PLANTED)
def test_every_outlet_shows_the_verdict_of_the_engine(name: str) -> None:
    content, expected = PLANTED[name], EXPECTED[name]
    engine = record.verdicts(record.judge(record.Result.from_dict(content)))
    assert tuple(engine[question, "mat"] for question in QUESTIONS) == expected
    outlets = {
        "page": render("answer.html", **answer_values(record.upgrade(content))),
        "terminal": findings_text(content),
        "README": report.format_table(content, style="markdown").split("\n\n")[-1],
    }
    for outlet, text in outlets.items():
        for verdict, said in zip(expected, verdicts_in(text), strict=True):
            assert verdict in said, outlet
    (row,) = report.order_table({"mnist_sep": content}).rows
    assert (row[1].text, row[5].text, row[6].text) == expected


@pytest.mark.parametrize("name", PLANTED)
def test_no_outlet_says_an_order_that_the_engine_does_not(name: str) -> None:
    """Means are in every table; a sentence that orders them is in none."""
    content = PLANTED[name]
    text = report.format_table(content, style="markdown") + findings_text(content)
    sentences = [line for line in text.splitlines() if not line.startswith("|")]
    for phrase in ("is the paper's order", "highest", "lowest", "differ by at most", " < sep"):
        assert not [line for line in sentences if phrase in line], phrase


def test_the_table_of_findings_has_a_row_a_claim_with_its_interval_and_corrected_p() -> None:
    table = report.findings_table(PLANTED["clear"])
    assert table is not None
    claims = record.claims_of(record.Result.from_dict(PLANTED["clear"]))
    assert len(table.rows) == len(claims) == 16
    first = {column.heading: str(cell) for column, cell in zip(table.columns, table.rows[0], strict=True)}
    assert first["compared"] == "SEP +, flattened less MAT"
    assert first["question"] == "loss left by the attack [N²·MSE]"
    assert -0.086 < float(first["difference"].replace("−", "-")) < -0.078
    assert first["verdict"] == record.HOLDS
    assert re.fullmatch(r"−0\.\d+ … −0\.\d+", first["95 % interval"])
    assert "Holm" in report.format_table(table, style="html")


def test_undecided_findings_say_how_many_seeds_would_decide_and_three_seeds_say_what_they_cost() -> None:
    answer = report.answer(planted_result(4e-6, num_seeds=3, noise=2e-6))
    assert re.search(r"about \d+ seeds would decide", " ".join(answer.sentences))
    assert FEW_SEEDS in answer.sentences
    assert FEW_SEEDS not in report.answer(PLANTED["clear"]).sentences
    one = " ".join(report.answer(PLANTED["one seed"]).sentences)
    assert "1 seed: others may differ" in one
    assert "interval of these models alone" in one


def test_differences_and_p_values_are_written_as_their_metric_is_shown() -> None:
    loss = METRICS["explanation_loss_end"]
    assert signed(-7.19e-7, loss.of_maps(1000)) == "−0.719"
    assert signed(-5.37e-4, loss.of_maps(1000)) == "−537"
    assert signed(1.1e-6, loss.of_maps(1000)) == "+1.10"
    assert signed(-7.19e-8, loss.of_maps(None)) == "−7.19e-08"
    assert [unit_of_difference(loss.of_maps(pixels)) for pixels in (1000, None)] == ["N²·MSE", "MSE"]
    assert signed(-0.0574, METRICS["relative_reduction"]) == "−5.7"
    assert unit_of_difference(METRICS["relative_reduction"]) == "points"
    assert signed(0.0814, METRICS["one_minus_concordance_end"]) == "+0.081"
    assert (p_text(0.0004), p_text(None), p_text(0.05)) == ("< 0.001", "–", "0.050")


def test_warnings_of_the_attack_are_shown_where_a_tenth_of_the_pairs_has_them() -> None:
    content = copy.deepcopy(PLANTED["clear"])
    num_pairs = len(content["pairs"]["victims"])
    for row in content["rows"]:
        often = num_pairs if row["method"] == "mat" else 0
        row["explanation_warnings"] = {"zero_second_derivative": often, "loss_not_falling": int(0.05 * num_pairs)}
    num_seeds = sum(row["method"] == "mat" for row in content["rows"])
    said = f"Warning: MAT {num_seeds * num_pairs} of {num_seeds * num_pairs} pairs: the model has no second derivative"
    answers = report.answer(content).sentences
    for text in (findings_text(content), report.format_table(content, style="markdown"), *answers):
        assert "no gradient step lowered" not in text
    assert said in " ".join(findings_text(content).split())
    assert said in " ".join(answers)
    table = report.findings_table(content)
    assert table is not None
    assert any(said in note for note in table.notes)


def test_a_headline_is_a_sentence_or_two_and_measures_that_disagree_are_named() -> None:
    clear = report.answer(PLANTED["clear"]).headline
    assert clear.count(". ") == 1
    assert "by the loss that the attack leaves and with the concentration of the maps taken out. SEP leaves" in clear
    none = report.answer(PLANTED["none"]).headline
    assert "It is undecided whether adversarial training makes" in none
    content = copy.deepcopy(PLANTED["clear"])
    for row in content["rows"]:
        del row["per_pair"]["excess_end"], row["excess_end"]
    found = report.answer(content).headline
    assert "and sharpening (< 0) harder, by the loss that the attack leaves. SEP leaves" in found
    assert "harder, with the concentration of the maps taken out." in found.partition("cannot tell")[2]


def test_too_few_seeds_say_what_their_models_show() -> None:
    said = findings_text(PLANTED["one seed"])
    assert "This run cannot tell (1 seed: others may differ)" in " ".join(said.split())
    assert "Of these models alone, over other images: loss left by the attack, SEP +, flattened less MAT −" in " ".join(
        said.split()
    )


def test_the_short_answer_is_one_line_that_names_what_is_decided() -> None:
    assert short_answer(PLANTED["none"]).endswith("undecided.")
    assert short_answer(PLANTED["one seed"]) == "All 10 questions not to be told."
    assert short_answer(PLANTED["clear"]).startswith("Holds: loss left by the attack")
    for content in PLANTED.values():
        assert len(short_answer(content)) < 220
    assert short_answer(planted_result(2e-5, methods=("mat",))) == "No two methods are compared by a claim."


def test_a_result_without_a_claim_says_so() -> None:
    content = planted_result(2e-5, methods=("mat",))
    assert report.answer(content).headline == "MAT: no two methods of this result are compared by a claim."
    assert report.findings_table(content) is None


@pytest.mark.parametrize(
    "path", sorted(pathlib.Path(__file__).parents[2].glob("results/*_sep*/result.json")), ids=lambda p: p.parent.name
)
def test_committed_studies_have_a_finding_for_each_of_their_claims(path: pathlib.Path) -> None:
    content = json.loads(path.read_text())
    if content.get("kind", "study") != "study":
        pytest.skip("no study")
    result = record.Result.from_dict(content)
    findings = record.judge(result)
    assert [finding.claim for finding in findings] == list(record.claims_of(result))
    assert {finding.verdict for finding in findings} <= set(record.VERDICTS)
