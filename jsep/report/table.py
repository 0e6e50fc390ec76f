"""A table of a report, written for a terminal, in Markdown, HTML or LaTeX."""

import dataclasses
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from jsep.checks import check_choice
from jsep.report.formatting import DEGRADED_MARK, MISSING, minus

WIDTH = 100
"""Largest width of a table in the terminal, in characters."""

Style = Literal["terminal", "markdown", "html", "latex"]


@dataclasses.dataclass(frozen=True)
class Column:
    """heading; unit: "" for none; align: "left" for words, "right" for numbers; meaning: what the column shows."""

    heading: str
    unit: str = ""
    align: Literal["left", "right"] = "right"
    meaning: str = ""

    @property
    def title(self) -> str:
        """Heading and unit in one line."""
        return f"{self.heading} [{self.unit}]" if self.unit else self.heading


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell. text; spread: follows the text, such as "± 0.3"; interval: replaces the spread on a page on demand;
    value: sort key on a page; link: address relative to the table; colour: of the method named in it, for a page;
    code: its name in files and flags, shown beside the text on a page."""

    text: str
    spread: str = ""
    interval: str = ""
    value: float | None = None
    link: str = ""
    colour: str = ""
    code: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.spread}".strip()


@dataclasses.dataclass(frozen=True)
class Table:
    """columns; rows: one cell for each column; title: "" for none; notes: paragraphs below; num_names: how many of the
    leading columns name a row; in_terminal: False for tables whose content a terminal shows as sentences."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    notes: Sequence[str] = ()
    num_names: int = 1
    in_terminal: bool = True

    @property
    def has_intervals(self) -> bool:
        """Whether some cell has an interval that a page can show in place of the spread."""
        return any(cell.interval for row in self.rows for cell in row)


def make_table(
    columns: Iterable[Any],
    rows: Iterable[Iterable[Any]],
    *,
    title: str = "",
    notes: Sequence[str] = (),
    num_names: int = 1,
    in_terminal: bool = True,
) -> Table:
    """A table of columns and cells; plain strings stand for cells and columns with nothing but text, in which
    a negative number gets its minus sign; the first `num_names` columns are words.

    >>> from jsep import report
    >>> print(report.format_table(report.make_table(["method", "loss"], [["mat", "1.5"]]), style="markdown"))
    | method | loss |
    |---|---:|
    | mat | 1.5 |
    """
    own = tuple(
        each if isinstance(each, Column) else Column(each, align="left" if place < num_names else "right")
        for place, each in enumerate(columns)
    )
    cells = tuple(tuple(each if isinstance(each, Cell) else Cell(minus(str(each))) for each in row) for row in rows)
    for row in cells:
        assert len(row) == len(own), (row, own)
    return Table(own, cells, title, notes, num_names, in_terminal)


def text_column(heading: str) -> Column:
    """A left-aligned column of words."""
    return Column(heading, align="left")


def with_run_names(tables: Sequence[Table], labels: Sequence[str]) -> Table:
    """Merges the tables of several runs into one, with the columns that any of them has: a column with the run's label
    follows the name columns, and rows of one name are adjacent."""
    first = tables[0]
    heads = list(dict.fromkeys(column for table in tables for column in table.columns[table.num_names :]))
    rows: dict[tuple[str, ...], list[list[Cell]]] = {}
    for table, label in zip(tables, labels, strict=True):
        for row in table.rows:
            cells = dict(zip(table.columns, row, strict=True))
            names = list(row[: first.num_names])
            own = [cells.get(column, Cell(MISSING)) for column in heads]
            key = tuple(str(name).removesuffix(DEGRADED_MARK) for name in names)
            rows.setdefault(key, []).append([*names, Cell(label), *own])
    columns = (*first.columns[: first.num_names], text_column("run"), *heads)
    notes = list(dict.fromkeys(note for table in tables for note in table.notes))
    return Table(columns, [row for own in rows.values() for row in own], first.title, notes, first.num_names + 1)


def write_table(table: Table, style: Style = "terminal") -> str:
    """The table with its title and notes, as text.

    Args: style: "terminal" (at most 100 columns wide), "markdown", "html", or "latex" (booktabs).
    Raises: InputError for another style.
    """
    check_choice("style", style, tuple(_WRITERS))
    return _WRITERS[style](table)


# Terminal: blocks of columns that fit the width, each beginning with the name columns.

_GAP, _LONGEST_NAME, _LONGEST_TEXT = "  ", 34, 40


def _terminal(table: Table) -> str:
    lines = [_shorten(table.title, WIDTH), ""] if table.title else []
    if table.rows:
        names = [_lines_of(table, place, _LONGEST_NAME) for place in range(table.num_names)]
        blocks: list[list[list[list[str]]]] = [[]]
        used = start = sum(_width(column) + len(_GAP) for column in names)
        for place in range(table.num_names, len(table.columns)):
            column = _lines_of(table, place, _LONGEST_TEXT)
            if used + _width(column) > WIDTH and blocks[-1]:
                blocks.append([])
                used = start
            blocks[-1].append(column)
            used += _width(column) + len(_GAP)
        place = table.num_names
        for block in blocks:
            shown = [*table.columns[: table.num_names], *table.columns[place : place + len(block)]]
            lines += [*_block([*names, *block], [column.align for column in shown]), ""]
            place += len(block)
    for note in table.notes:
        lines += [*textwrap.wrap(note, WIDTH), ""]
    return "\n".join(lines).rstrip("\n")


def _lines_of(table: Table, place: int, longest: int) -> list[list[str]]:
    """The lines of the heading and of each cell of a column; words are wrapped, numbers are not."""
    column = table.columns[place]
    heading = [*textwrap.wrap(column.heading, longest), f"[{column.unit}]" if column.unit else ""]
    cells = [str(row[place]) for row in table.rows]
    is_text = column.align == "left"
    return [heading, *(textwrap.wrap(c, longest) or [""] if is_text else [_shorten(c, longest)] for c in cells)]


def _width(column: Sequence[Sequence[str]]) -> int:
    return max(len(line) for lines in column for line in lines)


def _block(columns: Sequence[Sequence[Sequence[str]]], aligns: Sequence[str]) -> list[str]:
    """One block with a rule below the heading; headings are aligned to the bottom line, cells to the top line."""
    widths = [_width(column) for column in columns]
    found = []
    for row in range(len(columns[0])):
        height = max(len(column[row]) for column in columns)
        for line in range(height):
            parts = []
            for column, width, align in zip(columns, widths, aligns, strict=True):
                own = column[row]
                at = line - (height - len(own)) if row == 0 else line
                text = own[at] if 0 <= at < len(own) else ""
                parts.append(text.rjust(width) if align == "right" else text.ljust(width))
            found.append(_GAP.join(parts).rstrip())
        if row == 0:
            found = [line for line in found if line.strip()]
            found.append(_GAP.join("-" * width for width in widths))
    return found


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def fitted(table: Table, num_lines: int) -> Table:
    """The table as far as a terminal shows it in one block of at most `num_lines` lines: the leading columns and rows
    that fit, notes while they fit, and a last note that says how many rows and columns are left out."""
    widths = [_width(_lines_of(table, place, _LONGEST_NAME)) + len(_GAP) for place in range(table.num_names)]
    num_columns = table.num_names
    for place in range(table.num_names, len(table.columns)):
        widths.append(_width(_lines_of(table, place, _LONGEST_TEXT)) + len(_GAP))
        if sum(widths) - len(_GAP) > WIDTH:
            break
        num_columns = place + 1
    found = _leading(table, len(table.rows), num_columns, table.notes)
    for count in range(len(table.notes) - 1, -1, -1):
        if len(_terminal(found).splitlines()) <= num_lines:
            return found
        found = _leading(table, len(table.rows), num_columns, table.notes[:count])
    for count in range(len(table.rows) - 1, 0, -1):
        if len(_terminal(found).splitlines()) <= num_lines:
            return found
        found = _leading(table, count, num_columns, ())
    return found


def _leading(table: Table, num_rows: int, num_columns: int, notes: Sequence[str]) -> Table:
    numbers = {"row": len(table.rows) - num_rows, "column": len(table.columns) - num_columns}
    left = [f"{number} {noun}{'s' if number > 1 else ''}" for noun, number in numbers.items() if number]
    said = (*notes, f"Not shown here: {' and '.join(left)}.") if left else notes
    rows = [row[:num_columns] for row in table.rows[:num_rows]]
    return dataclasses.replace(table, columns=table.columns[:num_columns], rows=rows, notes=said)


# Markdown.


def escape_markdown(text: str) -> str:
    """Text without active Markdown: no cell separators, emphasis or HTML."""
    return re.sub(r"<(?=[A-Za-z/!])", "&lt;", re.sub(r"([|*])", r"\\\1", " ".join(text.split())))


def _markdown(table: Table) -> str:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def cell(each: Cell) -> str:
        text = escape_markdown(each.text)
        text = f"[{text}]({each.link})" if each.link else text
        return f"{text} {escape_markdown(each.spread)}".strip()

    parts = [f"**{escape_markdown(table.title)}**"] if table.title else []
    if table.rows:
        rule = "|" + "|".join("---:" if column.align == "right" else "---" for column in table.columns) + "|"
        head = line(escape_markdown(column.title) for column in table.columns)
        parts.append("\n".join([head, rule, *(line(map(cell, row)) for row in table.rows)]))
    return "\n\n".join([*parts, *map(escape_markdown, table.notes)])


# LaTeX, with the package booktabs.

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$", "−": "$-$", "→": r"$\to$", "×": r"$\times$", "·": r"$\cdot$", "²": "$^2$", "…": r"\dots{}",
    "–": "--", "λ": r"$\lambda$", "ζ": r"$\zeta$", "Σ": r"$\Sigma$", "ε": r"$\varepsilon$", "\u00a0": "~",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Escapes the special characters of LaTeX.

    >>> escape_latex("sep_pos: 50 % ± 3")
    'sep\\\\_pos: 50 \\\\% $\\\\pm$ 3'
    """
    return "".join(_LATEX.get(char, char) for char in " ".join(text.split()))


def _latex(table: Table) -> str:
    def line(cells: Iterable[str]) -> str:
        return " & ".join(map(escape_latex, cells)) + r" \\"

    lines = [rf"% {escape_latex(table.title)}"] if table.title else []
    if table.rows:
        aligns = "".join(column.align[0] for column in table.columns)
        head = line(column.title for column in table.columns)
        body = [line(map(str, row)) for row in table.rows]
        lines += [
            rf"\begin{{tabular}}{{{aligns}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    return "\n".join([*lines, *(rf"\par {escape_latex(note)}" for note in table.notes)])


def _html(table: Table) -> str:
    from jsep.report.rendering import render

    return render("table.html", table=table)


_WRITERS: dict[str, Callable[[Table], str]] = {
    "terminal": _terminal,
    "markdown": _markdown,
    "html": _html,
    "latex": _latex,
}
