"""The numbers of a landscape analysis: over the seeds of each method, and as tables."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

SCALAR_NAMES = {
    "cross_entropy": "cross-entropy",
    "margin": "margin",
    "explanation_to_target": "explanation loss to the target",
    "explanation_to_own": "explanation loss to the own map",
    "sep_term": "SEP term",
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
    "explanation_loss_start": "explanation loss before the attack",
    "effective_pixels": "effective pixels",
}
OUTCOME_NAMES = {
    "explanation_loss_end": "loss that the attack leaves",
    "relative_reduction": "share that the attack removes",
    "moved": "how far the own map moved",
}
CURVATURES = ("top_eigenvalue", "trace", "frobenius_norm", "average_sharpness", "worst_sharpness")
BARE = frozenset({"cross_entropy", "margin"})
"""The functions whose values are not explanation losses, and not shown x 1e-7."""


def unit_of(scalar: str) -> tuple[float, str]:
    """Factor and unit in which the values of a function are shown."""
    return (1.0, "nats" if scalar == "cross_entropy" else "logits") if scalar in BARE else (1e7, "1e-7")


def name_of(predictor: str) -> str:
    """A predictor in words: "explanation_to_own/trace" -> "own map: trace"."""
    scalar, _, quantity = predictor.rpartition("/")
    short = {"explanation_to_target": "target loss", "explanation_to_own": "own-map loss"}.get(
        scalar, SCALAR_NAMES.get(scalar, "")
    )
    words = QUANTITY_NAMES.get(quantity, quantity)
    return f"{short}: {words}" if short else words


@dataclasses.dataclass(frozen=True)
class Number:
    """A number of a method: mean over its seeds; error: standard deviation over the seeds, or with one seed the
    standard error over the images; single: the seeds."""

    mean: float
    error: float
    single: tuple[float, ...]


def methods_of(result: Mapping[str, Any]) -> list[str]:
    """The methods in the order of the rows."""
    return list(dict.fromkeys(row["method"] for row in result["rows"]))


def num_seeds(result: Mapping[str, Any]) -> int:
    """The seeds of the method that has most."""
    return max(sum(row["method"] == method for row in result["rows"]) for method in methods_of(result))


def number(result: Mapping[str, Any], method: str, key: str) -> Number | None:
    """The number `key` of the rows of one method, or None where no row has it."""
    rows = [row for row in result["rows"] if row["method"] == method]
    entries = [row["numbers"][key] if key in row["numbers"] else row.get(key) for row in rows]
    entries = [entry for entry in entries if entry is not None]
    if not entries:
        return None
    values = [float(entry["mean"] if isinstance(entry, Mapping) else entry) for entry in entries]
    mean = math.fsum(values) / len(values)
    if len(values) > 1:
        error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    else:
        error = float(entries[0]["standard_error"]) if isinstance(entries[0], Mapping) else 0.0
    return Number(mean, error, tuple(values))


def scalars_of(result: Mapping[str, Any]) -> list[str]:
    """The scalar functions in the order of the analysis."""
    return list(result["directions"])


def digits(value: float) -> str:
    """Three significant digits, with a true minus."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if value == 0:
        return "0"
    if 1e-3 <= size < 1e5:
        decimals = max(0, 2 - math.floor(math.log10(size)))
        return f"{value:.{decimals}f}".replace("-", "−")
    return f"{value:.2e}".replace("-", "−")


def cell(found: Number | None, scale: float = 1.0) -> str:
    """mean ± error."""
    if found is None:
        return "–"
    error = f" ± {digits(scale * found.error)}" if found.error else ""
    return digits(scale * found.mean) + error


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(titles) + " |", "|---" + "|---:" * (len(titles) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def describe_slices(result: Mapping[str, Any]) -> str:
    """Directions, normalisation and extent in one sentence, for every caption."""
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


def model_table(result: Mapping[str, Any]) -> str:
    """A row for each method: accuracies, the attack, and the curvature of every function."""
    titles = [
        "method", "clean acc. [%]", "robust acc. [%]", "loss at start [1e-7]", "loss at end [1e-7]", "removed [%]"
    ]  # fmt: skip
    columns: list[tuple[str, float]] = [
        ("clean_accuracy", 100.0), ("robust_accuracy", 100.0), ("explanation_loss_start", 1e7),
        ("explanation_loss_end", 1e7), ("relative_reduction", 100.0),
    ]  # fmt: skip
    rows = [
        [method, *(cell(number(result, method, key), scale) for key, scale in columns)] for method in methods_of(result)
    ]
    return _table(titles, rows)


def curvature_table(result: Mapping[str, Any]) -> str:
    """A row for each function and method."""
    titles = ["function", "method", *(QUANTITY_NAMES[quantity] for quantity in CURVATURES)]
    rows = []
    for scalar in scalars_of(result):
        scale, unit = unit_of(scalar)
        for method in methods_of(result):
            numbers = (number(result, method, f"{scalar}/{quantity}") for quantity in CURVATURES)
            rows.append([f"{SCALAR_NAMES[scalar]} [{unit}]", method, *(cell(found, scale) for found in numbers)])
    for quantity in ("jacobian_spectral_norm", "jacobian_frobenius_norm", "local_lipschitz"):
        for method in methods_of(result):
            found = cell(number(result, method, f"map/{quantity}"))
            rows.append([QUANTITY_NAMES[quantity], method, found, *["–"] * (len(CURVATURES) - 1)])
    return _table(titles, rows)


def correlation_table(result: Mapping[str, Any]) -> str:
    """A row for each predictor: rho with its interval against every outcome, over images and over models."""
    found = {(row["predictor"], row["outcome"], row["level"]): row for row in result["correlations"]}
    levels = list(dict.fromkeys(row["level"] for row in result["correlations"]))
    titles = ["predictor"] + [f"{OUTCOME_NAMES[o]}, over {level}" for o in OUTCOME_NAMES for level in levels]
    rows = []
    for predictor in dict.fromkeys(row["predictor"] for row in result["correlations"]):
        cells = []
        for outcome in OUTCOME_NAMES:
            for level in levels:
                row = found[predictor, outcome, level]
                text = f"{row['rho']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
                cells.append(text.replace("-", "−"))
        rows.append([name_of(predictor), *cells])
    return _table(titles, rows)


def landscape_table(result: Mapping[str, Any]) -> str:
    """The tables of the analysis as Markdown, and what their numbers are."""
    seeds = num_seeds(result)
    spread = f"standard deviation over {seeds} seeds" if seeds > 1 else "standard error over the images; one seed"
    count = len(result["rows"])
    parts = [
        model_table(result),
        curvature_table(result),
        f"{result['experiment']}: {result['study']['dataset']}; {result['num_images']} images; ± {spread} (accuracies "
        "of one seed have none). Top eigenvalue (the largest in size), trace and Frobenius norm of the input Hessian "
        "are per squared pixel unit; "
        f"sharpness is the rise of the function in the {result['norm']} ball of {255 * result['epsilon']:.3g}/255; the "
        "map's norms are per pixel unit.",
    ]
    if result["correlations"]:
        parts += [
            correlation_table(result),
            f"Spearman's rho with 95 % bootstrap interval over the {result['num_images']} images. Over images: within "
            f"each of the {count} models, averaged. Over models: of the means of the {count} models, which stay as "
            "they are, so the interval says what other images would give and nothing about other models.",
        ]
    return "\n\n".join(parts) + "\n"
