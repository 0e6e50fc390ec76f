"""The explanation methods side by side: a figure of their maps and a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jsep.record import explanation_name
from jsep.report.image_grid import Layout, Tile, class_words, image_grid
from jsep.report.style import NamedFigure, plain
from jsep.report.table import Column, Table, make_table

_COLUMNS = {
    "effective_pixels": (Column("effective pixels", "px"), "{:.1f}"),
    "spearman_new_head": (Column("Spearman, new head"), "{:.2f}"),
    "cosine_new_head": (Column("cosine, new head"), "{:.2f}"),
    "spearman_new_weights": (Column("Spearman, new weights"), "{:.2f}"),
    "cosine_new_weights": (Column("cosine, new weights"), "{:.2f}"),
}

_MAX_BYTES = 1024 * 1024
"""Size limit of the PNG: labels beside two dozen rows of noise-like maps are not legible in a smaller one."""


def gallery_tables(result: Mapping[str, Any]) -> list[Table]:
    """How concentrated the maps of each method are, and how much they change when the weights are randomised."""
    rows = [
        [explanation_name(row["method"]), row["model"], *(form.format(row[key]) for key, (_, form) in _COLUMNS.items())]
        for row in result["rows"]
    ]
    return [make_table(["method", "model", *(column for column, _ in _COLUMNS.values())], rows, num_names=2)]


def gallery_figures(result: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[NamedFigure]:
    """One row for each method, one column for each image; empty without the arrays of the run."""
    methods = [row["method"] for row in result["rows"] if row["method"] in arrays]
    if not methods or "images" not in arrays:
        return []
    images = arrays["images"]
    rows = [[Tile(image, "image") for image in images]]
    # Methods differ widely in concentration, so each row has its own scale and colour bar.
    rows += [[Tile(explanation, "map") for explanation in arrays[method]] for method in methods]
    names = [class_words(str(name)) for name in arrays.get("class_names", [""] * len(images))]
    shown = [explanation_name(method) for method in methods]
    layout = Layout(left=1.75, top=0.28, gap=0.06, below=0.1, width=7.2)
    figure = image_grid(rows, titles=names, names=["", *(plain(method, 26) for method in shown)], layout=layout)
    heading = "The explanation methods on the same images"
    alt = f"Grid of pictures: the maps of {'; '.join(shown)}, a row each, on {len(images)} images."
    caption = "In % of the map by its square root, a scale for each method."
    return [NamedFigure("methods", heading, alt, caption, figure, _MAX_BYTES)]
