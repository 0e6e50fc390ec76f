"""Means, standard deviations and the tables of a study."""

import math
import re

import pytest

from jsep import record, report
from jsep.checks import InputError
from jsep.report.formatting import MISSING
from jsep.report.shown import COLUMNS, WEIGHTS


def test_summarise_equals_hand_computed_values():
    rows = [
        {
            "method": "sep_neg",
            "seed": 0,
            "sep_weight": -300,
            "robust_accuracy": 0.70,
            "degraded": False,
            "note": "a",
        },
        {"method": "mat", "seed": 0, "sep_weight": 0.0, "robust_accuracy": 0.5, "degraded": False},
        {"method": "sep_neg", "seed": 1, "sep_weight": -300, "robust_accuracy": 0.74, "degraded": True},
        {"method": "sep_neg", "seed": 2, "sep_weight": -300, "robust_accuracy": 0.78, "degraded": False},
    ]
    negative, mat = record.summarise(rows)
    assert negative["method"] == "sep_neg"
    assert negative["num_seeds"] == 3
    assert negative["degraded"] is True
    assert negative["sep_weight"] == -300.0
    assert negative["robust_accuracy"] == {"mean": pytest.approx(0.74), "std": pytest.approx(0.04)}
    assert set(negative) == {"method", "num_seeds", "degraded", "sep_weight", "robust_accuracy"}
    assert mat["robust_accuracy"] == {"mean": 0.5, "std": 0.0}
    assert mat["degraded"] is False


def test_summarise_leaves_out_a_missing_value_and_keeps_nan():
    rows = [
        {"method": "a", "seed": 0, "x": 1.0, "y": 1.0},
        {"method": "a", "seed": 1, "x": None, "y": math.nan},
    ]
    (summary,) = record.summarise(rows)
    assert summary["x"] == {"mean": 1.0, "std": 0.0}
    assert math.isnan(summary["y"]["mean"])


@pytest.mark.parametrize("rows", [[], [{"seed": 0}]])
def test_summarise_rejects_rows_without_a_method(rows):
    with pytest.raises(InputError):
        record.summarise(rows)


def _row_cells(table: str, method: str) -> list[list[str]]:
    """The cells of one method in every block of a text table."""
    lines = [line for line in table.splitlines() if re.match(rf"{re.escape(method)}( \*)?  ", line)]
    return [re.split(r"\s{2,}", line.strip())[1:] for line in lines]


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?[\d.]+", text.replace("−", "-").replace("+", ""))]


def test_format_table_shows_the_numbers_of_the_result(make_result):
    result = make_result()
    table = report.format_table(result)
    assert max(len(line) for line in table.splitlines()) <= 100
    for summary in record.summarise(result["rows"]):
        shown = [cell for block in _row_cells(table, record.readable(summary["method"])) for cell in block]
        known = [entry.of_maps(64) for entry in COLUMNS if entry.name in summary]
        for entry, cell in zip(known, shown, strict=True):
            if entry in WEIGHTS:
                expected = summary["sep_weight"] if entry.name == "sep_weight" else summary[entry.name]["mean"]
                assert _numbers(cell)[0] == pytest.approx(expected, rel=5e-3)
                continue
            decimals = len(cell.split(" ")[0].partition(".")[2])
            values = [entry.scale * summary[entry.name][part] for part in ("mean", "std")]
            assert _numbers(cell) == pytest.approx(values, abs=0.51 * 10**-decimals)


def test_tables_of_one_seed_have_no_spread(make_result, make_rows):
    table = report.format_table(make_result(rows=make_rows(num_seeds=1)))
    assert "±" not in table
    assert "one seed" in table


@pytest.mark.parametrize("style", ["terminal", "markdown", "html", "latex"])
def test_degraded_models_are_marked_and_the_mark_is_explained(make_result, make_rows, style):
    rows = make_rows()
    rows[-1]["degraded"] = True
    text = report.format_table(make_result(rows=rows), style=style)
    assert re.search(r"SEP (−|\$-\$), sharpened (\*|\\\*)", text)
    assert "degraded: clean accuracy" in " ".join(text.split())
    assert "degraded" not in report.format_table(make_result(), style=style)


def test_the_terminal_fits_whatever_the_names_and_numbers(make_result, make_rows):
    rows = make_rows()
    for row in rows:
        row.update(method=row["method"] + "_with_a_very_long_name_indeed" * 2, degraded=True)
        row.update({key: 1e3 * row[key] for key in ("scale_free_loss_start", "explanation_loss_start", "cosine_end")})
    assert max(len(line) for line in report.format_table(make_result(rows=rows)).splitlines()) <= 100


def test_missing_metrics_show_as_a_dash_and_a_column_that_nobody_fills_is_left_out(make_result):
    rows = [
        {"method": "mat", "seed": 0, "clean_accuracy": 0.5, "robust_accuracy": "high", "label_kept": None},
        {"method": "other", "seed": 0, "clean_accuracy": 0.5, "robust_accuracy": 0.25},
    ]
    table = report.format_table(make_result(rows=rows))
    assert _row_cells(table, "MAT") == [["50.0", MISSING]]  # nor the weight of a term that none has
    assert _row_cells(table, "other") == [["50.0", "25.0"]]
    assert "loss at end" not in table
    with_weight = report.format_table(make_result(rows=[rows[0], {**rows[1], "sep_weight": 2.0}]))
    assert _row_cells(with_weight, "MAT") == [["0", "50.0", MISSING]]


def test_degraded_is_said_where_a_model_has_a_baseline(make_result):
    rows = [{"method": name, "seed": 0, "clean_accuracy": 0.5} for name in ("mine", "yours")]
    assert "degraded" not in " ".join(report.answer(make_result(rows=rows)).sentences)
    rows[1]["baseline"] = "mine"
    assert "No model is degraded." in report.answer(make_result(rows=rows)).sentences


@pytest.mark.parametrize("change", [{"format": 3}, {"rows": {}}, {"rows": [1]}])
def test_tables_reject_another_format(make_result, change):
    result = make_result()
    result.update(change)
    for style in ("terminal", "markdown"):
        with pytest.raises(InputError, match="expected"):
            report.format_table(result, style=style)


def test_tables_reject_another_kind_and_another_style(make_result):
    with pytest.raises(InputError, match="kind"):
        report.format_table({**make_result(), "kind": "poem"})
    with pytest.raises(InputError, match="style"):
        report.format_table(make_result(), style="word")
