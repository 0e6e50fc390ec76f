"""Result files -> tables, figures, one self-contained page.

The way of the data: `records` reads a run directory, `summary` turns rows into means over seeds, `columns` says how
each metric is shown, `answer` puts the numbers into words, `tables` sets them in rows, `curves` and `panels` draw (in
one `style`), `gallery` shows explanation methods, `strength` attacks on predictions, `pictures` adds the captions,
`page` puts all of it into one file. matplotlib is used here and nowhere else in the library.

<<<< Result files -> tables, figures, one self-contained page.

The way of the data: `records` reads a run directory, `summary` turns rows into means over seeds, `columns` says how
each metric is shown, `answer` puts the numbers into words, `tables` sets them in rows, `curves` and `panels` draw (in
one `style`), `gallery` shows explanation methods, `pictures` adds the captions, `page` puts all of it into one file.
A landscape analysis goes its own way: `landscape` (numbers and tables), `landscape_figures`, `landscape_page`.
matplotlib is used here and nowhere else in the library.
"""

from jsep.report.answer import answer as in_words
from jsep.report.attacks import attack_tables
from jsep.report.cross_method import cross_method_table, write_cross_method
from jsep.report.gallery import gallery_table, write_gallery
from jsep.report.landscape import landscape_table
from jsep.report.landscape_page import write_landscape
from jsep.report.page import write
from jsep.report.selection import selection_table, write_selection
from jsep.report.strength import strength_table
from jsep.report.summary import summarise
from jsep.report.tables import format_table, markdown_table

__all__ = [
    "attack_tables",
    "cross_method_table",
    "format_table",
    "gallery_table",
    "in_words",
    "landscape_table",
    "markdown_table",
    "selection_table",
    "strength_table",
    "summarise",
    "write",
    "write_cross_method",
    "write_gallery",
    "write_landscape",
    "write_selection",
]
