"""Runs programs in processes forked from one that has imported what the scripts of experiments/ import.

Reads a JSON object a line, {"program", "arguments", "output", "errors"}, and answers each with the program's exit code.
"""

import json
import os
import pathlib
import runpy
import sys
import warnings

ROOT = pathlib.Path(__file__).parent.parent


def asked() -> dict | None:
    """What to run, in the process that is to run it; None in the server, at the end."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return json.loads(line)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.path[0] = str(ROOT / "experiments")
    from jsep.cli import command_line  # noqa: F401  what all scripts import

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*os.fork")  # JAX has no threads yet: it has computed nothing
        request = asked()
    if request is not None:
        for descriptor, path in enumerate((os.devnull, request["output"], request["errors"])):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), descriptor)
        sys.argv = [request["program"], *request["arguments"]]
        runpy.run_path(sys.argv[0], run_name="__main__")
