"""The same study in float32 and in bfloat16: every reported number and its change."""

from collections.abc import Mapping
from typing import Any

from jsep.evaluate import METRICS
from jsep.record import count, shift
from jsep.report.formatting import MISSING, minus
from jsep.report.shown import PRECISION, TRAIN_SECONDS
from jsep.report.table import Table, make_table

_FORMATS = ("float32", "bfloat16")


def precision_tables(result: Mapping[str, Any]) -> list[Table]:
    """Means over the seeds in both precisions, and their difference with its smallest and largest value over the seeds.

    The standard deviation of float32 over the seeds beside it shows the size of seed noise.
    """
    rows = []
    for method in dict.fromkeys(row["method"] for row in result["rows"]):
        own = [row for row in result["rows"] if row["method"] == method]
        shown = [(name, METRICS[name].title, METRICS[name].scale) for name in PRECISION]
        for name, title, scale in [*shown, (TRAIN_SECONDS, "training [s]", 1.0)]:
            moved = shift(own, "precision", _FORMATS, name, scale=scale)
            change, spread = f"{moved.difference:+.1f}", MISSING
            if len(moved.differences) > 1:
                change += f" ({min(moved.differences):+.1f} to {max(moved.differences):+.1f})"
                spread = f"{min(moved.spread):.1f} to {max(moved.spread):.1f}"
            numbers = [f"{moved.first:.1f}", f"{moved.second:.1f}", change, spread]
            rows.append([method, title, *map(minus, numbers)])
    config, seeds = result["config"], len({row["seed"] for row in result["rows"]})
    note = (
        f"{result['experiment']}: {config['dataset']}, {config['model']}, {config['epochs']} epochs, "
        f"{count(seeds, 'seed')}. Forward and backward passes of the training steps in the named format; "
        "parameters, optimiser and all tests in float32. The difference is bfloat16 less float32, seed by seed."
    )
    heads = ["method", "number", *_FORMATS, "difference", "float32 over seeds"]
    return [make_table(heads, rows, notes=(note,), num_names=2)]
