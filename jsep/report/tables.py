"""The result as a table: plain text for the terminal, Markdown for README files."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from jsep.record import num_pixels_of, summarise
from jsep.report.columns import DEGRADED, LATER_GROUPS, Column, cells, groups
from jsep.report.findings import findings_markdown
from jsep.report.intervals import interval_markdown
from jsep.report.records import check_result

WIDTH = 120
"""The text table is never wider than this."""

_LONGEST_METHOD = 32
_GAP = "  "


def describe_run(result: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]]) -> str:
    """In one line: the data, how many pairs and seeds, and what ± stands for."""
    pairs = result.get("pairs")
    pairs = pairs if isinstance(pairs, Mapping) else {}
    parts = [str(pairs["dataset"])] if pairs.get("dataset") else []
    tested = result.get("data")
    if isinstance(tested, Mapping) and tested.get("num_images"):
        parts.append(f"{tested['num_images']} test images")
    if isinstance(pairs.get("victims"), Sequence) and pairs["victims"]:
        parts.append(f"{len(pairs['victims'])} pairs of images")
    pixels = num_pixels_of(result["rows"])
    if pixels:
        parts.append(f"N = {pixels} pixels")
    seeds = sorted({int(summary["num_seeds"]) for summary in summaries})
    if seeds == [1]:
        parts.append("one seed, so no spread")
    else:
        count = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        parts.append(f"mean ± std over {count} seeds")
    return "; ".join(parts)


def format_table(result: Mapping[str, Any]) -> str:
    """The result as plain text for a terminal, at most 120 columns wide.

    Two blocks: what the paper reports (losses x 1e-7), and the metrics that do not depend on the scale of
    the map. Degraded models carry a star, explained below.

    Args:
        result: the content of result.json; the summary is computed from its rows.

    Returns:
        Lines joined by newlines, without a newline at the end.

    Raises:
        InputError: the result has another format or no rows.
    """
    result = check_result(result)
    summaries = summarise(result["rows"])
    title = str(result.get("experiment", "result"))
    lines = [_shorten(f"{title}: {describe_run(result, summaries)}", WIDTH)]
    names = [
        "method",
        *(
            _shorten(str(summary["method"]), _LONGEST_METHOD) + (" *" if summary["degraded"] else "")
            for summary in summaries
        ),
    ]
    width_of_names = max(len(name) for name in names)
    for group, entries in groups(summaries).items():
        blocks: list[list[list[str]]] = [[]]
        used = width_of_names
        for entry in entries:
            block = [entry.heading, f"[{entry.unit}]" if entry.unit else "", *cells(entry, summaries)]
            width = len(_GAP) + max(len(text) for text in block)
            if used + width > WIDTH and blocks[-1]:
                blocks.append([])
                used = width_of_names
            blocks[-1].append(block)
            used += width
        for columns in blocks:
            lines += [
                "",
                *_block([names[0], f"({group})" if len(group) <= width_of_names else "", *names[1:]], columns),
            ]
    if any(summary["degraded"] for summary in summaries):
        lines += ["", *textwrap.wrap(f"* degraded: {DEGRADED}", WIDTH, subsequent_indent="  ")]
    return "\n".join(lines)


def _block(names: Sequence[str], columns: Sequence[Sequence[str]]) -> list[str]:
    """Names flush left, numbers flush right, a rule below the two heading lines."""
    widths = [max(len(name) for name in names), *(max(len(text) for text in texts) for texts in columns)]
    lines = []
    for index, name in enumerate(names):
        row = [
            name.ljust(widths[0]),
            *(texts[index].rjust(width) for texts, width in zip(columns, widths[1:], strict=True)),
        ]
        lines.append(_GAP.join(row).rstrip())
        if index == 1:
            lines.append(_GAP.join("-" * width for width in widths))
    return lines


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def markdown_table(result: Mapping[str, Any]) -> str:
    """The result as Markdown tables, for README files: the paper's and the scale-free columns, then each later group.

    Args:
        result: the content of result.json; the summary is computed from its rows.

    Returns:
        The table and, below it, what ± and the mark of a degraded model mean.

    Raises:
        InputError: the result has another format or no rows.
    """
    result = check_result(result)
    summaries = summarise(result["rows"])
    # A README has no room for columns that no method fills.
    filled = {
        group: [entry for entry in entries if any(entry.name in summary for summary in summaries)]
        for group, entries in groups(summaries).items()
    }
    first = [entry for group, entries in filled.items() if group not in LATER_GROUPS for entry in entries]
    tables = [first, *(entries for group, entries in filled.items() if group in LATER_GROUPS)]
    lines = "\n\n".join(_markdown(entries, summaries) for entries in tables).split("\n")
    lines += ["", f"{result.get('experiment', 'result')}: {describe_run(result, summaries)}."]
    if any(summary["degraded"] for summary in summaries):
        lines += ["", f"\\* degraded: {DEGRADED}."]
    for more in (interval_markdown(result), findings_markdown(result)):
        lines += ["", more] if more else []
    return "\n".join(lines)


def _markdown(entries: Sequence[Column], summaries: Sequence[Mapping[str, Any]]) -> str:
    columns = [(entry, cells(entry, summaries)) for entry in entries]
    lines = [
        "| method | " + " | ".join(entry.title for entry, _ in columns) + " |",
        "|---" + "|---:" * len(columns) + "|",
    ]
    for index, summary in enumerate(summaries):
        name = " ".join(str(summary["method"]).replace("|", "\\|").split()) + (" \\*" if summary["degraded"] else "")
        lines.append(f"| {name} | " + " | ".join(texts[index] for _, texts in columns) + " |")
    return "\n".join(lines)
