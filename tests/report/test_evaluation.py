"""An evaluation in words, its table of intervals and its page; the rule for degraded models by a named reference."""

import pytest

from jsep import report
from jsep.report.columns import degraded_meaning
from jsep.report.intervals import interval_cells


def comparison(method: str, metric: str, holm_p: float | None, difference: float = -1e-5) -> dict:
    return {
        "method": method, "baseline": "mat", "metric": metric, "num_seeds": 3, "num_pairs": 60,
        "difference": difference, "low": -2e-5, "high": 0.0, "effect_size": -0.4, "rank_biserial": -0.3,
        "wilcoxon_p": holm_p, "permutation_p": holm_p, "holm_p": holm_p, "degraded": holm_p is None,
    }  # fmt: skip


@pytest.fixture
def make_evaluation(make_rows, make_result):
    def make(reference: str | None = "mat", broken: tuple[str, ...] = (), **changes) -> dict:
        rows = make_rows()
        for row in rows:
            row["excess_end"] = {"sep_pos": 0.62, "mat": 0.55, "sep_neg": 0.51}[row["method"]]
            row["degraded"] = row["method"] in broken
            row["robust_accuracy"] = {"sep_pos": 0.70, "mat": 0.74, "sep_neg": 0.72}[row["method"]]
        intervals = [
            {"method": method, "metric": metric, "mean": 0.7, "low": 0.65, "high": 0.75, "num_seeds": 3,
             "num_values": 400}
            for method in ("sep_pos", "mat", "sep_neg")
            for metric in ("robust_accuracy", "excess_end", "kendall_end")
        ]  # fmt: skip
        tests = [comparison(m, "explanation_loss_end", None if m in broken else 0.3) for m in ("sep_pos", "sep_neg")]
        statistics = {"intervals": intervals, "comparisons": tests}
        more = {"kind": "evaluation", "reference": reference, "statistics": statistics} | changes
        return make_result(rows=rows, data={"dataset": "digits", "split": "test", "num_images": 400}, **more)

    return make


def test_words_name_the_degraded_first_and_tell_concentration_from_robustness(make_evaluation) -> None:
    found = report.evaluation_answer(make_evaluation())
    assert found.verdict.startswith("No model is degraded. Of sep_pos, mat and sep_neg, mat has the highest robust")
    assert "74.0 %, 95 % interval 65.0 % to 75.0 %." in found.verdict
    assert "sep_neg keeps the highest explanation loss" in found.verdict
    assert "sep_neg is not told apart" not in found.verdict
    assert "It is not told apart from mat on the same images (p = 0.300 after Holm's correction)." in found.verdict
    assert (
        "it is another: over the loss of equally concentrated maps sep_pos keeps the most (0.620; sep_neg: 0.510)"
        in (found.verdict)
    )
    assert found.claim[0] == "This is the paper's order, sep_pos < mat < sep_neg."
    assert (
        "In the loss at the end, on the same pairs and after Holm's correction, sep_pos is not told apart from mat "
        "(p = 0.300) and sep_neg is not told apart from mat (p = 0.300)." in found.claim
    )


def test_degraded_model_with_the_highest_loss_wins_nothing(make_evaluation) -> None:
    found = report.evaluation_answer(make_evaluation(broken=("sep_neg",)))
    assert found.verdict.startswith("Degraded in at least one seed: sep_neg (mean clean accuracy")
    assert "Of sep_pos and mat, mat has the highest robust accuracy" in found.verdict
    assert "mat keeps the highest explanation loss" in found.verdict
    assert "sep_neg keeps" not in found.verdict
    assert "left out of this order: sep_neg." in found.claim[0]
    only = report.evaluation_answer(make_evaluation(broken=("sep_neg", "sep_pos")))
    assert "mat has a robust accuracy of 74.0 %" in only.verdict
    assert "removes" in only.verdict
    assert (
        "No model is left to be judged."
        in report.evaluation_answer(make_evaluation(broken=("sep_neg", "sep_pos", "mat"))).verdict
    )


def test_reference_of_the_rule_is_named_or_missed(make_evaluation) -> None:
    assert "there is no mat to compare with" in report.evaluation_answer(make_evaluation(reference=None)).verdict
    named = make_evaluation(reference="sep_pos", broken=("sep_neg",))
    assert "more than 5 points below sep_pos's" in report.format_table(named).replace("\n  ", " ")
    assert "below sep_pos's" in report.markdown_table(named)
    assert "below MAT's" in degraded_meaning({})


def test_auto_attack_and_its_raised_checks_are_said(make_evaluation) -> None:
    result = make_evaluation()
    for row in result["rows"]:
        row |= {"auto_attack_accuracy": 0.6, "auto_attack_warnings": ["It draws."] if row["seed"] == 1 else []}
    claim = report.evaluation_answer(result).claim
    assert claim[0] == "AutoAttack leaves sep_pos 60.0 %, mat 60.0 % and sep_neg 60.0 % of the test images."
    assert claim[1] == "sep_pos (seed 1): It draws."


def test_intervals_have_a_short_table_and_one_of_every_metric(make_evaluation, make_result) -> None:
    result = make_evaluation(broken=("sep_neg",))
    head, rows = interval_cells(result)
    assert head == ["metric", "sep_pos", "mat", "sep_neg *"]
    assert rows[0] == ["robust acc. [%]", *["70.0 [65.0 … 75.0]"] * 3]
    assert [row[0] for row in rows] == ["robust acc. [%]", "loss/chance end"]
    assert interval_cells(result, every=True)[1][-1][0] == "kendall end"
    assert interval_cells(make_result())[1] == []
    # A study has its intervals in two lists, and no bounds with one seed.
    entries = [{"method": "mat", "metric": "clean_accuracy", "mean": 0.9, "low": None, "high": None}]
    pairs = [{"method": "mat", "metric": "excess_end", "mean": 0.5, "low": 0.4, "high": 0.6}]
    study = make_result(statistics={"over_seeds": entries, "over_seeds_and_pairs": pairs, "comparisons": []})
    assert interval_cells(study)[1] == [
        ["clean acc. [%]", "–", "90.0", "–"], ["loss/chance end", "–", "0.500 [0.400 … 0.600]", "–"]
    ]  # fmt: skip


def test_page_of_an_evaluation_has_its_own_question_and_no_word_of_training(
    make_evaluation, write_run, tmp_path
) -> None:
    run = write_run(tmp_path / "run", result=make_evaluation())
    page = report.write(run).read_text()
    assert "are they, or are their maps only more concentrated, or is the classifier broken?" in page
    assert "400 test images" in page
    assert "70.0 [65.0 … 75.0]" in page
    assert "Every metric with its interval" in page
    assert "metrics.jsonl" not in page
    assert "training curves" not in page
    assert "mat has the highest robust accuracy" in report.TABLES["evaluation"](make_evaluation())
