"""The commands that start or continue runs of a script, depending on the state of each run's directory."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsep import study
from jsep.checks import InputError
from jsep.cli.scripts import SCRIPTS


def own_script(name: str) -> Path:
    """The file of a script of the user's own, experiments/<name>.py.

    Raises: InputError where it does not exist and is no script of jsep either.
    """
    path = Path("experiments") / f"{name}.py"
    if name not in SCRIPTS and not path.is_file():
        raise InputError(f"{path} does not exist; give the name of a script, such as digits_sep")
    return path


def program(name: str) -> list[str]:
    """How this interpreter runs a script, before its flags."""
    path = own_script(name)
    return [sys.executable, "-m", "jsep.cli", name] if name in SCRIPTS else [sys.executable, str(path)]


def shown(command: Sequence[str]) -> list[str]:
    """A command as a person types it."""
    return ["jsep", *command[3:]] if list(command[1:3]) == ["-m", "jsep.cli"] else ["python", *command[1:]]


def states(script: str, runs: Sequence[study.PlannedRun]) -> dict[str, dict[str, Any]]:
    """name -> state of each run's directory, for the configuration that the script's own flags give."""
    own_script(script)
    asked = [{"name": run.name, "run_dir": str(run.run_dir), "arguments": run.arguments} for run in runs]
    reading = [sys.executable, "-m", "jsep.cli.sweep_states", script]
    done = subprocess.run(reading, input=json.dumps(asked), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise InputError(last.removeprefix("error: "))
    return {found["name"]: found for found in json.loads(done.stdout)}


def command(script: str, run: study.PlannedRun, found: dict[str, Any], overwrite: bool) -> list[str]:
    """The command of a run whose directory is in the state `found`."""
    # Without `overwrite`, --resume makes the script report how the other run differs, and nothing is lost.
    how = "--overwrite" if found["state"] == "other" and overwrite else "--resume"
    return [*program(script), *run.arguments, f"--run_dir={run.run_dir}", how]
