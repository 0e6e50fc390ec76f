"""The commands that start or continue runs of a script, depending on the state of each run's directory."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence

from jsep import study
from jsep.checks import InputError

EXPERIMENTS = pathlib.Path(__file__).parent


def states(script: str, runs: Sequence[study.PlannedRun]) -> dict[str, dict]:
    """name -> state of each run's directory, for the configuration that the script's own flags give."""
    if not (EXPERIMENTS / f"{script}.py").is_file():
        raise InputError(f"experiments/{script}.py does not exist; give the name of a script, such as digits_sep")
    asked = [{"name": run.name, "run_dir": str(run.run_dir), "arguments": run.arguments} for run in runs]
    program = [sys.executable, str(EXPERIMENTS / "sweep_states.py"), script]
    done = subprocess.run(program, input=json.dumps(asked), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise InputError(last.removeprefix("error: "))
    return {found["name"]: found for found in json.loads(done.stdout)}


def command(script: str, run: study.PlannedRun, found: dict, overwrite: bool) -> list[str]:
    """The command of a run whose directory is in the state `found`."""
    started = [sys.executable, str(EXPERIMENTS / f"{script}.py"), *run.arguments, f"--run_dir={run.run_dir}"]
    # Without `overwrite`, --resume makes the script report how the other run differs, and nothing is lost.
    return [*started, "--overwrite" if found["state"] == "other" and overwrite else "--resume"]
