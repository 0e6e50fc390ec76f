"""The 95 % intervals of a result in a table: a row a metric, a column a method."""

from collections.abc import Mapping, Sequence
from typing import Any

from jsep.report.columns import COLUMNS, MISSING, Column, decimals_for
from jsep.report.summary import as_number

CAPTION = "Means with their 95 % intervals"

NOTE = (
    "Mean and 95 % interval. Over pairs or test images, and with several seeds over the seeds as well: both are drawn "
    "anew (the hierarchical bootstrap, expanded for few seeds), so the intervals speak of other trainings and other "
    "images; with one seed they speak of other images alone. An accuracy of one seed has Wilson's interval. Two "
    "intervals that overlap do not say that two methods are the same: differences on shared pairs are tested below."
)

MAIN = (
    "clean_accuracy",
    "robust_accuracy",
    "auto_attack_accuracy",
    "explanation_loss_start",
    "explanation_loss_end",
    "relative_reduction",
    "excess_start",
    "excess_end",
    "cosine_end",
    "effective_pixels",
)
"""What the short table has."""


def _entries(result: Mapping[str, Any]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """metric -> method -> entry: "intervals" of an evaluation, or the two lists of a study."""
    statistics = result.get("statistics")
    if not isinstance(statistics, Mapping):
        return {}
    listed = statistics.get("intervals") or [
        *statistics.get("over_seeds", []),
        *statistics.get("over_seeds_and_pairs", []),
    ]
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for entry in listed:
        found.setdefault(entry["metric"], {})[entry["method"]] = entry
    return found


def _cell(shown: Column, entry: Mapping[str, Any] | None, decimals: int) -> str:
    numbers = [None if entry is None else as_number(entry.get(key)) for key in ("mean", "low", "high")]
    texts = [MISSING if n is None else f"{shown.scale * n:.{decimals}f}".replace("-", "−") for n in numbers]
    if numbers[0] is None:
        return MISSING
    return f"{texts[0]} [{texts[1]} … {texts[2]}]" if numbers[1] is not None else texts[0]


def interval_cells(result: Mapping[str, Any], *, every: bool = False) -> tuple[list[str], list[list[str]]]:
    """(head, rows) of the table of MAIN or of every metric; no rows where the result has no intervals."""
    entries = _entries(result)
    methods = list(dict.fromkeys(row["method"] for row in result["rows"]))
    degraded = {row["method"] for row in result["rows"] if row.get("degraded")}
    known = {entry.key: entry for entry in COLUMNS}
    keys = [*(k for k in known if k in entries), *(k for k in entries if k not in known)] if every else list(MAIN)
    rows = []
    for key in keys:
        if key not in entries:
            continue
        shown = known.get(key) or Column(key, key.replace("_", " "), "", 1.0, 3, "", "")
        means = [as_number(entry.get("mean")) for entry in entries[key].values()]
        decimals = shown.decimals
        if decimals is None:
            decimals = decimals_for([None if mean is None else shown.scale * mean for mean in means])
        rows.append([shown.title, *(_cell(shown, entries[key].get(method), decimals) for method in methods)])
    return ["metric", *(method + (" *" if method in degraded else "") for method in methods)], rows


def interval_markdown(result: Mapping[str, Any]) -> str:
    """The short table with its note, or nothing where the result has no intervals."""
    head, rows = interval_cells(result)
    if not rows:
        return ""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("*", "\\*") for cell in cells) + " |"

    rule = "|---" + "|---:" * (len(head) - 1) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows), "", NOTE])
