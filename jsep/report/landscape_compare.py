"""The parts of the page that compares landscape analyses: surfaces that turn together, slices, numbers in one table."""

from collections.abc import Mapping, Sequence
from typing import Any

from jsep.report import landscape_figures as figures
from jsep.report.landscape import SCALAR_NAMES, curvature_table, describe_slices, model_table, scalars_of
from jsep.report.landscape_page import html_table, surface_data, surface_section
from jsep.report.parts import printed_figure, text
from jsep.report.style import to_png

FILES = ("page.css", "explorer.css", "theme.js", "surface.js")

Analysis = tuple[Mapping[str, Any], figures.Arrays]
"""result.json and maps.npz of a run."""


def landscape_sections(analyses: Sequence[Analysis], labels: Sequence[str]) -> dict[str, tuple[str, str]]:
    """identity -> (name, HTML) of the sections that only landscapes have."""
    panels = [surface_data(*analysis, label) for analysis, label in zip(analyses, labels, strict=True)]
    return {
        "surface-section": ("Surfaces", surface_section(panels, "the planes on the page of each run show")),
        "slices": ("Slices", _slices_section(analyses, labels)),
        "numbers": ("Numbers", _numbers_section([result for result, _ in analyses], labels)),
    }


def _slices_section(analyses: Sequence[Analysis], labels: Sequence[str]) -> str:
    """Function by function, so that the same pictures of the runs stand under each other."""
    found = ""
    for scalar in dict.fromkeys(scalar for result, _ in analyses for scalar in scalars_of(result)):
        found += f"<h3>{text(SCALAR_NAMES[scalar])}</h3>"
        for (result, arrays), label in zip(analyses, labels, strict=True):
            if scalar not in scalars_of(result):
                continue
            figure = figures.slices(result, arrays, scalar)
            caption = f"{label}, {result['num_images']} images. {describe_slices(result)}"
            alt = f"{SCALAR_NAMES[scalar]} along lines through the images, {label}"
            width = round(96 * figure.get_figwidth())
            found += printed_figure(f"{scalar}, {label}", alt, caption, to_png(figure), width, lines=True)
    note = (
        "Line: mean, band: 10 to 90 % of the lines over the images (first seed). Each picture has a scale of its own."
    )
    return f'<section id="slices"><h2>Slices</h2><p class="note">{note}</p>{found}</section>'


def _numbers_section(results: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> str:
    tables = (
        _joined([model_table(result) for result in results], labels, num_names=1),
        _joined([curvature_table(result) for result in results], labels, num_names=2),
    )
    shown = "".join(html_table(table) for table in tables)
    note = "± is the standard deviation over the seeds of a run, with one seed the standard error over its images."
    return f'<section id="numbers"><h2>Numbers</h2>{shown}<p class="note">{note}</p></section>'


def _joined(tables: Sequence[str], labels: Sequence[str], *, num_names: int) -> str:
    """Markdown tables of the same columns as one: after the `num_names` columns that name a row, which run it is of.

    What is to be compared stands together: the rows of one name.
    """
    rows: dict[tuple[str, ...], list[str]] = {}
    for table, label in zip(tables, labels, strict=True):
        for number, line in enumerate(table.splitlines()):
            cells = line.strip("| ").split(" | ")
            names, values = cells[:num_names], cells[num_names:]
            if number == 0:
                rows.setdefault((), [f"| {' | '.join([*names, 'run', *values])} |"])
            elif number > 1:
                rows.setdefault(tuple(names), []).append(f"| {' | '.join([*names, label, *values])} |")
    return "\n".join(line for lines in rows.values() for line in lines)
