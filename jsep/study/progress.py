"""How far a long evaluation is, and how long it still takes."""

import collections
import time
from collections.abc import Callable
from typing import Any

OnProgress = Callable[[str, dict[str, Any]], None]
"""(what is being done, the newest record, {"unit", "num_units", "of"} at the beginning of one of several equal parts,
or {})."""

_WINDOW = 20


class StepCounter:
    """Adds up the steps, images or pairs that a loop reports, and hands them on with the seconds that are left.

    One object for a whole run: with another callback the same compiled attack would be compiled again. The speed is
    that of the last reports, so that neither compiling nor what was read back from disk counts for long.
    """

    def __init__(self, progress: OnProgress) -> None:
        self._progress = progress
        self.begin("", 0)

    def begin(self, what: str, total: int) -> None:
        """The steps that follow belong to `what`."""
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
