"""The pictures and the self-contained page of a landscape analysis, from its result.json and maps.npz alone."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jsep.checks import InputError
from jsep.report import landscape_figures as figures
from jsep.report.landscape import (
    SCALAR_NAMES,
    correlation_table,
    curvature_table,
    describe_slices,
    methods_of,
    model_table,
    scalars_of,
    unit_of,
)
from jsep.report.parts import (
    assemble,
    command_box,
    embedded_json,
    facts_table,
    printed_figure,
    replace_file,
    scrolling,
    text,
)
from jsep.report.style import to_png

FILES = ("page.css", "explorer.css", "theme.js", "surface.js")

_CHOICES = """<div class="choices"><label>Function <select id="surface-function"></select></label>
<label>Model <select id="surface-method"></select></label></div>"""
_HELP = "Drag, or focus the picture and use the arrow keys; + and − zoom, 0 resets. One height scale for all models"


def read_landscape(run_dir: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """result.json and maps.npz of an analysis. Raises: InputError where they cannot be read."""
    try:
        result = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))
        with np.load(run_dir / "maps.npz") as archive:
            return result, dict(archive)
    except (OSError, ValueError) as error:
        raise InputError(f"{run_dir} holds no landscape analysis that can be read ({error})") from error


def pictures(result: Mapping[str, Any], arrays: figures.Arrays) -> list[tuple[str, str, str, Figure]]:
    """(file, heading, caption, figure)."""
    how = describe_slices(result)
    count = result["num_images"]
    lines = f"Line: mean, band: 10 to 90 % of the lines over {count} images (first seed)."
    found = []
    for scalar in scalars_of(result):
        name = SCALAR_NAMES[scalar]
        found.append(
            (
                f"slices_{scalar}.png",
                f"Slices: {name}",
                f"{name} along lines through the images. Above: {result['config']['num_directions']} random lines an "
                f"image, some of them drawn thin; below: one line an image. {lines} {how}",
                figures.slices(result, arrays, scalar),
            )
        )
    for scalar in scalars_of(result):
        found.append(
            (
                f"plane_{scalar}.png",
                f"Plane: {SCALAR_NAMES[scalar]}",
                f"{SCALAR_NAMES[scalar]} in the plane of the attack's path and a random direction, mean over "
                f"{min(count, result['config']['plane_images'])} images, one scale for all models; the cross is the "
                f"image. {how}",
                figures.planes(result, arrays, scalar),
            )
        )
    found.append(
        (
            "spectra.png",
            "Spectra of the input Hessians",
            f"Stochastic Lanczos quadrature, {result['config']['spectrum_probes']} probes an image, {count} images "
            "pooled (first seed): the share of the eigenvalues in bins of an axis that is linear around 0 and "
            "logarithmic beyond.",
            figures.spectra(result, arrays),
        )
    )
    found.append(
        (
            "curvature.png",
            "Curvature as numbers",
            "Mean over images; bars: standard deviation over seeds, with one seed the standard error over images; "
            "ticks: the single seeds. px: pixel unit.",
            figures.curvature(result),
        )
    )
    forest = figures.correlations(result)
    if forest is not None:
        caption = (
            "Spearman's rho of each number with what the explanation attack achieves, 95 % bootstrap interval over "
            "images. Filled: over the images within each model, averaged; hollow: over the models' means. The first "
            "two rows are no curvature: a predictor is worth something where it beats them."
        )
        found.append(("correlations.png", "What predicts the attack?", caption, forest))
    return found


def write_landscape(run_dir: str | pathlib.Path) -> pathlib.Path:
    """Draws every picture of the analysis in `run_dir` and writes its page, `index.html`, which needs no network.

    Raises: InputError where result.json or maps.npz cannot be read.
    """
    path = pathlib.Path(run_dir)
    result, arrays = read_landscape(path)
    shown = []
    for file, heading, caption, figure in pictures(result, arrays):
        data = to_png(figure)
        replace_file(path / file, data)
        shown.append((heading, caption, data, round(96 * figure.get_figwidth())))
    page = path / "index.html"
    replace_file(page, _page(result, arrays, shown).encode())
    return page


def surface_data(result: Mapping[str, Any], arrays: figures.Arrays, label: str = "") -> dict[str, Any]:
    """What surface.js draws of one run; values that are not finite are null."""
    functions = {}
    for scalar in scalars_of(result):
        scale, unit = unit_of(scalar)
        surfaces = {}
        for method in methods_of(result):
            rows = scale * np.asarray(arrays[f"{method}/{scalar}/plane"], float)
            surfaces[method] = [[float(f"{v:.5g}") if np.isfinite(v) else None for v in row] for row in rows]
        functions[SCALAR_NAMES[scalar]] = {"unit": unit, "surfaces": surfaces}
    places = [round(float(v), 5) for v in arrays["plane_coordinates"]]
    return {"label": label, "places": places, "functions": functions}


def html_table(markdown: str) -> str:
    """A Markdown table as one of HTML, its first column as headings."""
    rows = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("| ")]
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in rows[0])
    body = ""
    for first, *rest in rows[1:]:
        cells = "".join(f"<td>{text(cell)}</td>" for cell in rest)
        body += f'<tr><th scope="row">{text(first)}</th>{cells}</tr>\n'
    return scrolling("Table", f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>")


def surface_section(panels: Sequence[Mapping[str, Any]], pages: str) -> str:
    """The surfaces to turn, one a run, all at once; needs surface.js.

    Args: panels: of `surface_data`; pages: where the same values are without JavaScript, in words.
    """
    several = len(panels) > 1
    boxes = ""
    for panel in panels:
        of_run = f" of {text(panel['label'])}" if several else ""
        title = f"<h3>{text(panel['label'])}</h3>" if several else ""
        boxes += f"""<div class="surface-panel">{title}<canvas class="surface" tabindex="0" role="img"
 aria-label="Surface{of_run} of the chosen function in the plane of the attack's path and a random direction; arrow keys
 turn and tilt it, plus and minus zoom, 0 resets"></canvas><p class="status" aria-live="polite"></p></div>\n"""
    scale = f"{_HELP} of a function{' in all runs, which turn together' if several else ''}."
    return f"""<section id="surface-section"><h2>{"Surfaces" if several else "Surface"}</h2>
<div class="needs-js">{_CHOICES}<div class="surfaces">{boxes}</div><p>{scale}</p></div>
<p class="no-js">The surface needs JavaScript; {pages} the same values in colour.</p>
{embedded_json("surface-data", list(panels))}</section>"""


def _page(result: Mapping[str, Any], arrays: figures.Arrays, shown: list[tuple[str, str, bytes, int]]) -> str:
    printed = "".join(
        f"<h3>{text(heading)}</h3>\n"
        + printed_figure(heading, caption, caption, data, width, lines=not heading.startswith("Plane"))
        for heading, caption, data, width in shown
    )
    numbers = [model_table(result), curvature_table(result)]
    if result["correlations"]:
        numbers.append(correlation_table(result))
    main = f"""{surface_section([surface_data(result, arrays)], "the planes below show")}
<section id="pictures"><h2>Pictures</h2>{printed}</section>
<section id="numbers"><h2>Numbers</h2>{"".join(html_table(table) for table in numbers)}</section>
<section id="reproduce"><h2>How to reproduce</h2>{command_box(result["environment"].get("command"))}
{facts_table("Configuration", result["config"])}
{facts_table("Environment", result["environment"], skip=("command",))}</section>"""
    return assemble(
        kind="Landscape of trained models",
        title=str(result["experiment"]),
        lede="How steep and curved are loss, margin and explanation around an image, and does that predict the attack?",
        run=f"{result['study']['dataset']}, {result['study']['model']}; {len(result['rows'])} models, "
        f"{result['num_images']} images",
        sections={
            "surface-section": "Surface",
            "pictures": "Pictures",
            "numbers": "Numbers",
            "reproduce": "Reproduce",
        },
        main=main,
        files=FILES,
    )
