"""The same study in float32 and in bfloat16: every reported number, and how far it moved."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jsep.report.columns import LOSS_SCALE

# (key, heading, scale, decimals)
_SHOWN = (
    ("clean_accuracy", "clean acc. [%]", 100.0, 1),
    ("robust_accuracy", "robust acc. [%]", 100.0, 1),
    ("explanation_loss_start", "loss at start [1e-7]", LOSS_SCALE, 1),
    ("explanation_loss_end", "loss at end [1e-7]", LOSS_SCALE, 1),
    ("relative_reduction", "removed [%]", 100.0, 1),
    ("effective_pixels", "effective pixels [px]", 1.0, 1),
    ("noise_sensitivity", "map change under noise [%]", 100.0, 1),
    ("train_seconds", "training [s]", 1.0, 1),
)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def precision_table(result: Mapping[str, Any]) -> str:
    """The rows of a precision result as Markdown: means over the seeds in both precisions, and their difference.

    The difference is the mean over the seeds of bfloat16 less float32, with the smallest and the largest where there is
    more than one seed; beside it the spread of float32 over the seeds says what chance alone does.
    """
    rows = result["rows"]
    lines = [
        "| method | number | float32 | bfloat16 | difference | float32 over seeds |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        by_precision = {
            precision: {row["seed"]: row for row in rows if (row["method"], row["precision"]) == (method, precision)}
            for precision in ("float32", "bfloat16")
        }
        seeds = sorted(set.intersection(*(set(found) for found in by_precision.values())))
        for key, heading, scale, decimals in _SHOWN:
            high, low = ([scale * float(found[seed][key]) for seed in seeds] for found in by_precision.values())
            differences = [b - a for a, b in zip(high, low, strict=True)]
            moved, spread = f"{_mean(differences):+.{decimals}f}", "–"
            if len(seeds) > 1:
                moved += f" ({min(differences):+.{decimals}f} to {max(differences):+.{decimals}f})"
                spread = f"{min(high):.{decimals}f} to {max(high):.{decimals}f}"
            cells = [method, heading, f"{_mean(high):.{decimals}f}", f"{_mean(low):.{decimals}f}", moved, spread]
            lines.append("| " + " | ".join(cells) + " |")
    config, num_seeds = result["config"], len({row["seed"] for row in rows})
    lines += [
        "",
        f"{result['experiment']}: {config['dataset']}, {config['model']}, {config['epochs']} epochs, {num_seeds} "
        f"seed{'s' if num_seeds > 1 else ''}. Forward and backward passes of the training steps in the named format; "
        "parameters, optimiser and all tests in float32. The difference is bfloat16 less float32, seed by seed.",
    ]
    return "\n".join(lines) + "\n"
