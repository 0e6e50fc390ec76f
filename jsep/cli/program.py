"""Runs a script by its name."""

import importlib

from jsep.cli.scripts import SCRIPTS, defaults_of


def run(name: str) -> None:
    """Runs the script with the flags of this process."""
    from jsep.cli import command_line  # JAX and all that stands on it

    if SCRIPTS[name].kind:
        command_line.run_study(defaults_of(name), name)
    else:
        importlib.import_module(f"jsep.cli.{name}").start()
