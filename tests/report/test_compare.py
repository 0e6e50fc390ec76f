"""The page that compares runs, and what it refuses."""

import html
import json
import pathlib
import re

import pytest

from jsep import record, report
from jsep.checks import InputError

RESULTS = pathlib.Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module", name="compared")
def _compared(tmp_path_factory, write_run, make_result, make_metrics):
    parent = tmp_path_factory.mktemp("runs")
    first = make_result()
    second = make_result()
    second["config"] = {**second["config"], "learning_rate": 0.125}
    second["rows"] = [{**row, "clean_accuracy": 0.5} for row in second["rows"]]
    write_run(parent / "one", result=first, metrics=make_metrics(1, 3))
    write_run(parent / "two & more", result=second)
    (parent / "one" / "index.html").write_text("its page")
    return report.write_comparison([parent / "one", parent / "two & more"], parent / "out.html")


def _words(page):
    return " ".join(html.unescape(re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)).split())


def test_comparison_shows_every_run_method_and_number(compared):
    page = compared.read_text(encoding="utf-8")
    words = _words(page)
    for method in ("mat", "sep_pos", "sep_neg"):
        for run in ("one", "two & more"):
            assert f"{record.readable(method)}, {run} " in words
            assert f"{method} {run} " in words, "the name in flags, beside that for people"
    # Two tables of numbers, each with a row a run and method.
    assert len(re.findall(r'<tr data-method="mat">', page)) == 2 * 2
    assert "50.0 ± 0.0" in words
    assert not re.search(r"https?://|url\((?!#)|@import", page)


def test_comparison_names_the_settings_that_differ_and_only_those(compared):
    page = compared.read_text(encoding="utf-8")
    section = page.split('<section id="settings">')[1].split("</section>")[0]
    differ, equal = section.split("<details>")
    assert "learning_rate" in differ
    assert "0.125" in differ
    assert "epochs" not in differ
    assert "epochs" in equal
    assert "tested on the same pairs" in page


def test_comparison_leads_to_the_pages_of_its_runs(compared):
    page = compared.read_text(encoding="utf-8")
    assert 'href="one/index.html"' in page
    # A run without a page has no link.
    assert "two%20%26%20more" not in page


def test_comparison_refuses_what_does_not_compare(tmp_path, write_run, make_result):
    one = write_run(tmp_path / "one", result=make_result())
    other = make_result()
    other["pairs"] = {**other["pairs"], "dataset": "cifar10"}
    two = write_run(tmp_path / "two", result=other)
    landscape = write_run(tmp_path / "three", result={**make_result(), "kind": "landscape"})
    out = tmp_path / "out.html"
    for runs, message in [
        ([one], "two or more runs"),
        ([one, one], "twice"),
        ([one, two], "one data set, got digits in .*one, cifar10 in .*two"),
        ([one, landscape], "a study in .*one, a landscape in .*three"),
        ([one, tmp_path / "none"], "readable result.json"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            report.write_comparison(runs, out)
        assert "\n" not in str(caught.value)
    assert not out.exists()


def test_comparison_replaces_its_own_page_and_no_other_file(tmp_path, write_run, make_result):
    runs = [write_run(tmp_path / parent / "run", result=make_result()) for parent in ("a", "b")]
    out = tmp_path / "out.html"
    out.write_text("notes")
    with pytest.raises(InputError, match="is no page of jsep"):
        report.write_comparison(runs, out)
    assert out.read_text() == "notes"
    out.unlink()
    report.write_comparison(runs, out)
    page = report.write_comparison(runs, out).read_text(encoding="utf-8")
    # Equal names are told apart by their parents.
    assert "a/run" in page
    assert "b/run" in page


def test_runs_with_other_metrics_compare_where_they_can(tmp_path, write_run, make_result, make_rows):
    rows = [{**row, "noise_sensitivity": 0.125, "degraded": row["method"] == "mat"} for row in make_rows()]
    runs = [write_run(tmp_path / "a", result=make_result()), write_run(tmp_path / "b", result=make_result(rows=rows))]
    page = report.write_comparison(runs, tmp_path / "out.html").read_text()
    # The group that one run alone has, and a degraded model beside the same method that is not.
    assert "map change under noise" in page
    assert "12.5" in page
    first = page.split('<div data-group="As in the paper">')[1].split("</table>")[0]
    words = re.sub(r"<[^>]+>", " ", first).split()
    assert words.index("sep_neg") > max(place for place, word in enumerate(words) if word == "mat")
    assert len(re.findall(r'data-method="mat"', first)) == 2


def _differences(page):
    """The heads and rows of the table of differences, and its notes."""
    own = page.split("<caption>Less ")[1]
    table, notes = own.split("</table>")[0], own.split("</table>")[1].split("<details")[0]
    heads = [_words(head) for head in re.findall(r"<th scope=\"col\".*?</th>", table, re.DOTALL)]
    rows = [[_words(cell) for cell in re.findall(r"<t[dh][ >].*?</t[dh]>", row, re.DOTALL)]
            for row in re.findall(r"<tr.*?</tr>", table.split("<tbody>")[1], re.DOTALL)]  # fmt: skip
    return heads, rows, _words(notes)


def test_runs_attacked_alike_compare_pair_by_pair(tmp_path, write_run, make_result):
    settings = {"explanation_attack_kind": "targeted", "explanation_num_steps": 100, "explanation_epsilon": 0.15,
                "explanation_norm": "linf"}  # fmt: skip
    one, two = make_result(), make_result()
    one["config"], two["config"] = one["config"] | settings, two["config"] | settings | {"explanation_options": []}
    runs = [write_run(tmp_path / "a", result=one), write_run(tmp_path / "b", result=two)]
    page = report.write_comparison(runs, tmp_path / "out.html").read_text()
    assert "by the same attack on explanations, so their losses compare pair by pair" in _words(page)
    assert "loss at end N²·MSE" in " ".join(_differences(page)[0])
    equal = page.split("Settings that are equal</summary>")[1].split("</details>")[0]
    assert "attack on explanations targeted, 100 steps, within 0.15 linf" in _words(equal)
    two["config"]["explanation_num_steps"] = 300
    write_run(tmp_path / "b", result=two)
    page = report.write_comparison(runs, tmp_path / "out.html").read_text()
    assert "in different ways (a: targeted, 100 steps, within 0.15 linf; b: targeted, 300 steps" in _words(page)
    assert "do not compare" in _words(page)


def test_without_a_shared_attack_the_differences_leave_out_what_it_decides(tmp_path):
    runs = [RESULTS / name for name in ("digits_sep", "objectives_digits")]
    page = report.write_comparison(runs, tmp_path / "out.html").read_text()
    words = _words(page)
    assert "pair by pair" not in words
    assert "digits_sep: ensemble, within 0.15 linf; objectives_digits: targeted, 100 steps, within 0.15 linf" in words
    assert "so their losses at the end do not compare" in words
    heads, _, notes = _differences(page)
    assert "removed points" not in heads
    assert not [head for head in heads if "end" in head]
    assert [head for head in heads if "start" in head]
    assert "share no attack on explanations" in notes
    differ = page.split('<section id="settings">')[1].split("<details>")[0]
    assert "attack on explanations" in differ
    # A result with many open questions is one short line.
    assert "Holds: maps under noise; 23 undecided; 2 not to be told." in words


def test_runs_with_other_strengths_compare_under_the_attack_that_they_share(tmp_path):
    names = ("digits_sep", "baseline_sep_quick")
    page = report.write_comparison([RESULTS / name for name in names], tmp_path / "out.html").read_text()
    assert "compare under the attack 'study' alone" in _words(page)
    heads, rows, notes = _differences(page)
    assert "that of the attack 'study'" in notes
    (place,) = [place for place, head in enumerate(heads) if "end" in head]
    first, second = (
        record.Result.from_dict(json.loads((RESULTS / name / "result.json").read_text())) for name in names
    )
    means = [
        sum(row.metrics["scale_free_loss_end"] for row in own.rows_of("mat").values()) / 3
        for own in (first.under("study"), second)
    ]
    (mat,) = [row for row in rows if row[0].endswith("MAT")]
    assert float(mat[place].replace("−", "-")) == pytest.approx(means[1] - means[0], abs=5e-4)


def test_other_tests_of_predictions_leave_out_robust_accuracy(tmp_path, write_run, make_result):
    one, two = make_result(), make_result()
    two["config"] = two["config"] | {"test_num_steps": 50}
    runs = [write_run(tmp_path / "a", result=one), write_run(tmp_path / "b", result=two)]
    heads, _, notes = _differences(report.write_comparison(runs, tmp_path / "out.html").read_text())
    assert not [head for head in heads if "robust" in head]
    assert "predictions were attacked with other settings" in notes
