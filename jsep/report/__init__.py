"""Result files -> tables, figures and one self-contained page. Nothing is computed here: numbers and verdicts come
from `record`, `evaluate` and `stats`.

A `table.Table` is written by `format_table` for a terminal, in Markdown, HTML or LaTeX. `charts` and `image_grid` draw
the charts of all kinds of result in one `style`, as PNG and as inline SVG. `study_tables`, `study_figures` and
`findings` belong to studies; `kinds` lists the other kinds of result, each with a file of its own tables and figures.
`page` fills the templates for one run, `comparison` for several, `explorer` provides the data of the gallery. `paper`
compares the results with the paper, `settings` lists training and attack settings, `sweep` shows the progress of many
runs. Single images, maps and planes are drawn by `jsep.plot`.
"""

from jsep.report.cards import cards_tables
from jsep.report.comparison import write_comparison
from jsep.report.findings import answer, findings_table
from jsep.report.image_grid import first_of_each_class
from jsep.report.kinds import KINDS, Kind, brief_findings, brief_table, format_table, tables_of
from jsep.report.page import write
from jsep.report.paper import items_table, order_table, paper_table
from jsep.report.settings import settings_table
from jsep.report.study_tables import row_line
from jsep.report.style import NamedFigure
from jsep.report.sweep import duration, sweep_counts, sweep_failures, sweep_table
from jsep.report.table import Cell, Column, Table, fitted, make_table

__all__ = [
    "KINDS",
    "Cell",
    "Column",
    "Kind",
    "NamedFigure",
    "Table",
    "answer",
    "brief_findings",
    "brief_table",
    "cards_tables",
    "duration",
    "findings_table",
    "first_of_each_class",
    "fitted",
    "format_table",
    "make_table",
    "order_table",
    "items_table",
    "paper_table",
    "row_line",
    "settings_table",
    "sweep_counts",
    "sweep_failures",
    "sweep_table",
    "tables_of",
    "write",
    "write_comparison",
]
