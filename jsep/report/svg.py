"""Charts as SVG inside a page: sharp at any width, in the page's own colours, readable without a script."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator

from jsep.report.parts import text
from jsep.report.style import page_colours

WIDTH, HEIGHT = 340.0, 220.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 14.0, 10.0, 42.0


@dataclasses.dataclass(frozen=True)
class Series:
    """A line of a chart; NaN in `y` is a gap.

    colour: its colour on white; mark: matplotlib's letter; band: (low, high) around it; thin: further lines in its
    colour, each (x, y); dotted: a line of second rank without marks.
    """

    x: np.ndarray
    y: np.ndarray
    colour: str
    mark: str = "o"
    band: tuple[np.ndarray, np.ndarray] | None = None
    thin: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    dotted: bool = False


@dataclasses.dataclass(frozen=True)
class Dots:
    """A row of a dot chart: hollow and filled mark with their standard deviations, the single seeds, a remark."""

    name: str
    colour: str
    filled: float | None
    hollow: float | None = None
    filled_error: float = 0.0
    hollow_error: float = 0.0
    seeds: tuple[float, ...] = ()
    remark: str = ""


def _polygon(x: float, y: float, radii: Sequence[float], start: float) -> str:
    count = len(radii)
    points = (
        f"{x + r * math.cos(start + 2 * math.pi * i / count):.1f},"
        f"{y + r * math.sin(start + 2 * math.pi * i / count):.1f}"
        for i, r in enumerate(radii)
    )
    return f'points="{" ".join(points)}"'


_UP, _DOWN, _FLAT = -math.pi / 2, math.pi / 2, math.pi / 4
_POLYGONS: dict[str, tuple[Sequence[float], float]] = {
    "^": ((1.25,) * 3, _UP), "v": ((1.25,) * 3, _DOWN), "<": ((1.25,) * 3, math.pi), ">": ((1.25,) * 3, 0.0),
    "s": ((1.25,) * 4, _FLAT), "D": ((1.25,) * 4, 0.0), "d": ((0.7, 1.35) * 2, 0.0), "p": ((1.2,) * 5, _UP),
    "h": ((1.15,) * 6, _UP), "8": ((1.1,) * 8, math.pi / 8), "*": ((1.45, 0.6) * 5, _UP),
    "P": ((1.35, 0.55) * 4, 0.0), "X": ((1.35, 0.55) * 4, _FLAT),
}  # fmt: skip


def mark(kind: str, x: float, y: float, size: float = 4.2, css: str = "spot") -> str:
    """One of matplotlib's marks as an SVG shape around (x, y)."""
    if kind not in _POLYGONS:
        return f'<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}"/>'
    radii, start = _POLYGONS[kind]
    return f'<polygon class="{css}" {_polygon(x, y, [size * radius for radius in radii], start)}/>'


def swatch(colour: str, kind: str) -> str:
    """The mark of a method before its name."""
    shape = mark(kind, 6.0, 6.0, 4.6, css="")
    return (
        f'<svg class="swatch" style="--c:{page_colours(colour)}" viewBox="0 0 12 12" aria-hidden="true">{shape}</svg>'
    )


def legend(entries: Sequence[tuple[str, str, str]]) -> str:
    """The names of (name, colour, mark) in a line."""
    return (
        '<ul class="legend">'
        + "".join(f"<li>{swatch(colour, kind)}{text(name)}</li>" for name, colour, kind in entries)
        + "</ul>"
    )


def _tick_text(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        exponent = math.floor(math.log10(abs(value)))
        digits = f"{value / 10**exponent:.3g}"
        return (f"{digits}e" if digits != "1" else "1e") + str(exponent).replace("-", "−")
    return f"{value:g}".replace("-", "−")


class _Axis:
    """Values to places along [first, last] of the drawing; logarithmic where asked."""

    def __init__(self, low: float, high: float, first: float, last: float, log: bool, integer: bool = False) -> None:
        self._log = log
        if log:
            low, high = math.log10(low), math.log10(high)
            if high - low < 0.3:
                low, high = low - 0.15, high + 0.15
        elif high <= low:
            low, high = low - 0.5, high + 0.5
        self._low, self._high, self._first, self._last = low, high, first, last
        if log:
            parts = (1.0, 2.0, 5.0) if high - low < 2.5 else (1.0,)
            ticks = LogLocator(subs=parts, numticks=8).tick_values(10**low, 10**high)
        else:
            ticks = MaxNLocator(nbins=5, integer=integer).tick_values(low, high)
        edges = (10**low, 10**high) if log else (low, high)
        slack = 1e-6 * (edges[1] - edges[0])
        self.ticks = [float(tick) for tick in ticks if edges[0] - slack <= tick <= edges[1] + slack]

    def __call__(self, value: float) -> float:
        if self._log:
            value = math.log10(value) if value > 0 else self._low
        return self._first + (value - self._low) / (self._high - self._low) * (self._last - self._first)


def _path(x: np.ndarray, y: np.ndarray, across: _Axis, up: _Axis) -> str:
    """The line with its gaps."""
    parts, drawing = [], False
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if not math.isfinite(b):
            drawing = False
            continue
        parts.append(f"{'L' if drawing else 'M'}{across(a):.1f} {up(b):.1f}")
        drawing = True
    return "".join(parts)


def line_chart(
    series: Sequence[Series],
    *,
    alt: str,
    x_label: str,
    log: bool = False,
    from_zero: bool = False,
    height: float = HEIGHT,
) -> str:
    """Lines over a common axis; the title and the unit of the values belong above the chart.

    Args:
        series: at least one, with at least one finite value in all.
        alt: what it shows, for those who cannot see it.
        x_label: name and unit of the horizontal axis.
        log: whether the vertical axis is logarithmic; values must then be positive.
        from_zero: whether it begins at 0.
        height: of the drawing; its width is WIDTH.

    Returns:
        An SVG element.
    """
    values = np.concatenate([np.concatenate([s.y, *(s.band or ()), *(y for _, y in s.thin)]) for s in series])
    values = values[np.isfinite(values)]
    places = np.concatenate([s.x for s in series])
    low, high = float(values.min()), float(values.max())
    if not log:
        pad = 0.04 * (high - low)
        low, high = (0.0 if from_zero else low - pad), high + pad
    across = _Axis(float(places.min()), float(places.max()), _LEFT, WIDTH - _RIGHT, False, integer=True)
    up = _Axis(low, high, height - _BOTTOM, _TOP, log)
    body = ""
    for tick in up.ticks:
        body += f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>'
        body += f'<text x="{_LEFT - 7}" y="{up(tick) + 3.8:.1f}" text-anchor="end">{_tick_text(tick)}</text>'
    floor = height - _BOTTOM
    body += f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>'
    for tick in across.ticks:
        body += f'<line class="axis" x1="{across(tick):.1f}" x2="{across(tick):.1f}" y1="{floor}" y2="{floor + 4}"/>'
        body += f'<text x="{across(tick):.1f}" y="{floor + 16}" text-anchor="middle">{_tick_text(tick)}</text>'
    body += f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{height - 6}" text-anchor="middle">{text(x_label)}</text>'
    for one in series:
        parts = ""
        if one.band is not None:
            upper, lower = _path(one.x, one.band[1], across, up), _path(one.x[::-1], one.band[0][::-1], across, up)
            parts += f'<path class="band" d="{upper}{lower.replace("M", "L", 1)}Z"/>'
        parts += "".join(f'<path class="thin" d="{_path(x, y, across, up)}"/>' for x, y in one.thin)
        parts += f'<path class="line{" dotted" if one.dotted else ""}" d="{_path(one.x, one.y, across, up)}"/>'
        if not one.dotted:
            for index in range(0, one.x.size, max(1, one.x.size // 6)):
                if math.isfinite(one.y[index]):
                    parts += mark(one.mark, across(float(one.x[index])), up(float(one.y[index])))
        body += f'<g style="--c:{page_colours(one.colour)}">{parts}</g>'
    return f'<svg class="chart" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{text(alt)}">{body}</svg>'


def dot_chart(rows: Sequence[Dots], *, alt: str, bounds: tuple[float, float], log: bool, decimals: int) -> str:
    """A row a method with its name, marks and the number at the filled mark.

    Args:
        rows: the methods.
        alt: what it shows, for those who cannot see it.
        bounds: the ends of the axis.
        log: whether it is logarithmic.
        decimals: digits of the printed numbers.

    Returns:
        An SVG element.
    """
    step, left = 34.0, 14.0
    height = 16.0 + step * len(rows) + 24.0
    across = _Axis(*bounds, left, WIDTH - _RIGHT - 8, log)
    floor = height - 22.0
    body = ""
    for tick in across.ticks:
        body += f'<line class="grid" x1="{across(tick):.1f}" x2="{across(tick):.1f}" y1="6" y2="{floor}"/>'
        body += f'<text x="{across(tick):.1f}" y="{floor + 15}" text-anchor="middle">{_tick_text(tick)}</text>'
    for index, row in enumerate(rows):
        y = 31.0 + step * index
        parts = ""
        if row.filled is None:
            body += f'<text class="name" x="{left}" y="{y - 10}">{text(row.name)}: not measured</text>'
            continue
        at = across(row.filled)
        for seed in row.seeds:
            parts += f'<line class="seed" x1="{across(seed):.1f}" x2="{across(seed):.1f}" y1="{y + 6}" y2="{y + 11}"/>'
        if row.hollow is not None:
            parts += f'<line class="thin" x1="{across(row.hollow):.1f}" x2="{at:.1f}" y1="{y}" y2="{y}"/>'
        for value, error, css in ((row.hollow, row.hollow_error, "hollow"), (row.filled, row.filled_error, "spot")):
            if value is None:
                continue
            if error > 0:
                ends = [across(max(value + sign * error, bounds[0])) for sign in (-1, 1)]
                parts += f'<line class="error" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y}" y2="{y}"/>'
            parts += f'<circle class="{css}" cx="{across(value):.1f}" cy="{y}" r="5"/>'
        shown = [f"{value:.{decimals}f}" for value in (row.hollow, row.filled) if value is not None]
        remark = f" ({text(row.remark)})" if row.remark else ""
        label = f'{text(row.name)} <tspan style="fill:var(--soft)">{" → ".join(shown)}{remark}</tspan>'
        body += f'<g style="--c:{page_colours(row.colour)}">{parts}</g>'
        body += f'<text class="name" x="{left}" y="{y - 10}">{label}</text>'
    return f'<svg class="chart" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{text(alt)}">{body}</svg>'


def whisker(mean: float, low: float, high: float, bounds: tuple[float, float]) -> str:
    """An interval as a line with its mean, on the scale of its column."""
    span = bounds[1] - bounds[0] or 1.0
    a, b, c = (4 + 82 * (value - bounds[0]) / span for value in (low, mean, high))
    return (
        '<svg class="whisker" viewBox="0 0 90 9" aria-hidden="true">'
        f'<line x1="{a:.1f}" x2="{c:.1f}" y1="4.5" y2="4.5"/><circle cx="{b:.1f}" cy="4.5" r="2.8"/></svg>'
    )
