"""The memory of the machine, against which what a call would need is checked before arrays are made."""

import os
from pathlib import Path

import jax

from jsep.checks import InputError

__all__ = ["check_memory", "memory_of_machine"]


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
