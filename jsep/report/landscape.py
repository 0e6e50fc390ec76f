"""The numbers of a landscape analysis as tables."""

import math
from collections.abc import Mapping
from typing import Any

from jsep.evaluate import METRICS
from jsep.record import SeedMean, landscape_number, pixels_of_maps, readable
from jsep.report.formatting import MISSING, coefficient, minus
from jsep.report.shown import CLEAN, EFFECTIVE_PIXELS, LOSS_END, LOSS_START, REMOVED, ROBUST
from jsep.report.table import Cell, Column, Table, make_table

SCALAR_NAMES = {
    "cross_entropy": "cross-entropy",
    "margin": "margin",
    "explanation_to_target": "explanation loss to the target",
    "explanation_to_own": "explanation loss to the own map",
    "sep_term": "SEP term",
}
_SHORT_NAMES = {"explanation_to_target": "target loss", "explanation_to_own": "own-map loss"}
_BRIEF_NAMES = {
    "cross_entropy": "class.",
    "explanation_to_own": "expl.",
    "worst_sharpness": "rise",
    "top_eigenvalue": "curvature",
}
QUANTITY_NAMES = {
    "top_eigenvalue": "top eigenvalue",
    "trace": "trace",
    "frobenius_norm": "Frobenius norm",
    "average_sharpness": "average sharpness",
    "worst_sharpness": "worst sharpness",
    "jacobian_spectral_norm": "spectral norm of the map's Jacobian",
    "jacobian_frobenius_norm": "Frobenius norm of the map's Jacobian",
    "local_lipschitz": "local Lipschitz estimate",
    LOSS_START: "explanation loss before the attack",
    EFFECTIVE_PIXELS: "effective pixels",
}
OUTCOME_NAMES = {
    LOSS_END: "loss that the attack leaves",
    REMOVED: "share that the attack removes",
    "moved": "how far the own map moved",
}
CURVATURES = ("top_eigenvalue", "trace", "frobenius_norm", "average_sharpness", "worst_sharpness")
_OF_MAP = ("jacobian_spectral_norm", "jacobian_frobenius_norm", "local_lipschitz")
_OF_MODEL = (CLEAN, ROBUST, LOSS_START, LOSS_END, REMOVED)
_BARE = {"cross_entropy": "nats", "margin": "logits"}
"""The functions that are not explanation losses, and therefore displayed as they are."""


def unit_of(result: Mapping[str, Any], scalar: str) -> tuple[float, str]:
    """Factor and unit in which the values of a function are displayed."""
    if scalar in _BARE:
        return 1.0, _BARE[scalar]
    loss = METRICS[LOSS_END].of_maps(pixels_of_maps(result))
    return loss.scale, loss.unit


def name_of(predictor: str) -> str:
    """A predictor in words: "explanation_to_own/trace" -> "own-map loss: trace"."""
    scalar, _, quantity = predictor.rpartition("/")
    short = _SHORT_NAMES.get(scalar, SCALAR_NAMES.get(scalar, ""))
    words = QUANTITY_NAMES.get(quantity, quantity)
    return f"{short}: {words}" if short else words


def methods_of(result: Mapping[str, Any]) -> list[str]:
    """The methods in the order of the rows."""
    return list(dict.fromkeys(row["method"] for row in result["rows"]))


def scalars_of(result: Mapping[str, Any]) -> list[str]:
    """The scalar functions in the order of the analysis."""
    return list(result["directions"])


def digits(value: float) -> str:
    """A number with three significant digits and a true minus sign."""
    if not math.isfinite(value):
        return MISSING
    size = abs(value)
    if value == 0:
        return "0"
    if 1e-3 <= size < 1e5:
        return minus(f"{value:.{max(0, 2 - math.floor(math.log10(size)))}f}")
    return minus(f"{value:.2e}")


def _cell(found: SeedMean | None, scale: float = 1.0) -> Cell:
    if found is None:
        return Cell(MISSING)
    spread = f"± {digits(scale * found.error)}" if found.error else ""
    return Cell(digits(scale * found.mean), spread, value=found.mean)


def describe_slices(result: Mapping[str, Any]) -> str:
    """Directions, normalisation and extent of the slices in one sentence, for every caption."""
    config = result["config"]
    outside = {
        "clip": "points outside [0, 1] are clipped to it",
        "warn": "points outside [0, 1] are evaluated where they are",
    }[config.get("out_of_range", config.get("outside"))]
    share = max(row["share_outside"] for row in result["rows"])
    non_finite = sum(row["num_non_finite"] for row in result["rows"])
    masked = f"; {non_finite} values were not finite and are masked" if non_finite else "; all values finite"
    return (
        f"Every direction has {'linf' if result['norm'] == 'linf' else 'l2'} size epsilon = "
        f"{255 * result['epsilon']:.3g}/255, the unit of the axis, which runs to ±{config['extent']:g}; {outside} "
        f"(up to {100 * share:.0f} % of the entries on average at one place){masked}."
    )


def model_table(result: Mapping[str, Any]) -> Table:
    """One row for each method: accuracies and the result of the attack."""
    shown = [METRICS[name].of_maps(pixels_of_maps(result)) for name in _OF_MODEL]
    rows = [
        [readable(method), *(_cell(landscape_number(result, method, each.name), each.scale) for each in shown)]
        for method in methods_of(result)
    ]
    columns = ["method", *(Column(each.heading, each.unit) for each in shown)]
    return make_table(columns, rows, title="The models under attack")


def brief_landscape(result: Mapping[str, Any]) -> Table:
    """One row for each method: robust accuracy, loss at the end, and how steep and curved both landscapes are."""
    methods = methods_of(result)
    shown = [METRICS[name].of_maps(pixels_of_maps(result)) for name in (ROBUST, LOSS_END)]
    columns: list[str | Column] = ["method", *(Column(each.heading, each.unit) for each in shown)]
    numbers = [(each.name, each.scale) for each in shown]
    for scalar in (each for each in ("cross_entropy", "explanation_to_own") if each in scalars_of(result)):
        scale, unit = unit_of(result, scalar)
        for quantity in ("worst_sharpness", "top_eigenvalue"):
            columns.append(Column(f"{_BRIEF_NAMES[scalar]} {_BRIEF_NAMES[quantity]}", unit))
            numbers.append((f"{scalar}/{quantity}", scale))
    rows = [[readable(method), *(_cell(landscape_number(result, method, key), scale) for key, scale in numbers)]
            for method in methods]  # fmt: skip
    seeds = max(sum(row["method"] == method for row in result["rows"]) for method in methods)
    spread = f"std over {seeds} seeds" if seeds > 1 else "standard error over the images; one seed"
    note = f"{result['study'].get('dataset', 'unknown data')}; {result['num_images']} images; ± {spread}. "
    note += (
        "Of the classification and the explanation loss around an image: the largest rise in the ball, and the top "
        "eigenvalue of the Hessian."
    )
    return make_table(columns, rows, notes=(note,))


def curvature_table(result: Mapping[str, Any]) -> Table:
    """One row for each function and method."""
    rows: list[list[str | Cell]] = []
    for scalar in scalars_of(result):
        scale, unit = unit_of(result, scalar)
        for method in methods_of(result):
            numbers = (landscape_number(result, method, f"{scalar}/{quantity}") for quantity in CURVATURES)
            rows.append(
                [f"{SCALAR_NAMES[scalar]} [{unit}]", readable(method), *(_cell(found, scale) for found in numbers)]
            )
    for quantity in _OF_MAP:
        for method in methods_of(result):
            found = _cell(landscape_number(result, method, f"map/{quantity}"))
            rows.append([QUANTITY_NAMES[quantity], readable(method), found, *[MISSING] * (len(CURVATURES) - 1)])
    columns = ["function", "method", *(QUANTITY_NAMES[quantity] for quantity in CURVATURES)]
    return make_table(columns, rows, num_names=2, title="Curvature and sharpness in the image")


def correlation_table(result: Mapping[str, Any]) -> Table:
    """One row for each predictor: rho with its interval against every outcome, over images and over models."""
    found = {(row["predictor"], row["outcome"], row["level"]): row for row in result["correlations"]}
    levels = list(dict.fromkeys(row["level"] for row in result["correlations"]))
    rows = []
    for predictor in dict.fromkeys(row["predictor"] for row in result["correlations"]):
        own = (found[predictor, outcome, level] for outcome in OUTCOME_NAMES for level in levels)
        rows.append([name_of(predictor), *(coefficient(row["rho"], row["low"], row["high"]) for row in own)])
    columns = ["predictor", *(f"{name}, over {level}" for name in OUTCOME_NAMES.values() for level in levels)]
    count = len(result["rows"])
    note = (
        f"Spearman's rho with 95 % bootstrap interval over the {result['num_images']} images. Over images: within "
        f"each of the {count} models, averaged. Over models: of the means of the {count} models, which stay as "
        "they are, so the interval says what other images would give and nothing about other models."
    )
    return make_table(columns, rows, title="What predicts the attack?", notes=(note,))


def landscape_tables(result: Mapping[str, Any]) -> list[Table]:
    """The tables of a landscape analysis, with notes that define their quantities."""
    seeds = max(sum(row["method"] == method for row in result["rows"]) for method in methods_of(result))
    spread = f"standard deviation over {seeds} seeds" if seeds > 1 else "standard error over the images; one seed"
    about = (
        f"{result['experiment']}: {result['study']['dataset']}; {result['num_images']} images; ± {spread} (accuracies "
        "of one seed have none). Top eigenvalue (the largest in size), trace and Frobenius norm of the input Hessian "
        f"are per squared pixel unit; sharpness is the rise of the function in the {result['norm']} ball of "
        f"{255 * result['epsilon']:.3g}/255; the map's norms are per pixel unit."
    )
    curvature = curvature_table(result)
    tables = [
        model_table(result),
        make_table(curvature.columns, curvature.rows, num_names=2, title=curvature.title, notes=(about,)),
    ]
    return [*tables, correlation_table(result)] if result["correlations"] else tables
