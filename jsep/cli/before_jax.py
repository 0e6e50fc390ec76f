"""Settings that must precede `import jax`; imported for its effect, under a name that sorts first."""

import os
import signal
import sys
import types

# Hides the start-up notices of JAX, which do not concern these programs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


# With --target the programs are compiled for a device that is absent: its plugin must not look for one.
if any(argument.lstrip("-").startswith("target=") for argument in sys.argv):
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


def _quit(number: int, frame: types.FrameType | None) -> None:
    print("error: interrupted", file=sys.stderr, flush=True)
    os._exit(130)


# The imports that follow take seconds; Ctrl-C during them must not print a traceback.
signal.signal(signal.SIGINT, _quit)
