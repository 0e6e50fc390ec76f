"""The text that a script prints of a study: at most 25 lines of 100 columns."""

import textwrap
from typing import Any

from jsep import report

WIDTH = 100


def findings_text(result: dict[str, Any]) -> str:
    """The verdicts in words, a paragraph each."""
    return "\n".join(line for each in report.brief_answer(result) for line in textwrap.wrap(each, WIDTH))


def table_and_findings(result: dict[str, Any]) -> str:
    """One row for each method, and the findings; every other column is on the page."""
    return f"{report.format_table(report.brief_table(result))}\n\n{findings_text(result)}"
