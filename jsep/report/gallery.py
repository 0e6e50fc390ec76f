"""The explanation methods side by side: a figure of their maps and a table."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jsep.report.panels import make_grid, map_norm, show_image, show_map
from jsep.report.style import drawing, plain, to_png

FILE = "methods.png"

MAX_BYTES = 1024 * 1024
"""Two dozen rows of noise-like maps: below this the labels are not legible."""

_COLUMNS = {
    "effective_pixels": ("effective pixels [px]", "{:.1f}"),
    "spearman_new_head": ("Spearman, new head", "{:.2f}"),
    "cosine_new_head": ("cosine, new head", "{:.2f}"),
    "spearman_new_weights": ("Spearman, new weights", "{:.2f}"),
    "cosine_new_weights": ("cosine, new weights", "{:.2f}"),
}


def write_gallery(
    run_dir: str | pathlib.Path, images: np.ndarray, names: Sequence[str], maps: Mapping[str, np.ndarray]
) -> pathlib.Path:
    """Draws methods.png: a row for each method, a column for each image.

    Args: images: (n, H, W, C) in [0, 1]; names: their classes; maps: method -> (n, H, W), each summing to 1.
    Returns: the path of the figure.
    """
    with drawing():
        grid = make_grid(1 + len(maps), len(images), left=1.75, right=0.75, top=0.28, gap_x=0.06, text=0.1, width=7.2)
        for column, (image, name) in enumerate(zip(images, names, strict=True)):
            axes = grid.axes(0, column)
            show_image(axes, image)
            axes.set_title(plain(name, 14), loc="center", fontsize=8, pad=2)
        for row, (method, explanations) in enumerate(maps.items(), start=1):
            # Methods concentrate very differently: a scale for each, with its bar.
            norm = map_norm(list(explanations))
            for column, explanation in enumerate(explanations):
                axes = grid.axes(row, column)
                mappable = show_map(axes, explanation, norm)
                if column == 0:
                    axes.set_ylabel(plain(method, 26), rotation=0, ha="right", va="center", fontsize=8, labelpad=5)
            grid.colour_bar(row, len(images), mappable, "% of map", num_ticks=2)
        path = pathlib.Path(run_dir) / FILE
        path.write_bytes(to_png(grid.figure, MAX_BYTES))
    return path


def gallery_table(result: Mapping[str, Any]) -> str:
    """The rows of a gallery's result as a Markdown table."""
    titles = ["method", "model", *(title for title, _ in _COLUMNS.values())]
    lines = ["| " + " | ".join(titles) + " |", "|---|---|" + "---:|" * len(_COLUMNS)]
    for row in result["rows"]:
        numbers = [form.format(row[key]).replace("-", "−") for key, (_, form) in _COLUMNS.items()]
        lines.append("| " + " | ".join([row["method"], row["model"], *numbers]) + " |")
    return "\n".join(lines) + "\n"
