"""The figures of a landscape analysis: slices, planes, spectra, curvature, correlations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jsep.report.landscape import (
    CURVATURES,
    OUTCOME_NAMES,
    QUANTITY_NAMES,
    SCALAR_NAMES,
    methods_of,
    name_of,
    number,
    scalars_of,
    unit_of,
)
from jsep.report.style import colours, drawing, marks, new_figure, plain

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
_DRAWN = ("gaussian", "rademacher")
_SINGLE_LINES = 40


def _lines_of(result: Mapping[str, Any], arrays: Arrays, method: str, scalar: str, direction: str) -> np.ndarray:
    """(lines, points), all images one after the other; values that are not finite are NaN."""
    values = np.asarray(arrays[f"{method}/{scalar}/lines"], np.float64)
    per_name = [result["config"]["num_directions"] if n in _DRAWN else 1 for n in result["directions"][scalar]]
    index = result["directions"][scalar].index(direction)
    start = sum(per_name[:index])
    chosen = values[:, start : start + per_name[index]].reshape(-1, values.shape[-1])
    return np.where(np.isfinite(chosen), chosen, np.nan)


def _band(axes: Axes, places: np.ndarray, lines: np.ndarray, colour: str, mark: str, label: str) -> None:
    """Mean of the lines, and the band from their 10 % to their 90 % quantile."""
    low, high = np.nanquantile(lines, (0.1, 0.9), axis=0)
    axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    every = max(1, len(places) // 6)
    axes.plot(
        places, np.nanmean(lines, axis=0), color=colour, marker=mark, markevery=every, markersize=4.5, label=label
    )


def slices(result: Mapping[str, Any], arrays: Arrays, scalar: str) -> Figure:
    """One function along lines: above one panel a method with single random lines, below one panel a direction."""
    methods = methods_of(result)
    colour, mark = colours(methods), marks(methods)
    scale, unit = unit_of(scalar)
    places = arrays["coordinates"]
    names = result["directions"][scalar]
    random = next((name for name in names if name in _DRAWN), None)
    others = [name for name in names if name != random]
    label = f"{SCALAR_NAMES[scalar]} [{unit}]"
    with drawing():
        rows = [row for row in (methods if random else [], others) if row]
        figure = new_figure(0.5 + 2.35 * len(rows))
        parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
        for part, row in zip(parts, rows, strict=True):
            grid = part.subplots(1, len(row), sharey=True, squeeze=False)[0]
            for axes, entry in zip(grid, row, strict=True):
                if row is methods and random:
                    lines = scale * _lines_of(result, arrays, entry, scalar, random)
                    step = max(1, len(lines) // _SINGLE_LINES)
                    axes.plot(places, lines[::step].T, color=colour[entry], linewidth=0.5, alpha=0.35)
                    _band(axes, places, lines, colour[entry], mark[entry], plain(entry))
                    axes.set_title(plain(entry, 16))
                    axes.set_xlabel(f"{DIRECTION_NAMES[random].split()[0]} [epsilon]", fontsize=8)
                else:
                    for method in methods:
                        lines = scale * _lines_of(result, arrays, method, scalar, entry)
                        _band(axes, places, lines, colour[method], mark[method], plain(method))
                    axes.set_title(DIRECTION_NAMES[entry])
                    axes.set_xlabel("distance [epsilon]")
                axes.margins(x=0.01)
            grid[0].set_ylabel(label, fontsize=8)
            if row is not methods or not others:
                grid[-1].legend(fontsize=7.5, loc="best")
    return figure


def planes(result: Mapping[str, Any], arrays: Arrays, scalar: str) -> Figure:
    """One function in the plane of the attack's path and a random direction: contours, one panel a method."""
    methods = methods_of(result)
    places, (scale, unit) = arrays["plane_coordinates"], unit_of(scalar)
    values = {m: np.ma.masked_invalid(scale * np.asarray(arrays[f"{m}/{scalar}/plane"], float)) for m in methods}
    low, high = min(v.min() for v in values.values()), max(v.max() for v in values.values())
    levels = np.linspace(low, high if high > low else low + 1.0, 13)
    with drawing():
        figure = new_figure(3.1)
        grid = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
        for axes, method in zip(grid, methods, strict=True):
            # Rows of the array are the attack's way: shown to the right.
            shown = axes.contourf(places, places, values[method].T, levels=levels, cmap="cividis")
            axes.contour(places, places, values[method].T, levels=levels, colors="white", linewidths=0.5)
            axes.plot([0], [0], "+", color="white", markersize=9, markeredgewidth=1.8)
            axes.set(title=plain(method, 20), xlabel="attack path [epsilon]", aspect="equal")
            axes.grid(visible=False)
        grid[0].set_ylabel("random direction [epsilon]")
        figure.colorbar(shown, ax=list(grid), label=f"{SCALAR_NAMES[scalar]}\n[{unit}]", shrink=0.85)
    return figure


def spectra(result: Mapping[str, Any], arrays: Arrays) -> Figure:
    """The spectral density of the Hessian of every function, by the share of eigenvalues in bins of a symmetric
    logarithmic axis."""
    methods, names = methods_of(result), scalars_of(result)
    colour = colours(methods)
    styles = dict(
        zip(methods, ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3))) * len(methods), strict=False)
    )
    with drawing():
        figure = new_figure(3.4)
        grid = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, scalar in zip(grid, names, strict=True):
            scale, unit = unit_of(scalar)
            nodes = {m: scale * np.asarray(arrays[f"{m}/{scalar}/spectrum_nodes"], float).ravel() for m in methods}
            largest = max(np.nanmax(np.abs(values)) for values in nodes.values()) or 1.0
            threshold = largest / 1000
            ends = np.concatenate(
                [-np.geomspace(largest * 1.05, threshold, 16), np.geomspace(threshold, largest * 1.05, 16)]
            )
            for method in methods:
                weights = np.asarray(arrays[f"{method}/{scalar}/spectrum_weights"], float).ravel()
                good = np.isfinite(nodes[method]) & np.isfinite(weights)
                share, _ = np.histogram(nodes[method][good], ends, weights=weights[good] / weights[good].sum())
                axes.stairs(
                    np.maximum(100 * share, 1e-4), ends, color=colour[method], linestyle=styles[method], linewidth=1.5,
                    label=plain(method), baseline=None,
                )  # fmt: skip
            axes.set_xscale("symlog", linthresh=threshold, linscale=0.6)
            axes.set_yscale("log")
            axes.set_ylim(1e-3, 150)
            axes.set_title(SCALAR_NAMES[scalar], fontsize=8.5)
            axes.set_xlabel(f"eigenvalue [{unit} / pixel unit²]", fontsize=8.5)
            axes.xaxis.set_major_locator(_symlog_ticks(threshold, largest))
        grid[0].set_ylabel("share of the spectrum a bin [%]")
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=7.5)
    return figure


def _symlog_ticks(threshold: float, largest: float) -> Any:
    from matplotlib.ticker import FixedLocator

    powers = 10.0 ** np.arange(np.ceil(np.log10(threshold)), np.floor(np.log10(largest)) + 1, 2)
    return FixedLocator([*(-powers[::-1]), 0.0, *powers])


def curvature(result: Mapping[str, Any]) -> Figure:
    """Every curvature number of every function: one row a function, one panel a number, one line a method."""
    methods, names = methods_of(result), scalars_of(result)
    colour, mark = colours(methods), marks(methods)
    with drawing():
        figure = new_figure(0.4 + len(names) * (0.9 + 0.2 * len(methods)))
        grid = figure.subplots(len(names), len(CURVATURES), squeeze=False)
        for row, scalar in zip(grid, names, strict=True):
            scale, unit = unit_of(scalar)
            for axes, quantity in zip(row, CURVATURES, strict=True):
                smallest = np.inf
                for height, method in enumerate(methods):
                    found = number(result, method, f"{scalar}/{quantity}")
                    if found is None:
                        continue
                    axes.errorbar(
                        scale * found.mean, height, xerr=scale * found.error, fmt=mark[method], color=colour[method],
                        markersize=5.5, capsize=3, elinewidth=1.2,
                    )  # fmt: skip
                    axes.plot(
                        scale * np.array(found.single), [height + 0.28] * len(found.single), "|", color=colour[method],
                        markersize=4,
                    )  # fmt: skip
                    smallest = min(smallest, scale * (found.mean - found.error))
                axes.set_ylim(len(methods) - 0.5, -0.5)
                axes.set_yticks(
                    range(len(methods)), [plain(m, 14) for m in methods] if axes is row[0] else [""] * len(methods)
                )
                axes.tick_params(axis="y", length=0)
                axes.tick_params(axis="x", labelsize=7)
                axes.grid(visible=False, axis="y")
                per = " / px²" if quantity in CURVATURES[:3] else ""
                axes.set_title(f"{QUANTITY_NAMES[quantity]}\n[{unit}{per}]", fontsize=8)
                axes.locator_params(axis="x", nbins=4)
                if smallest > 0:
                    axes.set_xlim(left=0)
            row[0].set_ylabel(SCALAR_NAMES[scalar].replace(" to the", "\nto the"), fontsize=8)
    return figure


def correlations(result: Mapping[str, Any]) -> Figure | None:
    """Rank correlation of every predictor with every outcome: a forest of intervals; None where there is none."""
    rows: Sequence[Mapping[str, Any]] = result["correlations"]
    if not rows:
        return None
    predictors = list(dict.fromkeys(row["predictor"] for row in rows))
    levels = list(dict.fromkeys(row["level"] for row in rows))
    with drawing():
        figure = new_figure(1.2 + 0.25 * len(predictors))
        grid = figure.subplots(1, len(OUTCOME_NAMES), sharey=True)
        for axes, (outcome, title) in zip(grid, OUTCOME_NAMES.items(), strict=True):
            for row in (row for row in rows if row["outcome"] == outcome):
                first = row["level"] == levels[0]
                height = predictors.index(row["predictor"]) + (-0.16 if first else 0.16)
                own = "#0072B2" if first else "#D55E00"
                axes.plot([row["low"], row["high"]], [height] * 2, color=own, linewidth=1.2)
                label = f"over {row['level']}" if row["predictor"] == predictors[0] else None
                face, mark = (own, "o") if first else ("white", "s")
                axes.plot([row["rho"]], [height], mark, color=own, markersize=4.5, markerfacecolor=face, label=label)
            axes.axvline(0, color="#555555", linewidth=0.8)
            axes.set(title=title, xlabel="Spearman's rho", xlim=(-1.08, 1.08), ylim=(len(predictors) - 0.4, -0.6))
            axes.tick_params(axis="y", length=0)
        grid[0].set_yticks(range(len(predictors)), [name_of(name) for name in predictors], fontsize=8)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
    return figure
