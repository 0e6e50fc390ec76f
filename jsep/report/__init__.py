"""Result files -> tables, figures, one self-contained page.

`records` reads a run directory, `columns` lists the metrics of a table, `findings` puts the verdicts of `jsep.record`
into words and cells, `tables` and `intervals` set numbers in rows, `curves` and `panels` draw (in one `style`),
`pictures` adds the captions. `page` puts a run into one file and `compare` several runs, both of `parts`: `numbers`
(tables), `charts` (drawn by `svg`), `mosaic` and `explorer` (images and maps); what moves in the browser is in the .js
files beside them, which become part of the page. Results of another kind go their own ways: `gallery` (explanation
methods), `strength` (attacks on predictions), `attacks` (attacks on explanations), `selection`, `cross_method`,
`weight_sweep`, `correlation`, `precision`, and `landscape` with `landscape_figures` and `landscape_page`; `TABLES`
lists them. `sweep` says how far many runs are. `paper` asks all of them what they say to the paper's numbers and
claims, by `study_claims`, `landscape_claims` and `many_claims`; `settings` lists how they were made.
matplotlib is used here and nowhere else in the library.
"""

import pathlib
from collections.abc import Callable
from typing import Any

from jsep.report.attacks import attack_tables
from jsep.report.compare import write_comparison
from jsep.report.correlation import correlation_tables, write_correlation
from jsep.report.cross_method import cross_method_table, write_cross_method
from jsep.report.findings import answer, findings_markdown
from jsep.report.gallery import gallery_table, write_gallery
from jsep.report.landscape import landscape_table
from jsep.report.landscape_page import write_landscape
from jsep.report.page import write
from jsep.report.panels import first_of_each_class
from jsep.report.paper import PAPER_ITEMS, PaperItem, order_table, paper_table
from jsep.report.precision import precision_table
from jsep.report.records import kind_of, read_json
from jsep.report.selection import selection_table, write_selection
from jsep.report.settings import settings_table
from jsep.report.strength import strength_table
from jsep.report.sweep import duration, sweep_counts, sweep_failures, sweep_table
from jsep.report.tables import format_table, markdown_table
from jsep.report.weight_sweep import weight_sweep_table, write_weight_sweep

__all__ = [
    "PAGES",
    "PAPER_ITEMS",
    "TABLES",
    "PaperItem",
    "answer",
    "attack_tables",
    "correlation_tables",
    "cross_method_table",
    "duration",
    "findings_markdown",
    "first_of_each_class",
    "format_table",
    "gallery_table",
    "kind_of",
    "landscape_table",
    "markdown_table",
    "order_table",
    "paper_table",
    "precision_table",
    "read_json",
    "selection_table",
    "settings_table",
    "strength_table",
    "sweep_counts",
    "sweep_failures",
    "sweep_table",
    "weight_sweep_table",
    "write",
    "write_comparison",
    "write_correlation",
    "write_cross_method",
    "write_gallery",
    "write_landscape",
    "write_selection",
    "write_weight_sweep",
]


def _study_table(result: dict[str, Any]) -> str:
    return "\n\n".join([markdown_table(result).strip(), answer(result).headline])


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "study": _study_table,
    "explanation_methods": gallery_table,
    "attack_strength": strength_table,
    "explanation_attacks": attack_tables,
    "selection": selection_table,
    "cross_method": cross_method_table,
    "landscape": landscape_table,
    "precision": precision_table,
    "evaluation": _study_table,
    "sep_weight_sweep": weight_sweep_table,
    "correlation": correlation_tables,
}
"""kind of a result.json ("study" where it says none) -> its table in Markdown and what the numbers say."""

PAGES: dict[str, Callable[[str | pathlib.Path], pathlib.Path]] = {
    "study": write,
    "evaluation": write,
    "landscape": write_landscape,
}
"""kind of a result.json -> what draws the pictures and the page, index.html, of its run directory."""
