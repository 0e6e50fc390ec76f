"""The tables of a page: sortable, one for each group of columns, with standard deviations and intervals."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jsep.record import Result, as_number, intervals
from jsep.report.columns import PAPER, Column, cells, digits_of, format_number, groups
from jsep.report.findings import HEAD, NOTE, finding_cells
from jsep.report.intervals import CAPTION, interval_cells
from jsep.report.intervals import NOTE as EVERY_NOTE
from jsep.report.parts import scrolling, segments, text
from jsep.report.svg import swatch, whisker

INTERVAL_NOTE = (
    "Interval: 95 %, of other seeds and, where the values of single pairs or images are kept, of other images too. "
    "With two or three seeds it is wide, and it can leave the possible values. Metrics without one show their standard "
    "deviation."
)

_GROUP_NAMES = {PAPER: "as in the paper"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the tables.

    Attributes:
        names: its leading cells, plain text; the last of them, the method, gets the swatch.
        colour: of the method, on white.
        mark: of the method, matplotlib's letter.
        summary: as `summarise` gives it.
        intervals: metric -> (mean, low, high), for the metrics that have one.
    """

    names: tuple[str, ...]
    colour: str
    mark: str
    summary: Mapping[str, Any]
    intervals: Mapping[str, tuple[float, float, float]]


def intervals_of(result: Mapping[str, Any], method: str) -> dict[str, tuple[float, float, float]]:
    """metric -> mean and the ends of its 95 % interval, of a method; those without a finite one are left out."""
    by_metric = intervals(Result.from_dict(result))
    return {
        metric: (own[method].estimate, own[method].low, own[method].high)
        for metric, own in by_metric.items()
        if method in own and all(map(math.isfinite, own[method]))
    }


def number_tables(heads: Sequence[str], rows: Sequence[Row], degraded: str) -> str:
    """A table for each group of columns, with the choice of group and spread above them.

    Args:
        heads: the names of the leading cells.
        rows: the methods.

    Returns:
        HTML.
    """
    summaries = [row.summary for row in rows]
    known = groups(summaries)
    tables = "".join(_table(name, entries, heads, rows) for name, entries in known.items())
    names = {name: text(_GROUP_NAMES.get(name, name)) for name in known}
    several = any(summary["num_seeds"] > 1 for summary in summaries)
    has_intervals = any(row.intervals for row in rows)
    chosen = segments("group", "Columns", names)
    methods = list(dict.fromkeys(row.names[-1] for row in rows))
    if len(heads) > 1 and len(methods) > 1:
        chosen += segments("only", "Method", {"": "all", **{method: text(method) for method in methods}})
    if several and has_intervals:
        chosen += segments("spread", "Spread", {"std": "± standard deviation", "interval": "95 % interval"})
    note = f'<p class="note">{text(INTERVAL_NOTE)}</p>' if several and has_intervals else ""
    broken = any(summary["degraded"] for summary in summaries)
    mark = f'<p class="note"><span class="mark">*</span> degraded: {text(degraded)}.</p>' if broken else ""
    meanings = "".join(
        f"<dt>{text(entry.title)}</dt><dd>{text(entry.meaning)}</dd>" for entries in known.values() for entry in entries
    )
    return f"""<div class="choices needs-js">{chosen}</div>
<p class="status needs-js" id="table-status" role="status">Choose a heading to sort by it.</p>
<div data-spread="std">{tables}</div>{mark}{note}
<details><summary>What each column means</summary><dl>{meanings}</dl></details>"""


def _table(group: str, entries: Sequence[Column], heads: Sequence[str], rows: Sequence[Row]) -> str:
    summaries = [row.summary for row in rows]
    columns = [_cells(entry, rows) for entry in entries]
    head = ""
    for name, unit in [*((name, "") for name in heads), *((entry.heading, entry.unit) for entry in entries)]:
        below = f'<span class="unit">{text(unit)}</span>' if unit else ""
        button = f'<button type="button">{text(name)}</button>'
        head += f'<th scope="col" data-name="{text(name)}">{button}{below}</th>'
    body = ""
    for index, row in enumerate(rows):
        mark = ' <span class="mark" title="degraded">*</span>' if summaries[index]["degraded"] else ""
        *others, last = row.names
        body += f'<tr data-method="{text(last)}">' + "".join(f'<td class="text">{text(name)}</td>' for name in others)
        body += f'<th scope="row">{swatch(row.colour, row.mark)}{text(last)}{mark}</th>'
        body += "".join(column[index] for column in columns) + "</tr>\n"
    label = f"{group[0].upper()}{group[1:]}" + (": losses in units of 1e-7" if group == PAPER else "")
    table = (
        f'<table class="sortable numbers"><caption>{text(label)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}</tbody></table>"
    )
    return f'<div data-group="{text(group)}">{scrolling(label, table)}</div>'


def _cells(entry: Column, rows: Sequence[Row]) -> list[str]:
    summaries = [row.summary for row in rows]
    texts, decimals = cells(entry, summaries), digits_of(entry, summaries)
    known = [row.intervals[entry.name] for row in rows if entry.name in row.intervals]
    ends = (min(i[1] for i in known), max(i[2] for i in known)) if known else (0.0, 1.0)
    shown = []
    for row, content in zip(rows, texts, strict=True):
        raw = row.summary.get(entry.name)
        value = as_number(raw.get("mean") if isinstance(raw, Mapping) else raw)
        mean, sign, deviation = content.partition(" ± ")
        cell = text(mean)
        spread = f' <span class="spread">± {text(deviation)}</span>' if sign else ""
        if entry.name in row.intervals and sign:
            middle, low, high = row.intervals[entry.name]
            ends_text = f"{_number(low, entry, decimals)} … {_number(high, entry, decimals)}"
            spread = f'<span class="spread-std">{spread}</span>'
            line = whisker(middle, low, high, ends)
            spread += f'<span class="spread-interval"> <span class="spread">{ends_text}</span>{line}</span>'
        sort_by = "NaN" if value is None or not math.isfinite(value) else f"{value:.9g}"
        shown.append(f'<td data-value="{sort_by}">{cell}{spread}</td>')
    return shown


def _number(value: float, entry: Column, decimals: int) -> str:
    return format_number(value, entry.scale, decimals).replace("-", "−")


def interval_tables(result: Mapping[str, Any]) -> str:
    """Every metric with its interval, folded away; "" where the result has none."""
    head, rows = interval_cells(result, every=True)
    if not rows:
        return ""
    folded = f'{_plain_table(CAPTION, head, rows)}<p class="note">{text(EVERY_NOTE)}</p>'
    return f"<details><summary>Every metric with its interval</summary>{folded}</details>"


def finding_table(result: Mapping[str, Any]) -> str:
    """Every claim with its difference, interval and verdict; "" where nothing is compared."""
    rows = finding_cells(result)
    if not rows:
        return ""
    name = "Findings"
    return f'<h3>{name}</h3>{_plain_table(name, HEAD, rows)}<p class="note">{text(NOTE)}</p>'


def _plain_table(name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>' + "".join(f"<td>{text(cell)}</td>" for cell in row[1:]) + "</tr>\n"
        for row in rows
    )
    table = f'<table class="numbers"><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table>'
    return scrolling(name, table)


def rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of result.json as they are, folded away."""
    # Values of single pairs are for the tests over pairs, not for readers.
    keys = list(dict.fromkeys(key for row in rows for key in row if not isinstance(row[key], Mapping)))
    head = "".join(f'<th scope="col">{text(key)}</th>' for key in keys)
    body = "".join("<tr>" + "".join(f"<td>{_raw(row.get(key))}</td>" for key in keys) + "</tr>\n" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"
    note = "Raw values of result.json: losses as they are, accuracies as fractions."
    return (
        f"<details><summary>Every seed, every metric</summary><p>{note}</p>{scrolling('Every seed', table)}</details>"
    )


def _raw(value: Any) -> str:
    number = as_number(value)
    if number is None or isinstance(value, int):
        return text(value)
    return text(f"{number:.5g}") if number == number else text(format_number(number, 1.0, 0))
