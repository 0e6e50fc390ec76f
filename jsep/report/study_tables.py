"""The tables of a study: its metrics by group, their intervals, and the findings."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jsep.evaluate import LOSS_UNIT, METRICS
from jsep.evaluate.metric import Metric
from jsep.record import UNBOUNDED, Result, as_number, intervals, pixels_of_maps, readable, summarise
from jsep.record.run_files import check_result
from jsep.report.formatting import DEGRADED, DEGRADED_MARK, MISSING, decimals_for, format_number, format_weight, minus
from jsep.report.shown import (
    CLEAN,
    COLUMNS,
    EFFECTIVE_PIXELS,
    INTERVALS,
    REMOVED,
    ROBUST,
    SCALE_FREE_END,
    SCALE_FREE_START,
    WEIGHTS,
)
from jsep.report.style import colours
from jsep.report.table import Cell, Column, Table, make_table
from jsep.stats import Interval

INTERVALS_NOTE = (
    "Mean and 95 % interval. Where the values of single pairs or images are kept, seeds and images are both drawn "
    "anew, so the intervals speak of other trainings and other images; with one seed they speak of other images; "
    "other metrics have Student's interval over the seeds. Two intervals that overlap do not say that two methods are "
    "the same: differences on shared pairs are the findings."
)

Summaries = Sequence[Mapping[str, Any]]


def study_tables(result: Mapping[str, Any]) -> list[Table]:
    """Every table of a study or an evaluation, without its findings."""
    tables = metric_tables(result)
    about = f"{result.get('experiment', 'result')}: {describe_run(result)}."
    tables = [dataclasses.replace(tables[0], notes=(about, *tables[0].notes)), *tables[1:]]
    return tables + [table for table in (attack_table(result), interval_table(result)) if table is not None]


def brief_table(result: Mapping[str, Any]) -> Table:
    """One row for each method: accuracies, the explanation loss before and after the attack, the size of the maps."""
    summaries = summarise(check_result(result)["rows"])

    def cells(name: str) -> list[Cell]:
        return metric_cells(METRICS[name], summaries, {})

    columns: list[Any] = ["method"]
    shown = [[Cell(readable(each["method"]) + (DEGRADED_MARK if each["degraded"] else "")) for each in summaries]]
    for name in (CLEAN, ROBUST):
        columns.append(Column(METRICS[name].heading, METRICS[name].unit))
        shown.append(cells(name))
    columns.append(Column("loss start → end", LOSS_UNIT))
    ends = zip(cells(SCALE_FREE_START), cells(SCALE_FREE_END), strict=True)
    shown.append([Cell(f"{start.text} → {end.text}", end.spread) for start, end in ends])
    for name in (REMOVED, EFFECTIVE_PIXELS):
        columns.append(Column(METRICS[name].heading, METRICS[name].unit))
        shown.append(cells(name))
    broken = any(each["degraded"] for each in summaries)
    notes = (f"{describe_run(result)}.", *((f"* degraded: {DEGRADED}.",) if broken else ()))
    return make_table(columns, zip(*shown, strict=True), notes=notes)


def row_line(row: Mapping[str, Any]) -> str:
    """One line of what a model of a study reached; "" for a row of another kind."""
    if not {CLEAN, ROBUST, SCALE_FREE_START, SCALE_FREE_END, EFFECTIVE_PIXELS} <= set(row):
        return ""
    clean, robust, start, end, pixels = (
        minus(format_number(row[name], METRICS[name].scale, METRICS[name].decimals or 1))
        for name in (CLEAN, ROBUST, SCALE_FREE_START, SCALE_FREE_END, EFFECTIVE_PIXELS)
    )
    return f"clean {clean} %, robust {robust} %, loss {start} → {end} {LOSS_UNIT}, {pixels} effective pixels"


def describe_run(result: Mapping[str, Any]) -> str:
    """The data, the numbers of pairs and seeds, and the meaning of ±, in one line."""
    pairs = result.get("pairs")
    pairs = pairs if isinstance(pairs, Mapping) else {}
    parts = [str(pairs["dataset"])] if pairs.get("dataset") else []
    tested = result.get("data")
    if isinstance(tested, Mapping) and tested.get("num_images"):
        parts.append(f"{tested['num_images']} test images")
    if isinstance(pairs.get("victims"), Sequence) and pairs["victims"]:
        parts.append(f"{len(pairs['victims'])} pairs of images")
    pixels = pixels_of_maps(result)
    if pixels:
        parts.append(f"N = {pixels} pixels")
    seeds = sorted({summary["num_seeds"] for summary in summarise(result["rows"])})
    if seeds == [1]:
        parts.append("one seed, so no spread")
    else:
        number = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        parts.append(f"mean ± std over {number} seeds")
    return "; ".join(parts)


def metric_tables(result: Mapping[str, Any]) -> list[Table]:
    """A table for each group of metrics that any method has; degraded models carry a star, explained in a note.

    Raises: InputError where the result has another format or no rows.
    """
    result = check_result(result)
    summaries = summarise(result["rows"])
    typed, pixels = intervals(Result.from_dict(result)), pixels_of_maps(result)
    colour = colours([summary["method"] for summary in summaries])
    names = [
        Cell(
            readable(summary["method"]) + (DEGRADED_MARK if summary["degraded"] else ""),
            colour=colour[summary["method"]],
            code=summary["method"],
        )
        for summary in summaries
    ]
    broken = any(summary["degraded"] for summary in summaries)
    notes = (f"* degraded: {DEGRADED}.",) if broken else ()
    groups: dict[str, list[Metric]] = {}
    for entry in (each.of_maps(pixels) for each in COLUMNS):
        if any(_has(summary, entry) for summary in summaries):
            groups.setdefault(entry.group, []).append(entry)
    return [
        make_table(
            ["method", *(Column(entry.heading, entry.unit, meaning=entry.meaning) for entry in entries)],
            zip(names, *(metric_cells(entry, summaries, typed.get(entry.name, {})) for entry in entries), strict=True),
            title=f"{group[0].upper()}{group[1:]}",
            notes=notes if entries is list(groups.values())[-1] else (),
        )
        for group, entries in groups.items()
    ]


def _has(summary: Mapping[str, Any], entry: Metric) -> bool:
    if not entry.is_remark and entry not in WEIGHTS:
        return entry.name in summary
    # A remark, and the weight of a term, say something only where they are not 0.
    found = summary.get(entry.name)
    return bool(found.get("mean") if isinstance(found, Mapping) else found)


def metric_cells(entry: Metric, summaries: Summaries, ends: Mapping[str, Interval]) -> list[Cell]:
    """The cells of one column: mean ± std over the seeds, without the std if there is one seed.

    Args: summaries: one for each method, from `summarise`; ends: method -> 95 % interval.
    """
    parts = [summary[entry.name] if isinstance(summary.get(entry.name), Mapping) else {} for summary in summaries]
    if entry in WEIGHTS:
        weights = [part.get("mean", summary.get(entry.name)) for part, summary in zip(parts, summaries, strict=True)]
        return [Cell(format_weight(weight), value=as_number(weight)) for weight in weights]
    means = [as_number(part.get("mean")) for part in parts]
    decimals = _decimals(entry, means)

    def number(value: Any) -> str:
        return minus(format_number(value, entry.scale, decimals))

    cells = []
    for summary, part, mean in zip(summaries, parts, means, strict=True):
        spread = interval = ""
        if mean is not None and math.isfinite(mean) and summary["num_seeds"] > 1:
            spread = f"± {number(part.get('std'))}"
            own = ends.get(summary["method"])
            if own is not None and all(map(math.isfinite, own)):
                interval = f"{number(own.low)} … {number(own.high)}"
        cells.append(Cell(number(mean), spread, interval, mean))
    return cells


def _decimals(entry: Metric, means: Sequence[float | None]) -> int:
    """Decimal places of a column: fixed by its metric, or as many as its smallest mean needs."""
    if entry.decimals is not None:
        return entry.decimals
    return decimals_for([None if mean is None else mean * entry.scale for mean in means])


_ATTACKS = {
    UNBOUNDED: "the attack of the settings without its ball, as the paper has it",
    "study": "the attack of the settings",
    "long": "five times its steps from 3 starts",
    "ensemble": "attack.auto_explanation_attack",
}


def attack_table(result: Mapping[str, Any]) -> Table | None:
    """The loss that each attack on explanations leaves, by method, from the weakest attack to the strongest, with that
    without a ball before them; None where only one was run."""
    typed = Result.from_dict(result)
    if not typed.other_attacks:
        return None
    entry, cells = METRICS[SCALE_FREE_END], [[Cell(readable(method)) for method in typed.methods]]
    columns: list[Any] = ["method"]
    for name, under in (
        *((name, typed.under(name)) for name in typed.other_attacks),
        (typed.rows[0].attack, typed),
    ):
        summaries = summarise([{**row.as_dict(), **row.metrics} for row in under.rows])
        columns.append(Column(f"loss end, {name}", entry.unit))
        cells.append(metric_cells(entry, summaries, {}))
    said = [f"{name}: {_ATTACKS[name]}" for name in (*typed.other_attacks, typed.rows[0].attack) if name in _ATTACKS]
    note = f"The same pairs and models. {'; '.join(said)}. Other tables, figures and findings are of the last column."
    return make_table(columns, zip(*cells, strict=True), title="Strength of the attack on explanations", notes=(note,),
                      in_terminal=False)  # fmt: skip


def interval_table(result: Mapping[str, Any], *, every: bool = False) -> Table | None:
    """The 95 % intervals of `INTERVALS` or of every metric: one row for each metric, one column for each method; None
    if there are none."""
    typed = Result.from_dict(result)
    entries = intervals(typed)
    degraded = {row.method for row in typed.rows if row.degraded}
    order = [entry.name for entry in COLUMNS if entry.name in entries]
    pixels, rows = pixels_of_maps(result), []
    for key in [*order, *(name for name in entries if name not in order)] if every else INTERVALS:
        if key not in entries or key in (SCALE_FREE_START, SCALE_FREE_END):  # shown as the loss itself
            continue
        shown, own = METRICS[key].of_maps(pixels), entries[key]
        decimals = _decimals(shown, [entry.estimate for entry in own.values()])
        rows.append([shown.title, *(_interval(shown, own.get(method), decimals) for method in typed.methods)])
    if not rows:
        return None
    heads = ["metric", *(readable(method) + (DEGRADED_MARK if method in degraded else "") for method in typed.methods)]
    title = "Every metric with its 95 % interval" if every else "Means with their 95 % intervals"
    return make_table(heads, rows, title=title, notes=(INTERVALS_NOTE,), in_terminal=False)


def _interval(shown: Metric, interval: Interval | None, decimals: int) -> Cell:
    if interval is None:
        return Cell(MISSING)
    texts = [minus(f"{shown.scale * number:.{decimals}f}") for number in interval]
    text = texts[0] if math.isnan(interval.low) else f"{texts[0]} [{texts[1]} … {texts[2]}]"
    return Cell(text, value=interval.estimate)
