"""The memory use of a process, for the log."""

import resource
import sys

import jax

_MIB = 2**20


def memory_in_use() -> dict[str, float]:
    """The peak memory of the process, and the current and peak memory of its first device, in MiB.

    Returns: {"host_peak_memory_mib"}; also "device_memory_mib" and "device_peak_memory_mib" if the device reports them
    (GPU and TPU; on CPU arrays are in host memory).
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"host_peak_memory_mib": peak / (_MIB if sys.platform == "darwin" else 1024)}
    counted = jax.local_devices()[0].memory_stats() or {}
    for name, key in (("device_memory_mib", "bytes_in_use"), ("device_peak_memory_mib", "peak_bytes_in_use")):
        if key in counted:
            found[name] = counted[key] / _MIB
    return found
