"""The colours of the figures: seen on their page, and told apart in the common forms of colour blindness."""

import itertools
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from jsep.report import style

# How a colour looks with each form, in linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.
SEEN = {
    "all colours": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)
# The nine colours that a report can give out before it begins again.
METHODS = ("mat", "sep_pos", "sep_neg", "standard", "trades", "a", "b", "c", "d")


def linear(colour: str) -> np.ndarray:
    """(3,) linear RGB of #RRGGBB."""
    share = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """(3,) CIE L*a*b*, where the distance 1 is about the least that is seen side by side."""
    ratio = TO_XYZ @ rgb.clip(0, 1) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(colour: str, paper: str) -> float:
    low, high = sorted(float(TO_XYZ[1] @ linear(each)) for each in (colour, paper))
    return (high + 0.05) / (low + 0.05)


def colours_of(scheme: str) -> list[str]:
    chosen = style.colours(METHODS)
    assert len(set(chosen.values())) == len(METHODS)
    pairs = [style.page_colours(colour).removeprefix("light-dark(").removesuffix(")") for colour in chosen.values()]
    return [pair.split(",")[("light", "dark").index(scheme)] for pair in pairs]


@pytest.mark.parametrize(("scheme", "paper"), [("light", "#ffffff"), ("dark", "#15171a")])
def test_colours_are_seen_on_their_page_and_told_apart_by_everybody(scheme: str, paper: str) -> None:
    given = colours_of(scheme)
    assert min(contrast(colour, paper) for colour in given) > 2.2
    for first, second in itertools.combinations(given, 2):
        for form, matrix in SEEN.items():
            apart = float(np.linalg.norm(lab(matrix @ linear(first)) - lab(matrix @ linear(second))))
            assert apart > 12, (first, second, form)


def test_contrast_of_black_on_white_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0, rel=1e-4)
    assert lab(linear("#ffffff")) == pytest.approx([100.0, 0.0, 0.0], abs=0.01)


def make_figure() -> Figure:
    with style.drawing():
        figure = style.new_figure(2.0, 3.0)
        left, right = figure.subplots(1, 2)
        left.plot([1, 2], [1, 3], "o-", color="#0072B2", markerfacecolor=style.PAPER, label="a < b")
        left.set_title("a title <script>")
        right.imshow(np.eye(3), interpolation="none")
    return figure


def test_the_svg_of_a_page_is_text_in_the_colours_of_the_page_and_the_same_each_time() -> None:
    svg = style.to_svg(make_figure(), "one", 'what "it" shows')
    assert "a title &lt;script&gt;" in svg
    assert 'aria-label="what &#34;it&#34; shows"' in svg
    for colour in ("var(--ink)", "var(--soft)", "var(--line)", "var(--paper)", "light-dark(#0072b2,#4A9EDB)"):
        assert colour in svg, colour
    assert not re.search(r"https?://|<metadata|DejaVu", svg)
    assert style.to_svg(make_figure(), "one", 'what "it" shows') == svg


def test_two_svgs_of_a_page_share_no_name_and_refer_to_their_own() -> None:
    figures = [style.to_svg(make_figure(), name, "") for name in ("one", "two")]
    names = [set(re.findall(r' id="([^"]+)"', svg)) for svg in figures]
    assert names[0]
    assert not names[0] & names[1]
    for svg, own in zip(figures, names, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) == own
