"""The scripts of experiments/ as a user calls them, in processes of their own."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
# As in conftest.py: nearly all that a smoke run does is to compile.
ENVIRONMENT = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
SMOKE = "--flagfile=experiments/flags/digits_sep_smoke.flags"


def command(script, *arguments):
    return [sys.executable, f"experiments/{script}.py", *arguments]


def call(script, *arguments):
    return subprocess.run(
        command(script, *arguments), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False
    )
