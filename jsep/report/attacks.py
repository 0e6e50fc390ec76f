"""Tables of the attacks on explanations: attacks side by side, members of the ensemble, pairs near the boundary."""

from collections.abc import Mapping, Sequence
from typing import Any


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], num_words: int = 2) -> str:
    marks = ["---"] * num_words + ["---:"] * (len(titles) - num_words)
    lines = ["| " + " | ".join(titles) + " |", "|" + "|".join(marks) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _loss(value: float) -> str:
    return f"{1e7 * value:.4g}"


def _share(value: float) -> str:
    return f"{100 * value:.1f}".replace("-", "−")


def attack_tables(result: Mapping[str, Any]) -> str:
    """Three Markdown tables and the warnings of a result of kind "explanation_attacks"."""
    attacks = _table(
        ["model", "attack", "loss at start [1e-7]", "loss at end [1e-7]", "removed [%]", "cosine end", "label kept [%]",
         "not moved", "seconds"],
        [
            [row["model"], row["attack"], _loss(row["explanation_loss_start"]), _loss(row["explanation_loss_end"]),
             _share(row["relative_reduction"]), f"{row['cosine_end']:.3f}", _share(row["label_kept"]),
             f"{row['unmoved_pairs']} of {row['num_pairs']}", f"{row['seconds']:.0f}"]
            for row in result["rows"]
        ],
    )  # fmt: skip
    members = _table(
        ["model", "member", "alone [1e-7]", "all others [1e-7]", "all [1e-7]", "adds [% of start]", "best on pairs"],
        [
            [row["model"], row["member"], _loss(row["loss_alone"]), _loss(row["loss_without"]), _loss(row["loss_all"]),
             f"{100 * (row['loss_without'] - row['loss_all']) / row['loss_start']:.3f}", str(row["best_on"])]
            for row in result["members"]
        ],
    )  # fmt: skip
    near = _table(
        ["model", "attack", "removed [%]", "least removed [%]", "not moved"],
        [
            [row["model"], row["attack"], _share(row["relative_reduction"]), _share(row["smallest_reduction"]),
             f"{row['unmoved_pairs']} of {row['num_pairs']}"]
            for row in result["near_boundary"]
        ],
    )  # fmt: skip
    said = [f"- {model}: {line}" for model, lines in result["warnings"].items() for line in lines]
    return "\n\n".join(
        [
            "Attacks on the study's pairs:",
            attacks,
            "Members of the ensemble: the mean loss that each reaches alone (one that continues stands on those before "
            "it), that all the others reach, and that all reach:",
            members,
            "Victims with the smallest lead of the predicted class:",
            near,
            "Warnings:\n\n" + ("\n".join(said) or "none"),
        ]
    )
