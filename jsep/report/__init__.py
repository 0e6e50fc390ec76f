"""Result files -> tables, figures, one self-contained page.

The way of the data: `records` reads a run directory, `summary` turns rows into means over seeds, `columns` says how
each metric is shown, `answer` puts the numbers into words, `tables` sets them in rows, `curves` and `panels` draw (in
one `style`), `pictures` adds the captions. `page` puts a run into one file and `compare` several runs, both of `parts`:
`numbers` (tables), `charts` (drawn by `svg`), `mosaic` and `explorer` (images and maps); what moves in the browser is
in the .js files beside them, which become part of the page. The results of another kind go their own ways: `gallery`
(explanation methods), `strength` (attacks on predictions), `attacks` (attacks on explanations), `selection`,
`cross_method`, and `landscape` with `landscape_figures` and `landscape_page`; `TABLES` lists them.
matplotlib is used here and nowhere else in the library.
"""

from collections.abc import Callable
from typing import Any

from jsep.report.answer import answer as in_words
from jsep.report.attacks import attack_tables
from jsep.report.compare import write_comparison
from jsep.report.cross_method import cross_method_table, write_cross_method
from jsep.report.gallery import gallery_table, write_gallery
from jsep.report.landscape import landscape_table
from jsep.report.landscape_page import write_landscape
from jsep.report.page import write
from jsep.report.panels import first_of_each_class
from jsep.report.records import kind_of, read_json
from jsep.report.selection import selection_table, write_selection
from jsep.report.strength import strength_table
from jsep.report.summary import summarise
from jsep.report.tables import format_table, markdown_table

__all__ = [
    "TABLES",
    "attack_tables",
    "cross_method_table",
    "first_of_each_class",
    "format_table",
    "gallery_table",
    "in_words",
    "kind_of",
    "landscape_table",
    "markdown_table",
    "read_json",
    "selection_table",
    "strength_table",
    "summarise",
    "write",
    "write_comparison",
    "write_cross_method",
    "write_gallery",
    "write_landscape",
    "write_selection",
]


def _study_table(result: dict[str, Any]) -> str:
    words = in_words(result)
    return "\n\n".join([markdown_table(result).strip(), " ".join([words.verdict, *words.claim, *words.confound])])


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "study": _study_table,
    "explanation_methods": gallery_table,
    "attack_strength": strength_table,
    "explanation_attacks": attack_tables,
    "selection": selection_table,
    "cross_method": cross_method_table,
    "landscape": landscape_table,
}
"""kind of a result.json ("study" where it says none) -> its table in Markdown and what the numbers say."""
