"""How much memory a process holds, for the log."""

import resource
import sys

import jax

_MIB = 2**20


def memory_in_use() -> dict[str, float]:
    """The largest memory that the process has held, and what the first device holds and has held, in MiB.

    Returns: {"host_peak_memory_mib"}, with "device_memory_mib" and "device_peak_memory_mib" where the device counts
    (GPU and TPU; on CPU the arrays lie in the host's memory).
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"host_peak_memory_mib": peak / (_MIB if sys.platform == "darwin" else 1024)}
    counted = jax.local_devices()[0].memory_stats() or {}
    for name, key in (("device_memory_mib", "bytes_in_use"), ("device_peak_memory_mib", "peak_bytes_in_use")):
        if key in counted:
            found[name] = counted[key] / _MIB
    return found
