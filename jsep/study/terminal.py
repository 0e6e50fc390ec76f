"""The text that a script prints of a result, besides the tables of `jsep.report`."""

import textwrap
from typing import Any

from jsep import report

WIDTH = 120


def findings_text(result: dict[str, Any]) -> str:
    """The headline of the findings and a line for each question."""
    found = report.answer(result)
    lines = textwrap.wrap(found.headline, WIDTH)
    for sentence in found.sentences:
        lines += textwrap.wrap(f"- {sentence}", WIDTH, subsequent_indent="  ")
    return "\n".join(lines)


def table_and_findings(result: dict[str, Any]) -> str:
    """The table of the methods, and the findings."""
    return f"{report.format_table(result)}\n\n{findings_text(result)}"
