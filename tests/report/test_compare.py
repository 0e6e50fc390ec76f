"""The page that compares runs, and what it refuses."""

import html
import re

import pytest

from jsep import record, report
from jsep.checks import InputError


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
