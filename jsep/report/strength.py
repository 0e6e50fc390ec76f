"""Attacks on predictions side by side: robust accuracies, and how far implementations agree."""

from collections.abc import Mapping
from typing import Any


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def strength_table(result: Mapping[str, Any]) -> str:
    """The rows of an attack-strength result as Markdown: accuracies, timings, raised checks."""
    lines = [
        _line("model", "attack", "by", "robust acc. [%]", "same verdict as jsep [%]", "seconds"),
        "|---|---|---|---:|---:|---:|",
    ]
    for row in result["rows"]:
        # What an ensemble left after each of its attacks stands before its own row.
        for name, accuracy in row.get("accuracy_after", {}).items():
            label = "clean" if name == "clean" else f"ensemble after {name}"
            lines.append(_line(row["model"], label, row["by"], _percent(accuracy), "", ""))
        numbers = _percent(row["robust_accuracy"]), _percent(row.get("agreement")), f"{row['seconds']:.1f}"
        lines.append(_line(row["model"], row["attack"], row["by"], *numbers))
    texts = ["\n".join(lines)]
    config = result["config"]
    texts.append(
        f"{result['experiment']}: {result['num_images']} test images, {config['norm']} budget "
        f"{config['epsilon'] * 255:.3g}/255; {config['num_steps']} steps, {config['num_targets']} targets, "
        f"{config['num_queries']} queries, chunks of {config['chunk_size']}. Seconds include compiling."
    )
    for timing in result["timings"]:
        own = timing["seconds"]["jsep"]
        others = ", ".join(
            f"{name} {seconds:.1f} s ({seconds / own:.2f} times as long)"
            for name, seconds in timing["seconds"].items()
            if name != "jsep"
        )
        texts.append(
            f"The same work, {timing['num_steps']} steps of {timing['attack']} on {timing['num_images']} images of "
            f"{timing['model']} that withstand it, all compiled: jsep {own:.1f} s{', ' if others else ''}{others}."
        )
    for row in result["rows"]:
        raised = [check["sentence"] for check in row.get("checks", []) if check["raised"]]
        if "checks" in row:
            said = " ".join(raised) if raised else "no automatic check is raised."
            texts.append(f"{row['model']}: {said}")
    return "\n\n".join(texts) + "\n"
