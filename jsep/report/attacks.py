"""Attacks on explanations compared, the members of the ensemble, and pairs near the decision boundary."""

from collections.abc import Mapping, Sequence
from typing import Any

from jsep.evaluate import METRICS, Metric
from jsep.record import pixels_of_maps, readable
from jsep.report.formatting import metric_number
from jsep.report.shown import COSINE_END, LABEL_KEPT, LOSS_END, LOSS_START, REMOVED
from jsep.report.table import Column, Table, make_table

_SHOWN = (LOSS_START, LOSS_END, REMOVED, COSINE_END, LABEL_KEPT)
_OF_MEMBER = ("loss_alone", "loss_without", "loss_all")


def _columns(metrics: Sequence[Metric]) -> list[Column]:
    return [Column(metric.heading, metric.unit) for metric in metrics]


def attack_tables(result: Mapping[str, Any]) -> list[Table]:
    """Three tables and the warnings of a result of kind "explanation_attacks"."""
    pixels = pixels_of_maps(result)
    shown = [METRICS[name].of_maps(pixels) for name in _SHOWN]
    loss, removed = (METRICS[name].of_maps(pixels) for name in (LOSS_END, REMOVED))
    unit = loss.unit
    attacks = [
        [readable(row["model"]), row["attack"], *(metric_number(row[each.name], each) for each in shown),
         f"{row['unmoved_pairs']} of {row['num_pairs']}", f"{row['seconds']:.0f}"]
        for row in result["rows"]
    ]  # fmt: skip
    members = [
        [readable(row["model"]), row["member"], *(metric_number(row[key], loss) for key in _OF_MEMBER),
         f"{100 * (row['loss_without'] - row['loss_all']) / row['loss_start']:.3f}", str(row["best_on"])]
        for row in result["members"]
    ]  # fmt: skip
    near = [
        [readable(row["model"]), row["attack"],
         *(metric_number(row[key], removed) for key in (REMOVED, "smallest_reduction")),
         f"{row['unmoved_pairs']} of {row['num_pairs']}"]
        for row in result["near_boundary"]
    ]  # fmt: skip
    said = tuple(f"Warning, {readable(model)}: {line}" for model, lines in result["warnings"].items() for line in lines)
    heads = [
        Column("alone", unit), Column("all others", unit), Column("all", unit), Column("adds", "% of start"),
        "best on pairs",
    ]  # fmt: skip
    return [
        make_table(
            ["model", "attack", *_columns(shown), "not moved", Column("time", "s")],
            attacks,
            title="Attacks on the study's pairs",
            num_names=2,
        ),
        make_table(
            ["model", "member", *heads],
            members,
            title="Members of the ensemble",
            notes=(
                "The mean loss that each reaches alone (one that continues stands on those before it), that all the "
                "others reach, and that all reach.",
            ),
            num_names=2,
        ),
        make_table(
            ["model", "attack", *_columns([removed]), Column("least removed", "%"), "not moved"],
            near,
            title="Victims with the smallest lead of the predicted class",
            notes=said or ("No warnings.",),
            num_names=2,
        ),
    ]
