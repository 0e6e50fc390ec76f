"""The table of comparisons shows the numbers of the result, and older results have none."""

from jsep import report
from jsep.report.comparisons import HEAD, comparison_cells, comparison_markdown, p_text

ENTRY = {
    "method": "sep_neg", "baseline": "mat", "metric": "explanation_loss_end", "num_seeds": 3, "num_pairs": 60,
    "difference": 1.5e-5, "low": -2e-6, "high": 3.25e-5, "effect_size": 0.31, "rank_biserial": 0.2,
    "wilcoxon_p": 0.0412, "permutation_p": 0.0002, "holm_p": 0.2, "degraded": True,
}  # fmt: skip


def test_cells_hold_the_scaled_numbers_and_the_mark(make_result) -> None:
    result = make_result(statistics={"comparisons": [ENTRY, {**ENTRY, "metric": "excess_end", "effect_size": None}]})
    rows = comparison_cells(result)
    assert rows[0] == [
        "sep_neg *", "mat", "loss at end [1e-7]", "+150", "−20 … +325", "+0.31", "0.041", "< 0.001", "0.200",
    ]  # fmt: skip
    assert rows[1][2] == "loss/chance end"
    assert rows[1][5] == "–"
    assert len(rows[0]) == len(HEAD)


def test_documents_and_pages_show_the_table_where_there_is_one(make_result, write_run, tmp_path) -> None:
    result = make_result(statistics={"comparisons": [ENTRY]})
    assert "| sep_neg \\* | mat | loss at end [1e-7] | +150 |" in report.markdown_table(result)
    assert comparison_markdown(make_result()) == ""
    assert "Holm" not in report.markdown_table(make_result())
    page = report.write(write_run(tmp_path / "new", result=result)).read_text()
    assert "−20 … +325" in page
    assert "Holm p" in page
    assert "Holm p" not in report.write(write_run(tmp_path / "old", result=make_result())).read_text()


def test_p_values_are_shown_as_small_or_to_three_digits() -> None:
    assert [p_text(p) for p in (0.0412, 0.0002, None, 1.0)] == ["0.041", "< 0.001", "–", "1.000"]
