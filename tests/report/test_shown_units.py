"""Explanation losses are shown in one unit, methods by their names for people."""

import json
import math
import pathlib
import re

import pytest
from planted import planted_result

from jsep import evaluate, explain, record, report
from jsep.record import explanation_name, readable
from jsep.record.paper import LOSS_IN_PAPER
from jsep.report.formatting import metric_number
from jsep.report.style import in_two_lines

ROOT = pathlib.Path(__file__).parents[2]
PAPER_UNIT = re.compile(r"1e[-−‑]7|10⁻⁷")


def test_no_metric_is_shown_in_the_unit_of_the_paper() -> None:
    for metric in evaluate.METRICS.values():
        assert not PAPER_UNIT.search(f"{metric.title} {metric.meaning}"), metric.name
        if metric.is_loss:
            assert math.isnan(metric.scale), "no scale without the number of pixels"
            assert (metric.of_maps(28 * 28).unit, metric.of_maps(28 * 28).scale) == (evaluate.LOSS_UNIT, 784.0**2)
            assert metric_number(2 / 784**2, metric.of_maps(784)) == "2.00"
            assert (metric.of_maps(None).unit, metric.of_maps(None).scale) == ("MSE", 1.0)
        else:
            assert metric.of_maps(784) is metric


@pytest.mark.parametrize("path", sorted(ROOT.glob("results/*/result.json")), ids=lambda path: path.parent.name)
def test_committed_results_know_their_pixels_and_show_no_other_unit(path: pathlib.Path) -> None:
    content = record.upgrade(json.loads(path.read_text()))
    text = report.format_table(content, style="markdown")
    assert not PAPER_UNIT.search(text)
    assert "[MSE]" not in text
    assert not re.search(r"\b(sep_pos|sep_neg|base_\d|mat_\w+|ig_norm)\b", text)


def test_only_what_stands_beside_a_published_loss_is_in_the_unit_of_the_paper() -> None:
    content = planted_result(2e-5)
    assert not PAPER_UNIT.search(report.format_table(content, style="markdown"))
    table = report.paper_table("mnist_sep", content)
    assert table is not None
    rows = [row for row in table.rows if PAPER_UNIT.search(" ".join(map(str, row)))]
    assert len(rows) == 4
    assert all(str(row[1]).endswith(f"[{LOSS_IN_PAPER}]") for row in rows)


def test_the_pixels_of_a_result_are_those_it_names_or_its_losses_or_its_data_set_have() -> None:
    assert record.pixels_of_maps({"num_pixels": 5, "rows": planted_result(0.0)["rows"]}) == 5
    assert record.pixels_of_maps(planted_result(0.0)) == 64
    assert record.pixels_of_maps({"rows": [], "study": {"dataset": "mnist"}}) == 784
    assert record.pixels_of_maps({"rows": [], "study": {"dataset": "my.npz"}}) is None


def test_names_for_people() -> None:
    assert record.readable("mat_ig_norm@0.5") == "MAT, IG-NORM, weight 0.5"
    assert record.readable("continued_0") == "continued, standard training"
    assert record.readable("sep_neg -0.07") == "SEP −, sharpened, weight −0.07"
    assert record.readable("mine, and yours") == "mine, and yours"
    contrast = "(sep_pos_8 − continued_8) − (sep_pos_0 − continued_0)"
    assert record.readable_all(contrast, ("sep_pos_8", "continued_8", "sep_pos_0", "continued_0")) == (
        "(SEP +, flattened, ε = 8/255 − continued, ε = 8/255) − "
        "(SEP +, flattened, standard training − continued, standard training)"
    )


def test_every_explanation_method_has_a_title() -> None:
    titles = [explanation_name(name) for name in explain.METHODS]
    assert len(set(titles)) == len(titles)
    assert all(explain.METHODS[name].title for name in explain.METHODS)
    assert explanation_name("lrp_epsilon_plus_flat") == "LRP epsilon-plus-flat"
    assert explanation_name("of_my_own") == "of_my_own"


def test_long_names_above_columns_differ_and_are_not_cut() -> None:
    names = [readable(f"base_{budget}") for budget in (0, 2, 8)]
    shown = [in_two_lines(name, 20) for name in names]
    assert shown[1] == "adversarial\ntraining, ε = 2/255"
    assert len(set(shown)) == 3
    assert in_two_lines("a " * 40, 20).endswith("…")
