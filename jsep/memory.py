"""The memory of the machine, against which what a call would need is checked, and the memory in use."""

import os
import sys
from pathlib import Path

import jax

from jsep.checks import InputError

__all__ = ["check_memory", "memory_in_use", "memory_of_machine"]

_MIB = 2**20


def memory_of_machine() -> int:
    """The bytes of memory of the default device, or of this process's machine or container where that is a CPU."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return int(statistics["bytes_limit"])
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container on Linux
    try:
        return min(found, int(limit.read_text()))
    except (OSError, ValueError):
        return found


def check_memory(what: str, num_bytes: float) -> None:
    """Raises InputError if arrays of `num_bytes` would not fit into `memory_of_machine`. Args: what: names them."""
    there = memory_of_machine()
    if num_bytes > there:
        raise InputError(
            f"{what} would take {num_bytes / 2**30:,.1f} GiB, and this machine has {there / 2**30:,.1f} GiB; "
            "take fewer or smaller ones"
        )


def memory_in_use() -> dict[str, float]:
    """The peak memory of the process, and the current and peak memory of its first device, in MiB.

    Returns: {"host_peak_memory_mib"}; also "device_memory_mib" and "device_peak_memory_mib" if the device reports them
    (GPU and TPU; on CPU arrays are in host memory).
    """
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"host_peak_memory_mib": peak / (_MIB if sys.platform == "darwin" else 1024)}
    counted = jax.local_devices()[0].memory_stats() or {}
    for name, key in (("device_memory_mib", "bytes_in_use"), ("device_peak_memory_mib", "peak_bytes_in_use")):
        if key in counted:
            found[name] = counted[key] / _MIB
    return found
