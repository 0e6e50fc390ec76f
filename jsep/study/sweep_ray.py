"""The runs of a sweep as tasks of an existing Ray cluster. Ray is an optional dependency, imported on use."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jsep.checks import InputError, check_count
from jsep.study import sweep_engines
from jsep.study.sweep_engines import LOCKED, Engine, OnEnd, OnStart, Task, say_locked, start, stop

LOST = 70
"""The return code of a run whose task the cluster abandoned."""


def connect(address: str) -> Any:
    """The ray package, connected to the cluster at `address`: "auto" for the one of this machine, or host:port.

    Raises: InputError where Ray is not installed or no cluster answers.
    """
    # Ray sends no usage statistics, and leaves the environment variables of a run without a GPU unchanged.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError('engine=ray needs Ray; install it with: pip install "jsep[ray]"') from error
    try:
        # Given a loopback address, Ray would look up this machine's external one, unless told the driver's node.
        own = address.split(":")[0] if address.startswith("127.") else None
        ray.init(address=address, log_to_driver=False, configure_logging=False, _node_ip_address=own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"no Ray cluster at {address!r} ({reason}); start one with ray start --head, or use engine=processes"
        ) from error
    return ray


def num_slots(ray: Any, *, num_cpus: int, num_gpus: float) -> int:
    """The number of runs that the live nodes can hold in parallel, at least 1."""
    have = ray.cluster_resources()
    slots = int(have.get("CPU", 0) // num_cpus)
    return max(min(slots, int(have.get("GPU", 0) // num_gpus)) if num_gpus else slots, 1)


def _execute(task: Task, directory: str, environment: Mapping[str, str]) -> int:
    """Runs the command in a worker of the cluster and returns its return code."""
    process = start(task, environment, directory=directory)
    if process is None:
        say_locked(task)
        return LOCKED
    try:
        return process.wait()
    finally:
        stop([process] if process.poll() is None else [])


def run_ray(
    ray: Any,
    *,
    num_workers: int = 0,
    num_cpus: int = 1,
    num_gpus: float = 0,
    environment: Mapping[str, str] | None = None,
    poll_seconds: float = 0.5,
) -> Engine:
    """The engine of a connected cluster, whose nodes must share the paths of the sweep's directory and the scripts.

    The runs of a failed node are restarted on another one, where a study continues from its checkpoints.
    Args: num_workers: parallel runs, 0 for as many as the nodes hold; num_cpus, num_gpus: the resources of one run;
      environment: environment variables of the runs.
    """
    check_count("num_workers", num_workers, minimum=0)
    check_count("num_cpus", num_cpus)
    # Pickled by value, so that a worker starts a run without first importing this package and JAX.
    for module in (sweep_engines, sys.modules[__name__]):
        ray.cloudpickle.register_pickle_by_value(module)
    execute = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus, max_retries=-1)(_execute)

    def engine(tasks: Sequence[Task], on_start: OnStart, on_end: OnEnd, on_wait: Callable[[], None]) -> None:
        waiting = list(tasks)
        running: dict[Any, Task] = {}
        try:
            while waiting or running:
                at_once = num_workers or num_slots(ray, num_cpus=num_cpus, num_gpus=num_gpus)
                while waiting and len(running) < at_once:
                    task = waiting.pop(0)
                    sent = task._replace(log=task.log.absolute())
                    running[execute.remote(sent, os.getcwd(), dict(environment or {}))] = task
                    on_start(task.name)
                ended, _ = ray.wait(list(running), num_returns=1, timeout=poll_seconds)
                for reference in ended:
                    on_end(running.pop(reference).name, _outcome(ray, reference))
                on_wait()
        finally:
            for reference in running:
                ray.cancel(reference)
            if running:  # their commands are interrupted first
                ray.wait(list(running), num_returns=len(running), timeout=40)

    return engine


def _outcome(ray: Any, reference: Any) -> int:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError:
        return LOST
