"""Runs programs in processes forked from one that has imported what the scripts of experiments/ import.

Reads a JSON object a line, {"program", "arguments", "output", "errors"}, and answers each with the program's exit code.
"""

import atexit
import gc
import json
import os
import pathlib
import runpy
import sys
import threading
import traceback
import warnings
from typing import NoReturn

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


def run(path: str) -> int:
    """Runs the program; returns its exit code."""
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def ended(code: int) -> NoReturn:
    """Ends the process as Python does, but without taking apart what it imported, for a third of a second."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.path[0] = str(ROOT / "experiments")
    from jsep.cli import command_line  # noqa: F401  what all scripts import

    gc.collect()
    gc.freeze()  # or every child copies all of it when it collects at its end
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*os.fork")  # JAX has no threads yet: it has computed nothing
        request = asked()
    if request is not None:
        for descriptor, path in enumerate((os.devnull, request["output"], request["errors"])):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), descriptor)
        sys.argv = [request["program"], *request["arguments"]]
        ended(run(sys.argv[0]))
