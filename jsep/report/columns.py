"""How each metric is shown: heading, unit, digits and meaning, in one place for every table and page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jsep import evaluate
from jsep.evaluate.metric import PAPER, SCALE_FREE
from jsep.record import as_number

MISSING = "–"
"""Shown for a value that is not there."""

LOSS_SCALE = evaluate.LOSS_SCALE


DEGRADED = (
    "clean accuracy more than 5 points below that of the model it is compared with: a broken classifier; its "
    "explanation loss is no sign of robustness"
)
"""What the mark of a degraded model means."""


Column = evaluate.Metric
"""A column of a table is a metric, or a field of the row that is shown like one."""

LATER_GROUPS = evaluate.GROUPS[2:]
"""Groups that older results do not have; a table leaves them out where no method fills them."""

_FIELDS = (
    Column(
        "sep_weight", "SEP weight", "", 1.0, None, PAPER, "λ of the paper, the factor of the SEP term in the training "
        "loss: positive flattens the explanation-loss landscape, negative sharpens it, 0 is training without it.",
    ),
    Column(
        "sep_weight_scale_free", "SEP weight /N²·MSE", "", 1.0, None, SCALE_FREE,
        "The SEP weight per unit of N²·MSE: the same training pressure at any image size.",
    ),
)  # fmt: skip

COLUMNS = tuple(
    column
    for group in evaluate.GROUPS
    for column in (*_FIELDS, *evaluate.METRICS.values())
    if column.group == group and column.in_tables
)
"""Every column of the tables, in order: what `evaluate` has registered, and the weights of the row."""


def groups(summaries: Sequence[Mapping[str, Any]]) -> dict[str, list[Column]]:
    """The columns by group; of the later groups only those that some method has."""
    known: dict[str, list[Column]] = {}
    for entry in COLUMNS:
        if entry.group not in LATER_GROUPS or any(entry.name in summary for summary in summaries):
            known.setdefault(entry.group, []).append(entry)
    return known


def column(key: str) -> Column:
    """The column of a metric.

    Raises:
        KeyError: no column has that key.
    """
    return {entry.name: entry for entry in COLUMNS}[key]


def decimals_for(values: Sequence[float | None]) -> int:
    """Digits after the point (0 to 3) with which the smallest of the values keeps three significant digits.

    >>> decimals_for([5800.0, 11400.0]), decimals_for([1.269, 16.9])
    (0, 2)
    """
    magnitudes = [abs(value) for value in values if value is not None and math.isfinite(value) and value != 0.0]
    if not magnitudes:
        return 0
    return min(3, max(0, 2 - math.floor(math.log10(min(magnitudes)))))


def format_number(value: Any, scale: float, decimals: int) -> str:
    """One number of a table; an en dash where there is none."""
    number = as_number(value)
    if number is None:
        return MISSING
    return f"{scale * number:.{decimals}f}" if math.isfinite(number) else "not finite"


def significant(value: float) -> str:
    """A number with three significant digits, and with all of those before the point.

    >>> significant(10457.3), significant(2.6961)
    ('10457', '2.70')
    """
    return f"{value:.{decimals_for([value])}f}" if abs(value) >= 0.01 else f"{value:.3g}"


def format_weight(value: Any) -> str:
    """A SEP weight with its sign, since the sign is what it does.

    >>> format_weight(3000.0), format_weight(-0.073), format_weight(0.0)
    ('+3000', '-0.073', '0')
    """
    number = as_number(value)
    if number is None or not math.isfinite(number):
        return MISSING
    if number == 0:
        return "0"
    return f"{number:+.0f}" if abs(number) >= 1000 else f"{number:+.3g}"


def digits_of(entry: Column, summaries: Sequence[Mapping[str, Any]]) -> int:
    """Digits after the point of a column: its own, or those that its smallest mean needs."""
    if entry.decimals is not None:
        return entry.decimals
    means = [as_number(s[entry.name].get("mean")) for s in summaries if isinstance(s.get(entry.name), Mapping)]
    return decimals_for([None if mean is None else mean * entry.scale for mean in means])


def cells(entry: Column, summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The cells of one column: mean ± std over the seeds, without the std where there is one seed.

    Args:
        entry: the column.
        summaries: the methods, as `summarise` gives them.

    Returns:
        One string a method.
    """
    if entry.name == "sep_weight":
        return [format_weight(summary.get("sep_weight")) for summary in summaries]
    parts = [summary[entry.name] if isinstance(summary.get(entry.name), Mapping) else {} for summary in summaries]
    if entry.name == "sep_weight_scale_free":
        return [format_weight(part.get("mean")) for part in parts]
    means = [as_number(part.get("mean")) for part in parts]
    decimals = digits_of(entry, summaries)
    texts = []
    for summary, part, mean in zip(summaries, parts, means, strict=True):
        text = format_number(mean, entry.scale, decimals)
        if mean is not None and math.isfinite(mean) and summary.get("num_seeds", 1) > 1:
            text += f" ± {format_number(part.get('std'), entry.scale, decimals)}"
        texts.append(text)
    return texts
