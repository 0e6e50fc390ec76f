"""The figures of a landscape analysis: slices, planes, spectra, curvature, correlations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from jsep import stats
from jsep.record import landscape_number, readable
from jsep.record.landscape import RANDOM_DIRECTIONS, landscape_lines, spectral_shares
from jsep.report.charts import Dot, DotPanel, DotRow, Key, Line, Panel, contour_chart, dot_chart, line_chart
from jsep.report.landscape import (
    CURVATURES,
    OUTCOME_NAMES,
    QUANTITY_NAMES,
    SCALAR_NAMES,
    describe_slices,
    methods_of,
    name_of,
    scalars_of,
    unit_of,
)
from jsep.report.style import NamedFigure, colours, marks

Arrays = Mapping[str, np.ndarray]

DIRECTION_NAMES = {
    "gaussian": "random (Gaussian)",
    "rademacher": "random (Rademacher)",
    "gradient": "gradient",
    "gradient_sign": "gradient sign",
    "attack": "attack path",
    "eigenvector": "top eigenvector",
    "to_image": "to another image",
}
_SINGLE_LINES = 40
_STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))


def landscape_figures(result: Mapping[str, Any], arrays: Arrays) -> list[NamedFigure]:
    """The figures that the arrays of the run allow, in the order of the page."""
    found = []
    config, count = result["config"], result["num_images"]
    if "coordinates" in arrays:
        for scalar in scalars_of(result):
            found.append(slices_figure(result, arrays, scalar))
        found += [plane_figure(result, arrays, scalar) for scalar in scalars_of(result) if has_plane(scalar)]
        found.append(
            NamedFigure(
                "spectra",
                "Spectra of the input Hessians",
                f"Spectral densities of {', '.join(SCALAR_NAMES[s] for s in scalars_of(result))} for each model.",
                f"Stochastic Lanczos quadrature, {config['spectrum_probes']} probes an image, {count} images "
                "pooled (first seed): the share of the eigenvalues in bins of an axis that is linear around 0 and "
                "logarithmic beyond.",
                _spectra(result, arrays),
            )
        )
    found.append(
        NamedFigure(
            "curvature",
            "Curvature as numbers",
            "Dot chart of the curvature of every function; the numbers are those of the table.",
            "Mean over images; bars: standard deviation over seeds, with one seed the standard error over images; "
            "ticks: the single seeds. px: pixel unit.",
            _curvature(result),
        )
    )
    if result["correlations"]:
        caption = (
            "Spearman's rho of each number with what the explanation attack achieves, 95 % bootstrap interval over "
            "images. Filled: over the images within each model, averaged; hollow: over the models' means. The first "
            "two rows are no curvature: a predictor is worth something where it beats them."
        )
        alt = "Intervals of rank correlations; the numbers are those of the table."
        found.append(NamedFigure("correlations", "What predicts the attack?", alt, caption, _correlations(result)))
    return found


def has_plane(scalar: str) -> bool:
    """Whether the plane of a function is drawn: that of the cross-entropy is a ramp along the attack and says nothing
    that its slices do not."""
    return scalar != "cross_entropy"


def slices_figure(result: Mapping[str, Any], arrays: Arrays, scalar: str, run: str = "") -> NamedFigure:
    """One function along lines: one panel for each method with single random lines, then one panel for each direction
    with all methods; run: label of the run."""
    name, methods, places = SCALAR_NAMES[scalar], methods_of(result), arrays["coordinates"]
    colour, mark = colours(methods), marks(methods)
    scale, unit = unit_of(result, scalar)
    directions = result["directions"][scalar]
    random = next((each for each in directions if each in RANDOM_DIRECTIONS), None)

    def line(method: str, direction: str, *, single: bool = False) -> Line:
        values = scale * landscape_lines(result, arrays, method, scalar, direction)
        drawn = stats.band(values)
        thin = [(places, each) for each in values[:: max(1, len(values) // _SINGLE_LINES)]] if single else []
        every = max(1, len(places) // 6)
        ends = drawn.low, drawn.high
        return Line(places, drawn.mean, colour[method], mark[method], band=ends, thin=thin, every=every)

    def adjust(axes: Axes) -> None:
        axes.margins(x=0.01)

    label = f"{name} [{unit}]".replace(" to the", "\nto the")
    panels = []
    if random is not None:
        for method in methods:
            title = f"{readable(method)}, {DIRECTION_NAMES[random]}"
            panels.append(Panel(title, "distance [epsilon]", label, [line(method, random, single=True)], adjust))
    for direction in (each for each in directions if each != random):
        own = [line(method, direction) for method in methods]
        panels.append(Panel(DIRECTION_NAMES[direction], "distance [epsilon]", label, own, adjust))
    keys = [Key(readable(method), colour[method], mark[method], "-") for method in methods]
    caption = (
        f"{name[0].upper()}{name[1:]} along lines through the images: {result['config']['num_directions']} "
        "random lines "
        "an image, some of them drawn thin, in the panels of single models; one line an image in the others. "
        "Line: mean, "
        f"band: 10 to 90 % of the lines over {result['num_images']} images (first seed). {describe_slices(result)}"
    )
    of_run = f", {run}" if run else ""
    alt = f"Curves of the {name} along lines through the images for {'; '.join(map(readable, methods))}{of_run}."
    figure = line_chart(panels, keys=keys, share="y")
    return NamedFigure(f"slices_{scalar}", f"Slices: {name}{of_run}", alt, caption, figure)


def plane_figure(result: Mapping[str, Any], arrays: Arrays, scalar: str, run: str = "") -> NamedFigure:
    """One function in the plane of the attack direction and a random one: contours, one panel for each method."""
    name, (scale, unit) = SCALAR_NAMES[scalar], unit_of(result, scalar)
    # Rows of the arrays follow the attack direction, which is the horizontal axis of the figure.
    planes = {
        readable(method): np.ma.masked_invalid(scale * np.asarray(arrays[f"{method}/{scalar}/plane"], float))
        for method in methods_of(result)
    }
    figure = contour_chart(
        planes,
        arrays["plane_coordinates"],
        x_label="attack path [epsilon]",
        y_label="random direction [epsilon]",
        colour_label=f"{name}\n[{unit}]",
    )
    images = min(result["num_images"], result["config"]["plane_images"])
    caption = (
        f"{name[0].upper()}{name[1:]} in the plane of the attack's path and a random direction, mean over "
        f"{images} images, "
        f"one scale for all models; the cross is the image. {describe_slices(result)}"
    )
    of_run = f", {run}" if run else ""
    alt = f"Contours of the {name} in a plane through the images for {'; '.join(planes)}{of_run}."
    return NamedFigure(f"plane_{scalar}", f"Plane: {name}{of_run}", alt, caption, figure)


def _spectra(result: Mapping[str, Any], arrays: Arrays) -> Figure:
    """The spectral density of the Hessian of every function: the fraction of eigenvalues in bins of a symmetric
    logarithmic axis."""
    methods = methods_of(result)
    colour, style = colours(methods), dict(zip(methods, _STYLES * len(methods), strict=False))
    panels = []
    for scalar in scalars_of(result):
        scale, unit = unit_of(result, scalar)
        nodes = {m: scale * np.asarray(arrays[f"{m}/{scalar}/spectrum_nodes"], float).ravel() for m in methods}
        largest = max(float(np.nanmax(np.abs(values))) for values in nodes.values()) or 1.0
        threshold = largest / 1000
        positive = np.geomspace(threshold, largest * 1.05, 16)
        ends = np.concatenate([-positive[::-1], positive])
        lines = []
        for method in methods:
            share = spectral_shares(nodes[method], arrays[f"{method}/{scalar}/spectrum_weights"], ends)
            steps = np.repeat(np.maximum(100 * share, 1e-4), 2)
            lines.append(Line(np.repeat(ends, 2)[1:-1], steps, colour[method], style=style[method], width=1.5))
        label = f"eigenvalue [{unit} / pixel unit²]"
        panels.append(
            Panel(
                SCALAR_NAMES[scalar],
                label,
                "share of the spectrum a bin [%]",
                lines,
                _spectrum_axes(threshold, largest),
            )
        )
    keys = [Key(readable(method), colour[method], style=style[method]) for method in methods]
    return line_chart(panels, keys=keys, height=3.0)


def _spectrum_axes(threshold: float, largest: float) -> Any:
    def adjust(axes: Axes) -> None:
        axes.set_xscale("symlog", linthresh=threshold, linscale=0.6)
        axes.set_yscale("log")
        axes.set_ylim(1e-3, 150)
        powers = 10.0 ** np.arange(np.ceil(np.log10(threshold)), np.floor(np.log10(largest)) + 1, 2)
        axes.xaxis.set_major_locator(FixedLocator([*(-powers[::-1]), 0.0, *powers]))

    return adjust


def _curvature(result: Mapping[str, Any]) -> Figure:
    """Every curvature measure of every function: a row of panels for each function, a column for each measure, a line
    for each method."""
    methods = methods_of(result)
    colour, mark = colours(methods), marks(methods)
    panels = []
    for scalar in scalars_of(result):
        scale, unit = unit_of(result, scalar)
        for quantity in CURVATURES:
            rows, smallest = [], np.inf
            for method in methods:
                found = landscape_number(result, method, f"{scalar}/{quantity}")
                if found is None:
                    rows.append(DotRow())
                    continue
                low, high = (scale * (found.mean + sign * found.error) for sign in (-1, 1))
                smallest = min(smallest, low)
                dot = Dot(scale * found.mean, low, high, colour[method], mark[method])
                rows.append(DotRow([dot], [scale * each for each in found.single]))
            per = " / px²" if quantity in CURVATURES[:3] else ""
            title = f"{SCALAR_NAMES[scalar]}:\n{QUANTITY_NAMES[quantity]}".replace(
                "explanation loss to the", "loss to the"
            )
            largest = max((dot.high for row in rows for dot in row.dots), default=1.0)
            limits = (0.0, 1.1 * largest) if smallest > 0 and np.isfinite(largest) else None
            panels.append(DotPanel(title, f"[{unit}{per}]", rows, limits))
    return dot_chart(
        [readable(method) for method in methods], panels, columns=len(CURVATURES), row_height=0.2, wide_first=1.0
    )


def _correlations(result: Mapping[str, Any]) -> Figure:
    """Rank correlation of every predictor with every outcome, with intervals: one row for each predictor."""
    rows: Sequence[Mapping[str, Any]] = result["correlations"]
    predictors = list(dict.fromkeys(row["predictor"] for row in rows))
    levels = list(dict.fromkeys(row["level"] for row in rows))
    style = {
        level: (own, place > 0) for place, (level, own) in enumerate(zip(levels, ("#0072B2", "#D55E00"), strict=False))
    }
    panels = []
    for outcome, title in OUTCOME_NAMES.items():
        own: dict[str, list[Dot]] = {name: [] for name in predictors}
        for row in (row for row in rows if row["outcome"] == outcome):
            colour, hollow = style[row["level"]]
            shift = 0.17 if hollow else -0.17
            dot = Dot(row["rho"], row["low"], row["high"], colour, "s" if hollow else "o", hollow, shift)
            own[row["predictor"]].append(dot)
        panels.append(
            DotPanel(title, "Spearman's rho", [DotRow(dots) for dots in own.values()], (-1.08, 1.08), zero=True)
        )
    keys = [
        Key(f"over {level}", *(style[level][0], "s" if style[level][1] else "o"), hollow=style[level][1])
        for level in levels
    ]
    return dot_chart(
        [name_of(name) for name in predictors], panels, keys=keys, columns=3, row_height=0.27, wide_first=1.0
    )
