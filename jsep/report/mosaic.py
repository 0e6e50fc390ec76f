"""Images and maps as small pictures of the page itself: enlarged without blur, sharp on any screen."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import matplotlib.image
import numpy as np

from jsep.report.panels import choose_pairs, effective_pixels, map_norm
from jsep.report.parts import data_address, scrolling, text
from jsep.report.records import Maps
from jsep.report.style import colours, marks
from jsep.report.svg import swatch

MAP_COLOURS = "magma"


def png_of(pixels: np.ndarray) -> bytes:
    """(H, W, 3) in [0, 1] as a PNG of H x W pixels."""
    buffer = io.BytesIO()
    # No software or date in the file: the same result gives the same bytes.
    nothing: Any = {"Software": None}
    matplotlib.image.imsave(buffer, np.clip(pixels, 0.0, 1.0), format="png", metadata=nothing)
    return buffer.getvalue()


def _picture(pixels: np.ndarray, alt: str) -> str:
    return f'<img class="pixels" alt="{text(alt)}" src="{data_address(png_of(pixels))}">'


def as_rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, 1 or 3) -> (H, W, 3)."""
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


def explanation_mosaic(maps: Maps, methods: Sequence[str], *, num_rows: int = 6) -> str:
    """A table: an image in each row, its map by each method in the columns (Figure 4 of the paper).

    Args:
        maps: the maps of the first seed.
        methods: the methods of the run, in order.
        num_rows: how many images at most.

    Returns:
        HTML.
    """
    shown = [method for method in methods if method in maps.methods]
    colour, mark = colours(methods), marks(methods)
    head = '<th scope="col">image</th>' + "".join(
        f'<th scope="col">{swatch(colour[method], mark[method])}{text(method)}</th>' for method in shown
    )
    scale = matplotlib.colormaps[MAP_COLOURS]
    body = ""
    for index in choose_pairs(maps, num_rows):
        name = maps.class_name(int(maps.victim_labels[index]))
        own = {method: maps.methods[method]["victim_map"][index] for method in shown}
        norm = map_norm(list(own.values()))
        image = _picture(as_rgb(maps.victim_images[index]), f"image of class {name}")
        body += f'<tr><th scope="row">{image}<small>{text(name)}</small></th>'
        for method, explanation in own.items():
            pixels = effective_pixels(explanation)
            picture = _picture(
                scale(norm(100.0 * np.asarray(explanation, float)))[..., :3],
                f"map of {method} on the image of class {name}: {pixels:.1f} effective pixels",
            )
            body += f"<td>{picture}<small>{pixels:.1f} eff. px</small></td>"
        body += "</tr>\n"
    table = f'<table class="mosaic"><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>'
    return scrolling("Explanation maps side by side", table)
