"""Attacks on predictions compared: robust accuracies, and the agreement between implementations."""

from collections.abc import Mapping
from typing import Any

from jsep.record import readable
from jsep.report.table import Column, Table, make_table


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def strength_tables(result: Mapping[str, Any]) -> list[Table]:
    """The rows of an attack-strength result: accuracies, run times, and the reliability checks that were raised."""
    rows = []
    for row in result["rows"]:
        # The robust accuracy after each attack of an ensemble comes before the row of the ensemble.
        for name, accuracy in row.get("accuracy_after", {}).items():
            label = "clean" if name == "clean" else f"ensemble after {name}"
            rows.append([readable(row["model"]), label, row["by"], _percent(accuracy), "", ""])
        numbers = _percent(row["robust_accuracy"]), _percent(row.get("agreement")), f"{row['seconds']:.1f}"
        rows.append([readable(row["model"]), row["attack"], row["by"], *numbers])
    config = result["config"]
    notes = [
        f"{result['experiment']}: {result['num_images']} test images, {config['norm']} budget "
        f"{config['epsilon'] * 255:.3g}/255; {config['num_steps']} steps, {config['num_targets']} targets, "
        f"{config['num_queries']} queries, chunks of {config['chunk_size']}. Seconds include compiling.",
        *(_timing(timing) for timing in result["timings"]),
    ]
    for row in result["rows"]:
        if "checks" in row:
            raised = [check["sentence"] for check in row["checks"] if check["raised"]]
            notes.append(f"{readable(row['model'])}: {' '.join(raised) if raised else 'no automatic check is raised.'}")
    heads = [Column("robust acc.", "%"), Column("same verdict as jsep", "%"), Column("time", "s")]
    return [make_table(["model", "attack", "by", *heads], rows, notes=notes, num_names=3)]


def brief_strength(result: Mapping[str, Any]) -> Table:
    """One row for each model: robust accuracy under each attack of this package, and how far others agree."""
    own = [row for row in result["rows"] if row["by"] == "jsep"]
    attacks = list(dict.fromkeys(row["attack"] for row in own))
    rows = []
    for model in dict.fromkeys(row["model"] for row in own):
        accuracies = {row["attack"]: row["robust_accuracy"] for row in own if row["model"] == model}
        agreed = [row["agreement"] for row in result["rows"] if row["model"] == model and "agreement" in row]
        rows.append(
            [
                readable(model),
                *(_percent(accuracies.get(attack)) for attack in attacks),
                _percent(min(agreed, default=None)),
            ]
        )
    heads = [*(Column(attack, "%") for attack in attacks), Column("least agreement", "%")]
    note = f"Robust accuracy on {result['num_images']} test images; agreement: the same verdict on an image as others."
    return make_table(["model", *heads], rows, notes=(note,))


def _timing(timing: Mapping[str, Any]) -> str:
    own = timing["seconds"]["jsep"]
    others = "".join(
        f", {name} {seconds:.1f} s ({seconds / own:.2f} times as long)"
        for name, seconds in timing["seconds"].items()
        if name != "jsep"
    )
    return (
        f"The same work, {timing['num_steps']} steps of {timing['attack']} on {timing['num_images']} images of "
        f"{readable(timing['model'])} that withstand it, all compiled: jsep {own:.1f} s{others}."
    )
