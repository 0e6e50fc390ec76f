"""Devices that need not be at hand: XLA compiles for them from their description, and says what programs need."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

from jsep import train
from jsep.checks import InputError, check_choice
from jsep.devices import on_all
from jsep.files import write_whole

USABLE = 0.92
"""The part of a device's memory that programs can have; the rest is the runtime's, and lost between buffers."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A device, or one chip of a slice.

    platform: "tpu", "cuda" or "cpu"; memory: bytes; flops: the largest number of operations a second at the precision
    that JAX uses by default for float32 there; bandwidth: of its memory, bytes a second; topology: of a TPU the
    smallest slice, of a GPU XLA's description of the device. Numbers of the makers' data sheets.
    """

    name: str
    platform: str
    memory: float
    flops: float
    bandwidth: float
    precision: str
    topology: str = ""


def _gpu(
    name: str, capability: tuple[int, int], cores: int, units: int, shared: tuple[int, int], cache: int, clock: float,
    memory: float, bandwidth: float,
) -> str:  # fmt: skip
    """XLA's description of a GPU, as text. cores: multiprocessors; units: of float32 in each; shared: bytes of shared
    memory of a multiprocessor and of a block at most; cache: L2, bytes; clock: GHz."""
    return f"""gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {shared[0]}
  threads_per_core_limit: {1024 if capability == (7, 5) else 2048}
  core_count: {cores}
  fpus_per_core: {units}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth:.0f}
  l2_cache_size: {cache}
  clock_rate_ghz: {clock}
  device_memory_size: {memory:.0f}
  shared_memory_per_block_optin: {shared[1]}
  cuda_compute_capability {{ major: {capability[0]} minor: {capability[1]} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{name}"
"""


_GIB, _TERA = 2.0**30, 1e12
_HOPPER: dict[str, Any] = {
    "capability": (9, 0),
    "cores": 132,
    "units": 128,
    "shared": (233472, 232448),
    "cache": 52428800,
    "clock": 1.98,
}


def _targets() -> tuple[Target, ...]:
    h200 = _gpu("NVIDIA H200", **_HOPPER, memory=141e9, bandwidth=4.8e12)
    h100 = _gpu("NVIDIA H100 80GB HBM3", **_HOPPER, memory=80e9, bandwidth=3.35e12)
    a100 = _gpu("NVIDIA A100-SXM4-40GB", (8, 0), 108, 64, (167936, 166912), 41943040, 1.41, 40e9, 1.555e12)
    t4 = _gpu("Tesla T4", (7, 5), 40, 64, (65536, 65536), 4194304, 1.59, 15.8e9, 0.32e12)
    return (
        Target("cpu", "cpu", 0, 0, 0, "float32"),
        Target("t4", "cuda", 15.8e9, 8.1 * _TERA, 0.32e12, "float32", t4),
        Target("a100", "cuda", 40e9, 156 * _TERA, 1.555e12, "TF32", a100),
        Target("h100", "cuda", 80e9, 494 * _TERA, 3.35e12, "TF32", h100),
        Target("h200", "cuda", 141e9, 494 * _TERA, 4.8e12, "TF32", h200),
        Target("tpu-v5e", "tpu", 16 * _GIB, 197 * _TERA, 0.819e12, "bfloat16", "v5e:2x2"),
        Target("tpu-v6e", "tpu", 32 * _GIB, 918 * _TERA, 1.64e12, "bfloat16", "v6e:2x2"),
    )


TARGETS: dict[str, Target] = {target.name: target for target in _targets()}
"""name -> Target."""

_EXTRAS = {"tpu": "aot-tpu", "cuda": "aot-cuda"}


def target_named(name: str) -> Target:
    """The target of this name. Raises: InputError for an unknown one, with those that are known."""
    check_choice("target", name, TARGETS)
    return TARGETS[name]


def devices_of(target: Target) -> Sequence[Any]:
    """Descriptions of the devices that XLA can compile for: one, of a TPU the chips of the smallest slice.

    Raises: InputError where the compiler's plugin for it is not installed, or the installed JAX cannot describe it.
    """
    if target.platform == "cpu":
        return jax.devices("cpu")
    # The TPU's compiler asks the machine what it is; these answer for it.
    answers = {"SKIP_MDS_QUERY": "1", "ACCELERATOR_TYPE": "v5litepod-4", "WORKER_HOSTNAMES": "localhost"}
    for name, value in answers.items():
        os.environ.setdefault(f"TPU_{name}", value)
    try:
        if target.platform == "tpu":
            found = topologies.get_topology_desc(platform="tpu", topology_name=target.topology)
        else:
            found = topologies.get_topology_desc("", "cuda", target_config=target.topology, topology="1x1x1")
    except Exception as error:
        extra, reason = _EXTRAS[target.platform], " ".join(str(error).split())[:120]
        raise InputError(
            f"target {target.name} needs its compiler, which JAX {jax.__version__} does not find here ({reason}); "
            f'install it with: pip install "jsep[{extra}]", in an environment of its own'
        ) from error
    devices: Sequence[Any] = found.devices
    return devices


def largest_count(target: Target, memory: train.StepMemory, count: int) -> int:
    """About how many images, in place of `count` at once, fill the target: working memory grows with them."""
    return int(count * max(0.0, USABLE * target.memory - memory.kept) / max(memory.working, 1))


def compile_for(target: Target, device: Any, program: Any, shapes: tuple[Any, ...]) -> jax.stages.Compiled:
    """A jitted program compiled for a target.

    Args: device: of `devices_of`, or a mesh of some, which all have the arguments whole; shapes: of the arguments.
    """
    return _compile(target, _lower(device, program, shapes))


def _lower(device: Any, program: Any, shapes: tuple[Any, ...]) -> jax.stages.Lowered:
    placed = on_all(device) if isinstance(device, jax.sharding.Mesh) else jax.sharding.SingleDeviceSharding(device)
    own = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=placed), shapes)
    lowered: jax.stages.Lowered = program.lower(*own)
    return lowered


def _compile(target: Target, lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    # Autotuning would need the device.
    options: dict[str, str | bool] | None = {"xla_gpu_autotune_level": "0"} if target.platform == "cuda" else None
    return lowered.compile(compiler_options=options)


def memory_on(
    target: Target, device: Any, program: Any, shapes: tuple[Any, ...], *, cache: Path | None = None
) -> train.StepMemory:
    """What a jitted program needs on a target, which it is compiled for.

    Args: device: of `devices_of`; shapes: of the program's arguments; cache: a folder that keeps the answers.
    Raises: InputError where the compiler refuses the program, for memory or otherwise.
    """
    lowered = _lower(device, program, shapes)
    text = f"{jax.__version__} {target} {lowered.as_text()}"
    file = None if cache is None else cache / f"need_{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    if file is not None and file.exists():
        try:
            return train.StepMemory(**json.loads(file.read_text()))
        except (ValueError, TypeError):
            file.unlink()  # it is written anew
    try:
        found = train.step_memory(_compile(target, lowered))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"target {target.name}: the compiler refuses a program of this run ({reason})") from error
    assert found is not None  # every compiler for a described device reports it
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(dataclasses.asdict(found)))
    return found
