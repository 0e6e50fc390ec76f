"""A kind of result that another package registers has tables in every style, figures and a page."""

import json

import pytest

from jsep import report
from jsep.checks import InputError
from jsep.report.charts import Line, Panel, line_chart


def tables(result: dict) -> list[report.Table]:
    return [report.make_table(["line", "syllables"], [[line, str(len(line))] for line in result["lines"]])]


def figures(result: dict, arrays: dict) -> list[report.NamedFigure]:
    panel = Panel("Length", "line", "letters", [Line(range(2), [len(line) for line in result["lines"]], "#0072B2")])
    return [report.NamedFigure("lengths", "Lengths", "A curve.", "Letters a line.", line_chart([panel]))]


def test_a_kind_from_outside_has_tables_figures_and_a_page(tmp_path, monkeypatch) -> None:
    result = {"format": 2, "kind": "poem", "experiment": "verses", "lines": ["<i>one</i>", "two"]}
    (tmp_path / "result.json").write_text(json.dumps(result))
    with pytest.raises(InputError, match="poem"):
        report.write(tmp_path)
    monkeypatch.setitem(report.KINDS, "poem", report.Kind("Poems", "How long are they?", tables, figures))
    assert "| two | 3 |" in report.format_table(result, style="markdown")
    page = report.write(tmp_path).read_text()
    assert (tmp_path / "lengths.png").exists()
    assert "How long are they?" in page
    assert "&lt;i&gt;one&lt;/i&gt;" in page
    assert "<i>one</i>" not in page


def test_every_kind_has_words_for_its_page() -> None:
    for name, kind in report.KINDS.items():
        assert kind.heading, name
        assert kind.question.endswith("?"), name
