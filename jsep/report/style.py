"""The common style of all figures: a colour and a mark for each method, the fonts; output as PNG of bounded size and
as inline SVG in the page's light or dark colours."""

import contextlib
import dataclasses
import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

SOFTWARE = "jsep"
"""What PNGs name as their software, by which they are known as figures of a run."""

MAX_PNG_BYTES = 400 * 1024
"""Upper limit on the size of a PNG, so that a page with a dozen of them still opens at once."""

WIDTH_INCHES = 9.6
_DPI = 140

# Okabe and Ito's palette, safe for the common forms of colour blindness, with brown in place of yellow, which is
# illegible on white. Known methods keep their colour in every report; others take the spare ones as they appear.
_COLOURS = {"mat": "#0072B2", "sep_pos": "#009E73", "sep_neg": "#D55E00", "standard": "#555555", "trades": "#CC79A7"}
_SPARE = ("#56B4E9", "#E69F00", "#CC79A7", "#000000", "#7A3B00", "#009E73", "#D55E00", "#0072B2", "#555555")
# The same hues for a dark page, also distinct from each other.
_ON_DARK = {
    "#0072B2": "#4A9EDB",
    "#009E73": "#33C79D",
    "#D55E00": "#F58B4C",
    "#555555": "#8A9199",
    "#CC79A7": "#E2A0C6",
    "#000000": "#E8E9EA",
    "#E69F00": "#F0B13C",
    "#56B4E9": "#A9DDF7",
    "#7A3B00": "#B07D52",
}
# Marks differ as well: colour is never the only distinction.
_MARKS = {"mat": "o", "sep_pos": "^", "sep_neg": "v", "standard": "s", "trades": "D"}
_SPARE_MARKS = ("P", "X", "*", "<", ">", "p", "h", "d", "8")

INK, SOFT, GRID, PAPER = "#1a1b1d", "#595f66", "#e2e2e3", "#ffffff"
"""Text, axes, grid and background of a figure; on a page the page's own colours replace them."""

FIXED_INK = "#1a1b1c"
"""Dark text on a colour map, the same on light and dark pages; `plot.draw.ON_COLOURS` is the white one."""

_VARIABLES = {INK: "var(--ink)", SOFT: "var(--soft)", GRID: "var(--line)", PAPER: "var(--paper)"}

_SETTINGS: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 9.0,
    "text.usetex": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": SOFT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    # Deterministic output for the same result, and selectable text.
    "svg.fonttype": "none",
    "svg.hashsalt": "jsep",
}


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Applies the settings of all figures, and restores the caller's afterwards."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def colours(methods: Sequence[str]) -> dict[str, str]:
    """method -> colour, the same for known methods in every figure and report.

    One method at several weights ("trades 1", "trades 6") is graded from dark to light in the order given.
    """
    parts = [method.rpartition(" ") for method in methods]
    if (
        len(parts) > 2
        and len({head for head, *_ in parts}) == 1
        and all(head and _is_number(w) for head, _, w in parts)
    ):
        # Not up to the end of the colour map: yellow is hardly visible on white.
        places = [0.8 * index / (len(methods) - 1) for index in range(len(methods))]
        return {m: to_hex(matplotlib.colormaps["viridis"](x)) for m, x in zip(methods, places, strict=True)}
    return _assign(methods, _COLOURS, _SPARE)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def marks(methods: Sequence[str]) -> dict[str, str]:
    """method -> marker, so that methods differ without colour."""
    return _assign(methods, _MARKS, _SPARE_MARKS)


def page_colours(colour: str) -> str:
    """A colour of `colours` as a CSS value that adapts to light and dark pages; other colours unchanged."""
    dark = {light.lower(): own for light, own in _ON_DARK.items()}.get(colour.lower())
    return f"light-dark({colour},{dark})" if dark else colour


def _assign(methods: Sequence[str], known: dict[str, str], spare: Sequence[str]) -> dict[str, str]:
    chosen = {method: known[method] for method in methods if method in known}
    free = [value for value in spare if value not in chosen.values()] or list(spare)
    others = [method for method in methods if method not in known]
    return chosen | {method: free[index % len(free)] for index, method in enumerate(others)}


def plain(text: object, longest: int = 40) -> str:
    """Text that the font can draw: unsupported characters become '?', and '$' does not start a formula."""
    known = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    drawn = "".join(
        char if char == " " or (char.isprintable() and known.get_char_index(ord(char))) else "?" for char in str(text)
    )
    drawn = drawn if len(drawn) <= longest else drawn[: longest - 1] + "…"
    return drawn.replace("\\", "/").replace("$", "\\$")


def in_two_lines(text: object, width: int) -> str:
    """`plain` text above a column of `width` characters; a third line would be cut."""
    first, *rest = textwrap.wrap(str(text), width) or [""]
    return "\n".join(plain(line, width) for line in ([first, " ".join(rest)] if rest else [first]))


def spans_decades(values: Sequence[float], ratio: float = 20.0) -> bool:
    """Whether values need a logarithmic axis: all positive, and the largest above `ratio` times the smallest."""
    known = [value for value in values if np.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) > ratio


def new_figure(height: float, width: float = WIDTH_INCHES, *, layout: str | None = "constrained") -> Figure:
    """An empty figure on an Agg canvas, without a window or global state."""
    figure = Figure(figsize=(width, height), layout=layout)  # type: ignore[arg-type]
    FigureCanvasAgg(figure)
    return figure


def _keep_layout(figure: Figure) -> None:
    """Computes the layout once and fixes it, so that it is not repeated for every file."""
    if figure.get_layout_engine() is not None:
        with drawing():
            figure.draw_without_rendering()
        figure.set_layout_engine("none")


def to_png(figure: Figure, max_bytes: int = MAX_PNG_BYTES) -> bytes:
    """The figure as a PNG; if too large, reduced to 256 colours, and then to a lower resolution.

    Args:
        figure: drawn on an Agg canvas.
        max_bytes: upper limit on the size; not enforced below 40 dots an inch.

    Returns:
        The bytes of the file.
    """
    _keep_layout(figure)
    dpi = float(_DPI)
    while True:
        buffer = io.BytesIO()
        # No date or version in the file, so that the same result gives the same bytes.
        with drawing():
            figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": SOFTWARE})
        data = buffer.getvalue()
        if len(data) > max_bytes:
            data = _of_few_colours(buffer)
        if len(data) <= max_bytes or dpi < 40:
            return data
        dpi *= 0.95 * max(0.5, (max_bytes / len(data)) ** 0.5)


def _of_few_colours(picture: io.BytesIO) -> bytes:
    """The PNG reduced to its best 256 colours: for photographs beside maps a third of the bytes."""
    few, marked = io.BytesIO(), PngInfo()
    marked.add_text("Software", SOFTWARE)
    Image.open(picture).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        few, format="png", optimize=True, pnginfo=marked
    )
    return few.getvalue()


def to_svg(figure: Figure, name: str, alt: str) -> Markup:
    """The figure as inline SVG: selectable text, colours for light and dark pages, ids unique on the page.

    Args: name: different for each figure of a page; alt: alternative text.
    """
    _keep_layout(figure)
    buffer = io.StringIO()
    with drawing():
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    view = re.search(r'viewBox="([^"]+)"', text)
    assert view is not None
    body = re.sub(
        r"<defs>\s*<style.*?</style>\s*</defs>", "", text[text.index(">", text.index("<svg")) + 1 :], flags=re.DOTALL
    )
    # Ids by order of appearance, and six digits: matplotlib's ids and the last digits of its layout vary between runs.
    used = {
        each: f"{name}-{i}" for i, each in enumerate(dict.fromkeys(re.findall(r'(?:href="#|url\(#)([^")]+)', body)))
    }
    body = re.sub(r' id="([^"]*)"', lambda found: f' id="{used[found[1]]}"' if found[1] in used else "", body)
    body = re.sub(r'(href="#|url\(#)([^")]+)', lambda found: found[1] + used[found[2]], body)
    body = re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda found: _six_digits(found[0]), body)
    body = re.sub(r'style="[^"]*"', lambda found: _page_style(found[0]), body)
    body = body.replace("<g/>", "")
    width = round(96 * figure.get_figwidth())
    head = f'<svg class="chart" role="img" aria-label="{escape(alt)}" viewBox="{view[1]}" style="--width:{width}px">'
    return Markup(head + re.sub(r">\s+<", "><", re.sub(r" ?\n", " ", body)).strip())


def _six_digits(attribute: str) -> str:
    return re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.6g}", attribute)


def _page_style(style: str) -> str:
    """Replaces the colours and the font of a figure by those of the page."""

    def colour(found: re.Match[str]) -> str:
        own = found[0].lower()
        return _VARIABLES.get(own) or page_colours(own)

    return re.sub(r"#[0-9a-fA-F]{6}", colour, style).replace(" font-family: 'DejaVu Sans';", "")


@dataclasses.dataclass(frozen=True)
class NamedFigure:
    """A figure of a report. name: of its file, without the ending; heading: on the page; alt: alternative text;
    caption: what to look for and how it was computed; max_bytes: of its PNG."""

    name: str
    heading: str
    alt: str
    caption: str
    figure: Figure
    max_bytes: int = MAX_PNG_BYTES

    @property
    def svg(self) -> Markup:
        """The figure as inline SVG."""
        return to_svg(self.figure, self.name, self.alt)

    @property
    def png(self) -> bytes:
        """The figure as the bytes of a PNG."""
        return to_png(self.figure, self.max_bytes)
