"""The statistics of a result in tables: each method against the baseline on the same pairs, and the intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from jsep.report.columns import MISSING, column
from jsep.report.summary import as_number

NOTE = (
    "Each method less the baseline on the same pairs of images (accuracies: on the same test images, in points), the "
    "value of a pair being its mean over the seeds: mean difference with its 95 % bootstrap interval, effect size "
    "(mean / standard deviation of the differences), Wilcoxon's signed-rank test, the sign-flip permutation test and "
    "its p-value after Holm's correction over all tested rows. Degraded methods are not tested. The seeds are averaged "
    "and not drawn anew: the tests speak of other images for these trainings."
)

HEAD = (
    "method",
    "less",
    "metric",
    "difference",
    "95 % interval",
    "effect size",
    "Wilcoxon p",
    "permutation p",
    "Holm p",
)


def p_text(value: Any) -> str:
    """A p-value as shown.

    >>> p_text(0.0412), p_text(0.0002), p_text(None)
    ('0.041', '< 0.001', '–')
    """
    number = as_number(value)
    if number is None:
        return MISSING
    return "< 0.001" if number < 0.001 else f"{number:.3f}"


def _signed(value: Any, scale: float, decimals: int) -> str:
    number = as_number(value)
    return MISSING if number is None else f"{scale * number:+.{decimals}f}".replace("-", "−")


def comparison_cells(result: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the table of comparisons, in the order of HEAD; none where the result has no statistics."""
    statistics = result.get("statistics")
    entries: Sequence[Mapping[str, Any]] = statistics.get("comparisons", []) if isinstance(statistics, Mapping) else []
    rows = []
    for entry in entries:
        shown = column(entry["metric"])
        large = abs(shown.scale * entry["difference"]) >= 100
        decimals = {1.0: 3, 100.0: 1}.get(shown.scale, 0 if large else 2)
        low, high = (_signed(entry[key], shown.scale, decimals) for key in ("low", "high"))
        rows.append(
            [
                entry["method"] + (" *" if entry.get("degraded") else ""),
                entry["baseline"],
                shown.title,
                _signed(entry["difference"], shown.scale, decimals),
                f"{low} … {high}",
                _signed(entry["effect_size"], 1.0, 2),
                *(p_text(entry[key]) for key in ("wilcoxon_p", "permutation_p", "holm_p")),
            ]
        )
    return rows


def comparison_markdown(result: Mapping[str, Any]) -> str:
    """The table of comparisons with its note, or nothing where the result has no statistics."""
    rows = comparison_cells(result)
    if not rows:
        return ""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|---" + "|---:" * (len(HEAD) - 3) + "|"]
    lines += ["| " + " | ".join(cell.replace("*", "\\*") for cell in row) + " |" for row in rows]
    return "\n".join([*lines, "", NOTE])
