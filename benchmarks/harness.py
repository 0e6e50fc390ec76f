"""The parts common to all benchmarks: alternating contenders, their costs, the machine's limit, and the record.

A contender is a function without arguments that returns when its work is done. Its first call compiles. All sides run
on the same device, in one process, with the same number of threads.
"""

import argparse
import ctypes
import dataclasses
import functools
import gc
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any, NamedTuple

# Two libraries share the memory of a GPU here, so JAX must not preallocate it.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import jax
import jax.numpy as jnp
import numpy as np

from jsep import devices

devices.use_all_cores()  # as the scripts do; before anything is computed

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
OURS = "jsep"

Contender = Callable[[], Any]
"""Does its work once; returns computed arrays, which may be compared between contenders."""

_SETTLE = 0.05  # seconds between two calls, in which the threads of the other library go to sleep
_STEADY = 1.1  # a call that takes this many times as long as the next one was still warming up
_MORE_WARM_UPS = 3
_DISTURBED = 0.05  # the share of the processor above which others count as running beside a call
_STATUS = pathlib.Path("/proc/self/status")


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of one contender: the first call, which compiles, and the timed calls. peak_memory_mib: of one call,
    beyond the memory in use before it, None where it cannot be measured; result: of the first call. share_of_others:
    the share of CPU time used by other processes during the timed calls."""

    first_call_seconds: float
    seconds: tuple[float, ...]
    peak_memory_mib: float | None
    result: Any = None
    share_of_others: float = 0.0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median."""
        return (max(self.seconds) - self.fastest) / self.median

    @property
    def fastest(self) -> float:
        return min(self.seconds)

    def record(self) -> dict[str, Any]:
        return {
            "median_seconds": significant(self.median),
            "spread": round(self.spread, 3),
            "all_seconds": [significant(second) for second in self.seconds],
            "share_of_others": round(self.share_of_others, 3),
            "first_call_seconds": significant(self.first_call_seconds),
            "peak_memory_mib": None if self.peak_memory_mib is None else round(self.peak_memory_mib, 1),
        }


def significant(value: float, digits: int = 4) -> float:
    """The number rounded to significant digits."""
    return float(f"{value:.{digits}g}")


def kind_of_device() -> str:
    """ "cpu" or "gpu": the column of the table for this run."""
    return "cpu" if jax.default_backend() == "cpu" else "gpu"


def torch_device() -> Any:
    """The PyTorch device that corresponds to JAX's, with a thread for every core."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    if kind_of_device() == "cpu":
        return torch.device("cpu")
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True  # as JAX and cuDNN do
    return torch.device("cuda")


def fastest(runs: dict[Any, Contender]) -> Any:
    """The name of the contender whose second and third call are fastest together."""
    seconds = {}
    for name, run in runs.items():
        run()
        seconds[name] = _time_of(run) + _time_of(run)
    return min(seconds, key=lambda name: seconds[name])


def compare(contenders: dict[str, Contender], *, repeats: int = 5, budget: float | None = None) -> dict[str, Timing]:
    """Times the contenders alternately, in a new order each round, after warm-up calls: three each, or up to five while
    calls still get faster.

    Args: repeats: timed rounds, >= 5 for a result to be stored; budget: seconds after which no new round starts (at
      least three are run).
    """
    first, peaks, results = {}, {}, {}
    for name, run in contenders.items():
        started = time.perf_counter()
        results[name] = run()
        first[name] = time.perf_counter() - started
        started = time.perf_counter()
        peaks[name] = peak_memory_mib(run)
        _warm_up(run, time.perf_counter() - started)
    kept: dict[str, list[_Call]] = {name: [] for name in contenders}
    began = time.perf_counter()
    names = list(contenders)
    for turn in range(repeats):
        if budget is not None and turn >= 3 and time.perf_counter() - began > budget:
            break
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            # Other programs slow the two libraries differently, so a disturbed call is repeated, up to twice.
            tries: list[_Call] = []
            while not tries or (len(tries) < 3 and tries[-1].share_of_others > _DISTURBED):
                time.sleep(_SETTLE)
                tries.append(_timed(contenders[name]))
            kept[name].append(min(tries, key=lambda call: call.share_of_others))
    return {
        name: Timing(
            first[name],
            tuple(call.seconds for call in kept[name]),
            peaks[name],
            results[name],
            statistics.fmean(call.share_of_others for call in kept[name]),
        )
        for name in contenders
    }


def _warm_up(run: Contender, last: float) -> None:
    """Calls until one is not much faster than the last: the first calls of a large step may take twice as long as later
    ones, while the allocator obtains memory."""
    for _ in range(_MORE_WARM_UPS):
        before, last = last, _time_of(run)
        if before < _STEADY * last:
            return


class _Call(NamedTuple):
    seconds: float
    share_of_others: float


def _timed(run: Contender) -> _Call:
    busy, own, started = _busy_seconds(), time.process_time(), time.perf_counter()
    run()
    seconds = time.perf_counter() - started
    own, busy = time.process_time() - own, _busy_seconds() - busy
    # The operating system counts CPU time in hundredths of a second.
    others = max(busy - own - 0.02 * (os.cpu_count() or 1), 0.0)
    return _Call(seconds, others / (seconds * (os.cpu_count() or 1)))


def share_of_others(run: Contender) -> float:
    """The share of CPU time used by other programs during a call."""
    return _timed(run).share_of_others


def _busy_seconds() -> float:
    """CPU seconds of all cores together since the machine booted; 0 where unavailable."""
    try:
        fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, soft_irq, steal = map(int, fields[:8])
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")


def peak_memory_mib(run: Contender) -> float | None:
    """MiB that a call takes beyond what the process (the device, on a GPU) held before it."""
    gc.collect()
    if kind_of_device() == "gpu":
        return _device_peak_mib(run)
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        before = _resident_kib("VmRSS")
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # resets the peak to current use
    except OSError:  # not on Linux
        run()
        return None
    run()
    return max(_resident_kib("VmHWM") - before, 0) / 1024


def _device_peak_mib(run: Contender) -> float | None:
    import torch

    # JAX reports only the peak since the process started; jsep runs first, so that peak is its own.
    device = jax.devices()[0]
    torch.cuda.reset_peak_memory_stats()
    before_torch = torch.cuda.memory_allocated()
    before = (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
    run()
    torch_peak = torch.cuda.max_memory_allocated() - before_torch
    ours = (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
    return max(torch_peak, ours - before if before else ours) / 2**20 or None


def _resident_kib(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise OSError(f"{_STATUS} has no {field}")


def temporary_mib(compiled: jax.stages.Compiled) -> float:
    """MiB of temporary buffers that XLA plans for a compiled program."""
    return getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0) / 2**20


@functools.cache
def ceiling_flops_per_second() -> dict[str, float]:
    """precision -> operations per second of the fastest square matrix product here; on a CPU by JAX or PyTorch."""
    on_cpu = kind_of_device() == "cpu"
    size, repeats = (2048, 8) if on_cpu else (8192, 20)
    found = {}
    for name in ("float32",) if on_cpu else ("float32", "bfloat16"):
        matrix = jax.random.normal(jax.random.key(0), (size, size), name)
        product = jax.jit(jnp.matmul)
        seconds = [_time_of(lambda m=matrix, p=product: p(m, m).block_until_ready()) for _ in range(repeats)]
        if on_cpu:
            import torch

            torch_device()
            twin = torch.tensor(np.asarray(matrix))
            time.sleep(_SETTLE)
            seconds += [_time_of(lambda t=twin: t @ t) for _ in range(repeats)]
        found[name] = 2 * size**3 / min(seconds)
    return found


def _time_of(run: Contender) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=5, help="rounds that count")
    options.add_argument("--budget", type=float, help="seconds after which no more rounds begin")
    options.add_argument("--beside", default="nothing", help="what else ran on the machine")
    options.add_argument("--out", type=pathlib.Path, default=RESULTS, help="folder of the results")
    return options


def provenance(beside: str) -> dict[str, Any]:
    """The provenance of a result: machine, versions, commit, command."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    # The benchmarks' own output does not count as a change of the program.
    written = [f":!{path}" for path in ("benchmarks/results", "benchmarks/README.md", "docs/performance.md")]
    is_changed = bool(git("status", "--porcelain", "--untracked-files=no", "--", ".", *written))
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": git("describe", "--always", "--exclude=*") + ("-dirty" if is_changed else ""),
        "device": jax.devices()[0].device_kind,
        "processor": _processor(),
        "num_cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "beside": beside,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "torch": _torch_version(),
    }


def _torch_version() -> str:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def comparison(
    work: str,
    timings: dict[str, Timing],
    *,
    flops: float,
    agreement: dict[str, float],
    precision: str = "float32",
    **more: Any,
) -> dict[str, Any]:
    """The record of one row: times, ratios to jsep's, operations and their share of the machine's limit.

    Args: work: a description of the task; flops: floating-point operations of jsep's call; agreement: name -> number
      that shows that all contenders did the same work.
    """
    ceilings = ceiling_flops_per_second()
    ceiling = ceilings.get(precision, ceilings["float32"])
    ours = timings[OURS].median
    peers = {name: timing for name, timing in timings.items() if name != OURS}
    return {
        "work": work,
        "precision": precision,
        **more,
        "times_faster": {name: significant(peer.median / ours, 3) for name, peer in peers.items()},
        "times_faster_at_best": {
            name: significant(peer.fastest / timings[OURS].fastest, 3) for name, peer in peers.items()
        },
        "agreement": {name: significant(value) for name, value in agreement.items()},
        "flops": significant(flops),
        "flops_per_second": significant(flops / ours),
        "ceiling_flops_per_second": significant(ceiling),
        "share_of_ceiling": round(flops / ours / ceiling, 3),
        "contenders": {name: timing.record() for name, timing in timings.items()},
    }


def save(settings: argparse.Namespace, name: str, record: dict[str, Any]) -> None:
    """Prints the record, and writes it to NAME.DEVICE.json in the folder of results."""
    record = {"benchmark": name, **record, "provenance": provenance(settings.beside)}
    text = json.dumps(record, indent=1)
    print(text, flush=True)
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / f"{name}.{kind_of_device()}.json").write_text(text + "\n")


def difference(ours: Any, theirs: Any) -> float:
    """The largest difference of two arrays, in units of the largest entry of theirs."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
