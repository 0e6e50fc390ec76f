"""Progress of long evaluations, and the remaining time."""

import collections
import time
from collections.abc import Callable
from typing import Any

OnProgress = Callable[[str, dict[str, Any]], None]
"""(current activity, newest record): the record is {"unit", "num_units", "of"} at the start of one of several equal
parts, or {}."""

_WINDOW = 20


class StepCounter:
    """Sums the steps, images or pairs that a loop reports, and reports progress with the seconds that remain.

    One object serves the whole run, since a new callback would recompile the same attack. The speed is that of the
    latest reports, so that compilation and results read from disk distort it only briefly.
    """

    def __init__(self, progress: OnProgress) -> None:
        self._progress = progress
        self.begin("", 0)

    def begin(self, what: str, total: int) -> None:
        """Starts the count of `total` steps of the activity `what`."""
        self._what, self._total, self._done = what, total, 0
        self._seen: collections.deque[tuple[float, int]] = collections.deque(maxlen=_WINDOW)

    def __call__(self, count: Any) -> None:
        self._done = min(self._done + int(count), self._total)
        self._seen.append((time.perf_counter(), self._done))
        record: dict[str, Any] = {"step": self._done, "num_steps": self._total}
        (first, before), (last, now) = self._seen[0], self._seen[-1]
        if now > before and last > first:
            record["seconds_left"] = (self._total - now) * (last - first) / (now - before)
        self._progress(self._what, record)
