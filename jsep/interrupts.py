"""Ctrl-C and SIGTERM: handled at once, or after a piece of work that must not be cut in two."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

__all__ = ["Terminated", "deferred", "install", "raise_interrupt"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_received: list[int] = []


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM, as schedulers of clusters do."""


def raise_interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """The signal handler of a program: raises KeyboardInterrupt or `Terminated`; the second signal ends the process at
    once, without a traceback."""
    if _received:
        os._exit(128 + number)
    _received.append(number)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def install() -> None:
    """Makes `raise_interrupt` the handler of both signals, for a program; a library leaves them alone."""
    for number in SIGNALS:
        signal.signal(number, raise_interrupt)


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Delays a signal until the block ends, where the handler from before gets it; a second one is not delayed.

    Yields: () -> whether a signal has arrived, for a loop to end early. A signal without a Python handler is left
    alone, and so is everything outside of the main thread, which no signal reaches.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pending: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    handlers = {number: handler for number, handler in before.items() if callable(handler)}

    def note(number: int, frame: FrameType | None) -> None:
        if pending:
            _received.append(number)  # so that `raise_interrupt` ends the process
            handlers[signal.Signals(number)](number, frame)
        pending.append(number)

    for number in handlers:
        signal.signal(number, note)
    try:
        yield lambda: bool(pending)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if pending:
        handlers[signal.Signals(pending[0])](pending[0], None)
