"""Runs a script by its name."""

import importlib
import signal
import sys
from pathlib import Path

from jsep.cli.scripts import SCRIPTS, asks_for_help, defaults_of, description

HELP_PAGES = Path(__file__).parent / "help"
"""The flags of every script, NAME.txt, as `help_text` writes them: --help and a mistyped flag cost no import of JAX."""


def run(name: str) -> None:
    """Runs the script with the flags of this process, or shows its help."""
    page = HELP_PAGES / f"{name}.txt"
    if asks_for_help(sys.argv) and page.exists():
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
        print(description(name), page.read_text(encoding="utf-8"), sep="\n\n", end="")
        return
    if page.exists():
        from jsep.cli import flag_errors  # absl, which --help does without

        flag_errors.parse_by_page(page.read_text(encoding="utf-8"), sys.argv, takes_arguments=not SCRIPTS[name].kind)
    start(name)


def start(name: str) -> None:
    """Runs the script with the flags of this process."""
    from jsep.cli import command_line  # JAX and all that stands on it

    if SCRIPTS[name].kind:
        command_line.run_study(defaults_of(name), name)
    else:
        importlib.import_module(f"jsep.cli.{name}").start()
