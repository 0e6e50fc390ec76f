"""The scripts of experiments/ as a user calls them, in processes of their own."""

import atexit
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parent.parent
# As in conftest.py: nearly all that a smoke run does is to compile.
ENVIRONMENT = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
SMOKE = "--flagfile=experiments/flags/digits_sep_smoke.flags"


def command(script, *arguments):
    return [sys.executable, f"experiments/{script}.py", *arguments]


def call_alone(script, *arguments):
    """In a process that begins with nothing, as a user's does."""
    return subprocess.run(
        command(script, *arguments), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False
    )


@functools.cache
def _server():
    program = [sys.executable, str(pathlib.Path(__file__).with_name("script_server.py"))]
    server = subprocess.Popen(program, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)  # it ends with its input
    return server


def call(script, *arguments):
    """In a process whose imports are done: they take longer than most of what the tests ask for."""
    return _run(f"experiments/{script}.py", arguments)


def call_program(text):
    """Python code, where the modules of experiments/ can be imported."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(text)
        file.flush()
        return _run(file.name, ())


def _run(program, arguments):
    server, words = _server(), [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as directory:
        output, errors = (pathlib.Path(directory, name) for name in ("output", "errors"))
        request = {"program": program, "arguments": words, "output": str(output), "errors": str(errors)}
        print(json.dumps(request), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess([program, *words], code, output.read_text(), errors.read_text())
