"""Formatting of single numbers: digits, signs, intervals, p-values."""

import math
import re
from collections.abc import Sequence
from typing import Any

from jsep import stats
from jsep.evaluate import Metric
from jsep.record import as_number

MISSING = "–"
"""Shown for a missing value."""

DEGRADED = (
    "clean accuracy more than 5 points below its baseline's, or robust accuracy that fell below half of its best; its "
    "explanation loss is no sign of robustness"
)
"""The meaning of `DEGRADED_MARK`."""

DEGRADED_MARK = " *"
"""Appended to the name of a degraded model."""


def minus(text: str) -> str:
    """Replaces the hyphens before numbers by minus signs; exponents keep theirs, as in "1e-7".

    ('SEP −0.5', 'sep_neg-2', '[−2.1, +3]') of ('SEP -0.5', 'sep_neg-2', '[-2.1, +3]')
    """
    return re.sub(r"(?<![\w.=-])-(?=[\d.∞]|inf)", "−", text)


def decimals_for(values: Sequence[float | None]) -> int:
    """Decimal places (0 to 3) that give the smallest of the values three significant digits.

    >>> decimals_for([5800.0, 11400.0]), decimals_for([1.269, 16.9])
    (0, 2)
    """
    magnitudes = [abs(value) for value in values if value is not None and math.isfinite(value) and value != 0.0]
    if not magnitudes:
        return 0
    return min(3, max(0, 2 - math.floor(math.log10(min(magnitudes)))))


def format_number(value: Any, scale: float, decimals: int) -> str:
    """One number of a table; an en dash for a missing one."""
    number = as_number(value)
    if number is None:
        return MISSING
    return f"{scale * number:.{decimals}f}" if math.isfinite(number) else "not finite"


def significant(value: float) -> str:
    """A number with three significant digits, or all of its integer digits where it has more.

    >>> significant(10457.3), significant(2.6961), significant(3.1e-06), significant(-0.5)
    ('10457', '2.70', '3.1e-06', '−0.500')
    """
    if not math.isfinite(value):
        return MISSING
    return minus(f"{value:.{decimals_for([value])}f}" if abs(value) >= 0.01 else f"{value:.3g}")


def metric_number(value: float, shown: Metric) -> str:
    """The value of a metric as displayed, without its unit. Args: shown: the metric, `of_maps` of the result."""
    if shown.decimals is None:
        return significant(shown.scale * value)
    return minus(format_number(value, shown.scale, shown.decimals))


def format_weight(value: Any) -> str:
    """An SEP weight with its sign: positive flattens, negative sharpens.

    >>> format_weight(3000.0), format_weight(-0.073), format_weight(0.0)
    ('+3000', '−0.073', '0')
    """
    number = as_number(value)
    if number is None or not math.isfinite(number):
        return MISSING
    if number == 0:
        return "0"
    return minus(f"{number:+.0f}" if abs(number) >= 1000 else f"{number:+.3g}")


def signed(value: float, metric: Metric) -> str:
    """A difference with its sign, in the display unit of its metric, with three significant digits."""
    if math.isnan(value):
        return MISSING
    shown = value * metric.scale
    size = abs(shown)
    if size < 10 and metric.decimals is not None:
        text = f"{shown:+.{metric.decimals}f}"
    elif size < 0.01:
        text = f"{shown:+.3g}"
    else:
        text = f"{shown:+.{decimals_for([shown])}f}"
    return minus(text)


def unit_of_difference(metric: Metric) -> str:
    """The unit of a difference of this metric: points for a metric in percent, else the metric's own."""
    return "points" if metric.unit == "%" else metric.unit


def coefficient(estimate: float, low: float, high: float) -> str:
    """A correlation with its interval, such as "+0.25 [−0.10, +0.52]"."""
    return minus(f"{estimate:+.2f} [{low:+.2f}, {high:+.2f}]")


def factor(interval: stats.Interval) -> str:
    """A ratio with its interval, from the interval of its logarithm."""
    ratio = [math.exp(value) if abs(value) < 50 else math.inf for value in interval]
    return f"{ratio[0]:.3g}" if math.isnan(ratio[1]) else f"{ratio[0]:.3g} [{ratio[1]:.3g}, {ratio[2]:.3g}]"


def p_text(value: float | None, *, equals: bool = False) -> str:
    """A p-value as displayed.

    >>> p_text(0.0412), p_text(0.0002), p_text(None), p_text(0.5, equals=True)
    ('0.041', '< 0.001', '–', '= 0.500')
    """
    if value is None or math.isnan(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{'= ' if equals else ''}{value:.3f}"


def listing(names: Sequence[str]) -> str:
    """Joins names, such as "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
