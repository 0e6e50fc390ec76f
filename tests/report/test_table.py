"""One table in four styles: every cell in each, and nothing of a cell that could become something else."""

import html.parser
import re

import pytest

from jsep import report
from jsep.report import study_tables
from jsep.report.table import Cell, Column, make_table, text_column, with_run_names

EVIL = "<b>a|b*c</b> & 5 % _x_ $y$ {z} \\end~^#"


def make(text: str = "plain", title: str = "Things") -> report.Table:
    columns = ["name", Column("loss", "1e-7"), text_column("remark")]
    rows = [[text, Cell("1.2", "± 0.3", "0.9 … 1.5", value=1.2), "of no importance"], ["b", "–", ""]]
    return make_table(columns, rows, title=title, notes=(f"A note on {text}.",))


@pytest.mark.parametrize("style", ["terminal", "markdown", "html", "latex"])
def test_every_style_has_title_headings_cells_and_notes(style: str) -> None:
    text = report.format_table(make(), style=style)
    for part in (
        "Things",
        "name",
        "loss",
        "1e-7",
        "remark",
        "plain",
        "1.2",
        "0.3",
        "of no importance",
        "A note on plain.",
    ):
        assert part in text, part


def test_markdown_has_a_cell_a_column_whatever_is_in_it() -> None:
    text = report.format_table(make(EVIL), style="markdown")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 2
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {4}
    assert "<b>" not in text
    assert lines[1] == "|---|---:|---|"
    linked = make_table(["a"], [[Cell("name", "(3)", link="x/README.md")]])
    assert "| [name](x/README.md) (3) |" in report.format_table(linked, style="markdown")


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


def test_html_escapes_everything() -> None:
    parser = _Tags()
    parser.feed(report.format_table(make(EVIL, EVIL), style="html"))
    assert set(parser.tags) == {"div", "table", "caption", "thead", "tr", "th", "span", "tbody", "td", "p"}
    assert parser.words.count(EVIL) == 3


def test_latex_is_a_booktabs_table_in_which_every_special_character_is_escaped() -> None:
    text = report.format_table(make(EVIL), style="latex")
    lines = text.splitlines()
    assert lines[1:3] == [r"\begin{tabular}{lrl}", r"\toprule"]
    assert lines.index(r"\midrule") == 4
    assert lines[-3:-1] == [r"\bottomrule", r"\end{tabular}"]
    assert r"1.2 $\pm$ 0.3" in text
    assert {len(re.findall(r"(?<!\\)&", line)) for line in (lines[3], lines[5], lines[6])} == {2}
    own = lines[5].partition(" & 1.2")[0]
    for char in "%#":
        assert not re.search(rf"(?<!\\){char}", own), char
    assert r"\_x\_" in own
    assert r"\$y\$" in own
    assert r"\textbackslash{}end\textasciitilde{}\textasciicircum{}" in own


def test_the_terminal_aligns_numbers_wraps_words_and_repeats_the_names_in_every_block() -> None:
    columns = ["name", *(Column(f"number {i}") for i in range(14)), text_column("remark")]
    table = make_table(columns, [["one", *["1.5"] * 14, "word " * 30], ["two", *["10.25"] * 14, ""]])
    lines = report.format_table(table).splitlines()
    assert max(map(len, lines)) <= 100
    assert len([line for line in lines if line.startswith("one ")]) == 2
    first, second = (next(line for line in lines if line.startswith(name)) for name in ("one ", "two "))
    assert first.index("1.5") + 3 == second.index("10.25") + 5
    assert sum("word" in line for line in lines) > 2


def test_tables_of_runs_become_one_with_all_their_columns_and_the_rows_of_a_name_together() -> None:
    first = make_table(["name", "a", "b"], [["x", "1", "2"], ["y", "3", "4"]], notes=("Told once.",))
    second = make_table(["name", "b", "c"], [["y *", "5", "6"]], notes=("Told once.",))
    table = with_run_names([first, second], ["one", "two"])
    assert [column.heading for column in table.columns] == ["name", "run", "a", "b", "c"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["x", "one", "1", "2", "–"], ["y", "one", "3", "4", "–"], ["y *", "two", "–", "5", "6"]
    ]  # fmt: skip
    assert table.notes == ["Told once."]
    assert table.num_names == 2


@pytest.mark.parametrize(("counts", "shown"), [((0, 0), False), ((0, 3), True)])
def test_images_that_are_not_finite_are_a_column_where_there_are_any(counts: tuple[int, int], shown: bool) -> None:
    rows = [
        {"method": method, "seed": 0, "clean_accuracy": 0.9, "num_non_finite": count}
        for method, count in zip(("mat", "sep_neg"), counts, strict=True)
    ]
    (table, *_) = study_tables.metric_tables({"format": 2, "rows": rows})
    assert any("not finite" in column.heading for column in table.columns) == shown
