"""The engines of a sweep, which run its commands: processes of this machine, or the nodes of a Ray cluster."""

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jsep.checks import check_count

ENGINES = ("processes", "ray")

LOCK_SECONDS = 60.0
"""The seconds that a run waits for another process that still uses its directory."""

LOCKED = 75
"""The return code of a run whose directory another process has locked."""


class Task(NamedTuple):
    """A command, its name, and the log file of its output; the path of the lock is derived from `log`."""

    name: str
    command: tuple[str, ...]
    log: Path


OnStart = Callable[[str], None]
OnEnd = Callable[[str, int], None]
Engine = Callable[[Sequence[Task], OnStart, OnEnd, Callable[[], None]], None]
"""(tasks, on_start(name), on_end(name, return code), on_wait()): executes all tasks in order, several in parallel."""


def _in_child() -> None:
    """Kills the run when its parent is killed, and lets Ctrl-C reach it even under a shell that ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def start(
    task: Task, environment: Mapping[str, str], *, directory: str | None = None, lock_seconds: float = LOCK_SECONDS
) -> subprocess.Popen | None:
    """Starts a command in its own process group, with its output in its log; None where its lock stays taken.

    The child holds the lock until it ends, so that two processes never use one run directory, even when a second sweep
    is started or a cluster restarts the run.
    """
    task.log.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + lock_seconds
    with task.log.with_suffix(".lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.2)
        with task.log.open("ab") as log:
            return subprocess.Popen(
                task.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                cwd=directory,
                start_new_session=True,
                pass_fds=[lock.fileno()],
                preexec_fn=_in_child,
            )


def _signal(process: subprocess.Popen, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def stop(processes: Sequence[subprocess.Popen], *, patience: float = 30.0) -> None:
    """Interrupts the processes as Ctrl-C does, waits up to `patience` seconds, and kills those still running."""
    for process in processes:
        _signal(process, signal.SIGINT)
    deadline = time.monotonic() + patience
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def say_locked(task: Task) -> None:
    """Writes to the log that the run was not started since its directory is locked."""
    with task.log.open("a") as log:
        log.write("error: another process works in this run's directory; wait for it or stop it\n")


def run_processes(environments: Sequence[Mapping[str, str]], *, poll_seconds: float = 0.2) -> Engine:
    """The engine of this machine: each worker runs one process at a time, with the worker's environment variables.

    On an interrupt the running processes are stopped first.
    """
    check_count("number of workers", len(environments))

    def engine(tasks: Sequence[Task], on_start: OnStart, on_end: OnEnd, on_wait: Callable[[], None]) -> None:
        waiting = list(tasks)
        running: dict[int, tuple[Task, subprocess.Popen]] = {}
        try:
            while waiting or running:
                for worker, environment in enumerate(environments):
                    if worker not in running and waiting:
                        task = waiting.pop(0)
                        on_start(task.name)
                        process = start(task, environment, lock_seconds=0)
                        if process is None:
                            say_locked(task)
                            on_end(task.name, LOCKED)
                        else:
                            running[worker] = (task, process)
                for worker, (task, process) in list(running.items()):
                    if process.poll() is not None:
                        del running[worker]
                        on_end(task.name, process.returncode)
                on_wait()
                time.sleep(poll_seconds if running else 0)
        finally:
            stop([process for _, process in running.values()])

    return engine


def gpus() -> list[str]:
    """The GPUs that runs may use, as named in CUDA_VISIBLE_DEVICES; empty without an NVIDIA driver."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name and name != "-1"]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(index) for index, line in enumerate(line for line in listed.splitlines() if line.startswith("GPU "))]


def worker_environments(
    num_workers: int, *, devices: Sequence[str], num_cores: int, threads: int = 0
) -> list[dict[str, str]]:
    """The environment variables of each worker: its GPU, or its share of the cores.

    Args: num_workers: 0 for one per GPU, or one per core; devices: names of GPUs, assigned in turn; threads: per worker
      on CPU, 0 for an equal share of `num_cores`.
    """
    count = num_workers or len(devices) or num_cores
    if devices:
        # By default each program reserves most of its device's memory, which two on one device cannot.
        shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if count > len(devices) else {}
        return [{"CUDA_VISIBLE_DEVICES": devices[worker % len(devices)], **shared} for worker in range(count)]
    share = str(threads or max(num_cores // count, 1))
    # NPROC sets the threads of XLA's CPU pool; the others those of NumPy and scikit-learn.
    return [dict.fromkeys(("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), share)] * count
