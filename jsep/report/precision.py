"""The same study in float32 and in bfloat16: every reported number and its change."""

from collections.abc import Mapping
from typing import Any

from jsep.evaluate import METRICS
from jsep.record import count, pixels_of_maps, readable, shift
from jsep.report.formatting import MISSING, minus
from jsep.report.shown import PRECISION, TRAIN_SECONDS
from jsep.report.table import Table, make_table

_FORMATS = ("float32", "bfloat16")


def precision_tables(result: Mapping[str, Any]) -> list[Table]:
    """Means over the seeds in both precisions, and their difference with its smallest and largest value over the seeds.

    The standard deviation of float32 over the seeds beside it shows the size of seed noise.
    """
    metrics = {name: METRICS[name].of_maps(pixels_of_maps(result)) for name in PRECISION}
    rows = []
    for method in dict.fromkeys(row["method"] for row in result["rows"]):
        own = [row for row in result["rows"] if row["method"] == method]
        shown = [(name, metric.title, metric.scale, 3 if metric.is_loss else 1) for name, metric in metrics.items()]
        for name, title, scale, places in [*shown, (TRAIN_SECONDS, "training [s]", 1.0, 1)]:
            moved = shift(own, "precision", _FORMATS, name, scale=scale)
            change, spread = f"{moved.difference:+.{places}f}", MISSING
            if len(moved.differences) > 1:
                change += f" ({min(moved.differences):+.{places}f} to {max(moved.differences):+.{places}f})"
                spread = f"{min(moved.spread):.{places}f} to {max(moved.spread):.{places}f}"
            numbers = [f"{moved.first:.{places}f}", f"{moved.second:.{places}f}", change, spread]
            rows.append([readable(method), title, *map(minus, numbers)])
    config, seeds = result["config"], len({row["seed"] for row in result["rows"]})
    note = (
        f"{result['experiment']}: {config['dataset']}, {config['model']}, {config['epochs']} epochs, "
        f"{count(seeds, 'seed')}. Forward and backward passes of the training steps in the named format; "
        "parameters, optimiser and all tests in float32. The difference is bfloat16 less float32, seed by seed."
    )
    heads = ["method", "number", *_FORMATS, "difference", "float32 over seeds"]
    return [make_table(heads, rows, notes=(note,), num_names=2)]
