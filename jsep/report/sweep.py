"""The progress of a sweep as text, and its failures."""

from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST_NAME = 60


def duration(seconds: float) -> str:
    """A duration in words.

    >>> duration(42.4), duration(90), duration(8000)
    ('42 s', '2 min', '2 h 13 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _name(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"


def sweep_counts(states: Sequence[Mapping[str, Any]], left: float | None) -> str:
    """One line: the number of runs in each state, and the time left (None: unknown yet)."""
    counts = {status: sum(state["status"] == status for state in states) for status in ("done", "skipped", "failed")}
    finished = counts["done"] + counts["skipped"]
    parts = [f"{finished} of {len(states)} done" + (f" ({counts['skipped']} before)" if counts["skipped"] else "")]
    parts.append(f"{counts['failed']} failed")
    parts.append(f"{sum(state['status'] == 'running' for state in states)} running")
    if finished + counts["failed"] < len(states):
        parts.append("time left not known yet" if left is None else f"about {duration(left)} left")
    return ", ".join(parts)


def sweep_table(states: Sequence[Mapping[str, Any]], now: float, left: float | None) -> str:
    """The counts, then a line for each running run (with its seconds) and each failed one (with its error)."""
    lines = [sweep_counts(states, left)]
    shown = [state for state in states if state["status"] in ("running", "failed")]
    width = max((len(_name(state["name"])) for state in shown), default=0)
    for state in shown:
        what = duration(now - state["started"]) if state["status"] == "running" else state["error"][:80]
        lines.append(f"  {state['status']:<8} {_name(state['name']):<{width}}  {what}")
    return "\n".join(lines)


def sweep_failures(states: Sequence[Mapping[str, Any]]) -> str:
    """Every failed run with its error line and its log; "" if none failed."""
    failed = [state for state in states if state["status"] == "failed"]
    lines = [f"{len(failed)} of {len(states)} runs failed:"] if failed else []
    for state in failed:
        lines += [f"  {state['name']}: {state['error']}", f"    log: {state['log']}"]
    return "\n".join(lines)
