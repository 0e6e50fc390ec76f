"""What must stand before `import jax`: imported for its effect, first by its name."""

import os
import signal
import sys
import types

# The start-up notices of JAX are not about these programs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def _quit(number: int, frame: types.FrameType | None) -> None:
    print("error: interrupted", file=sys.stderr, flush=True)
    os._exit(130)


# The imports that follow take seconds: Ctrl-C shall not answer with a traceback out of one of them.
signal.signal(signal.SIGINT, _quit)
