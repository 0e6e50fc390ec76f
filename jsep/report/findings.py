"""What a judge finds: the verdicts on a claim, intervals over pairs and seeds, and the words around them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jsep.report.columns import LOSS_SCALE

HOLDS, FAILS, OPEN, UNKNOWN = "holds", "does not hold", "not told apart", "cannot tell"
"""Verdicts on a claim: the data show it; they show the contrary; their interval contains both answers; the result
lacks what it takes. A number without a claim has the verdict ""."""

CONFIDENCE = 0.95


class Finding(NamedTuple):
    """What the paper says and what a result says to it: what, paper, ours and basis in words; verdict."""

    what: str
    paper: str
    ours: str
    verdict: str
    basis: str


Result = Mapping[str, Any]
Judge = Callable[[Result], Finding | list[Finding]]
"""Of a claim with several parts that are judged alone, such as one for each rival, a list."""


class Interval(NamedTuple):
    """An estimate and its 95 % interval; nan where one value gives none."""

    estimate: float
    low: float
    high: float


def unknown(what: str, paper: str, missing: str) -> Finding:
    """Where the result lacks what it takes."""
    return Finding(what, paper, missing, UNKNOWN, "")


def basis(result: Result, methods: Sequence[str]) -> str:
    """The seeds of these methods, and the pairs or images of the result."""
    seeds = len({row.get("seed") for row in result["rows"] if row["method"] in methods})
    pairs, images = len(result.get("pairs", {}).get("victims", ())), result.get("num_images", 0)
    # A landscape is measured on the first images of a study's pairs.
    of = f", {images} images" if images else f", {pairs} pairs" if pairs else ""
    return f"{counted(seeds, 'seed')}{of}"


def counted(number: int, word: str) -> str:
    """Such as "1 seed" and "3 seeds"."""
    return f"{number} {word}{'s' if number != 1 else ''}"


def verdict_of_interval(low: float, high: float, sign: int) -> str:
    """Of a difference that a claim says has this sign; without an interval there is no verdict."""
    if math.isnan(low) or math.isnan(high):
        return UNKNOWN
    if sign < 0:
        low, high = -high, -low
    return HOLDS if low > 0 else FAILS if high < 0 else OPEN


def worst(verdicts: Sequence[str]) -> str:
    """A claim of several parts is as good as its worst part."""
    return next(verdict for verdict in (UNKNOWN, FAILS, OPEN, HOLDS) if verdict in verdicts)


def loss_text(value: float) -> str:
    """A loss x 1e-7."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def signed(value: float) -> str:
    """A difference, with its sign."""
    return f"{'+' if value > 0 else ''}{loss_text(value)}"


def interval_text(interval: Interval, show: Callable[[float], str] = signed) -> str:
    """Such as "-4.5 [-6.9, -1.8]"; without an interval the estimate alone."""
    if math.isnan(interval.low):
        return show(interval.estimate)
    return f"{show(interval.estimate)} [{show(interval.low)}, {show(interval.high)}]"


def mean(values: Sequence[float]) -> float:
    """The mean."""
    return math.fsum(values) / len(values)


def t_interval(values: Sequence[float]) -> Interval:
    """The mean with Student's interval; one value has none."""
    import scipy.stats

    middle = mean(values)
    if len(values) < 2:
        return Interval(middle, math.nan, math.nan)
    deviation = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * deviation / math.sqrt(len(values))
    return Interval(middle, middle - half, middle + half)


def rows_of(result: Result, method: str) -> list[Mapping[str, Any]]:
    """The rows of a method, by its name or by that before the weight: "mat_lga" is mat_lga@1 too."""
    return [
        row for row in result.get("rows", ()) if row["method"] in (method,) or row["method"].split("@")[0] == method
    ]


def is_degraded(result: Result, methods: Sequence[str]) -> bool:
    """Whether some seed of these methods is a broken classifier."""
    return any(row.get("degraded") for method in methods for row in rows_of(result, method))


def of_pairs(rows: Sequence[Mapping[str, Any]], metric: str) -> list[float] | None:
    """The value of every pair, its mean over the seeds; None where the rows do not keep it.

    "relative_reduction" is that of the mean losses, linearised: 1 - R - (end - R start) / mean(start), R the ratio of
    the mean losses.
    """
    if metric == "relative_reduction":
        start, end = (of_pairs(rows, f"explanation_loss_{when}") for when in ("start", "end"))
        if start is None or end is None or not mean(start) > 0:
            return None
        kept, scale = mean(end) / mean(start), mean(start)
        return [1 - kept - (after - kept * before) / scale for before, after in zip(start, end, strict=True)]
    tables = [row.get("per_pair", {}).get(metric) for row in rows]
    if not tables or any(table is None for table in tables) or len({len(table) for table in tables}) > 1:
        return None
    return [mean(values) for values in zip(*tables, strict=True)]


def paired_difference(result: Result, method: str, baseline: str, metric: str) -> Interval | None:
    """The method less the baseline: of the result's own statistics, else Student's interval over the pairs, else over
    the seeds; None where the metric was not measured for both."""
    for entry in result.get("statistics", {}).get("comparisons", ()):
        key = (entry["method"], entry["baseline"], entry["metric"])
        if key == (method, baseline, metric) and entry["low"] is not None and entry["high"] is not None:
            return Interval(entry["difference"], entry["low"], entry["high"])
    own, others = ({row["seed"]: row for row in rows_of(result, name)} for name in (method, baseline))
    shared = sorted(own.keys() & others.keys())
    if not shared:
        return None
    tables = [of_pairs([rows[seed] for seed in shared], metric) for rows in (own, others)]
    if tables[0] is None or tables[1] is None:
        if any(metric not in rows[seed] for rows in (own, others) for seed in shared):
            return None
        tables = [[rows[seed][metric] for seed in shared] for rows in (own, others)]
    return t_interval([a - b for a, b in zip(*tables, strict=True)])


def scale_of(metric: str) -> float:
    """Losses are shown x 1e-7, everything else as it is."""
    return LOSS_SCALE if metric.startswith("explanation_loss") else 1.0
