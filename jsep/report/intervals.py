"""The 95 % intervals of a result in a table: a row a metric, a column a method."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jsep.evaluate import METRICS
from jsep.record import Result, intervals
from jsep.report.columns import COLUMNS, MISSING, Column, decimals_for
from jsep.stats import Interval

CAPTION = "Means with their 95 % intervals"

NOTE = (
    "Mean and 95 % interval. Where the values of single pairs or images are kept, seeds and images are both drawn "
    "anew, so the intervals speak of other trainings and other images; with one seed they speak of other images; "
    "other metrics have Student's interval over the seeds. Two intervals that overlap do not say that two methods are "
    "the same: differences on shared pairs are the findings."
)

MAIN = (
    "clean_accuracy",
    "robust_accuracy",
    "auto_attack_accuracy",
    "explanation_loss_start",
    "explanation_loss_end",
    "relative_reduction",
    "one_minus_concordance_start",
    "one_minus_concordance_end",
    "cosine_end",
    "effective_pixels",
)
"""What the short table has."""


def _cell(shown: Column, interval: Interval | None, decimals: int) -> str:
    if interval is None:
        return MISSING
    texts = [f"{shown.scale * number:.{decimals}f}".replace("-", "−") for number in interval]
    return texts[0] if math.isnan(interval.low) else f"{texts[0]} [{texts[1]} … {texts[2]}]"


def interval_cells(result: Mapping[str, Any], *, every: bool = False) -> tuple[list[str], list[list[str]]]:
    """(head, rows) of the table of MAIN or of every metric."""
    typed = Result.from_dict(result)
    entries = intervals(typed)
    degraded = {row.method for row in typed.rows if row.degraded}
    known = {entry.name: entry for entry in (*COLUMNS, *METRICS.values())}
    keys = [*(k for k in known if k in entries), *(k for k in entries if k not in known)] if every else list(MAIN)
    rows = []
    for key in keys:
        if key not in entries:
            continue
        shown = known[key]
        means = [entry.estimate for entry in entries[key].values()]
        decimals = shown.decimals
        if decimals is None:
            decimals = decimals_for([shown.scale * mean for mean in means])
        rows.append([shown.title, *(_cell(shown, entries[key].get(method), decimals) for method in typed.methods)])
    return ["metric", *(method + (" *" if method in degraded else "") for method in typed.methods)], rows


def interval_markdown(result: Mapping[str, Any]) -> str:
    """The short table with its note, or nothing where the result has no intervals."""
    head, rows = interval_cells(result)
    if not rows:
        return ""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("*", "\\*") for cell in cells) + " |"

    rule = "|---" + "|---:" * (len(head) - 1) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows), "", NOTE])
