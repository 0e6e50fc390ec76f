"""Data parallelism on one or several hosts: a mesh with the single axis "batch", and communication between processes.

Parameters are replicated on every device, a batch is sharded along its first axis, and XLA inserts the sums over
devices that gradients and batch statistics need. Random numbers do not depend on the number of devices.
"""

import functools
import importlib.util
import itertools
import json
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jsep.checks import InputError, check_count
from jsep.types import Array, PyTree

__all__ = [
    "along_batch",
    "broadcast",
    "check_batch_size",
    "connect",
    "shard",
    "shard_rows",
    "first_then_others",
    "is_first",
    "make_mesh",
    "map_parts",
    "mesh_of",
    "padded_size",
    "on_all",
    "call_on_first_process",
    "replicate",
    "to_host",
    "use_all_cores",
]

AXIS = "batch"
"""The name of the only axis of the mesh."""

T = TypeVar("T")

_FUSED, _CONVOLUTION = "xla_cpu_experimental_ynn_fusion_type", "LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
_OPTIONS = {_FUSED: f"-{_CONVOLUTION}", "xla_cpu_prefer_vector_width": "512"}  # of XLA


def use_all_cores() -> bool:
    """Makes XLA on CPU run convolutions on all cores and use the widest vectors; call it before the first JAX
    computation.

    By default XLA runs convolutions with YNNPACK, mostly on one core for small images, and everything else with 256-bit
    vectors. This adds two options to XLA_FLAGS, for this process and its children: one runs convolutions with Eigen,
    the other prefers 512-bit vectors if the processor has them. Returns whether both options are set.
    Nothing is added if an accelerator plugin is installed or this jaxlib lacks the option; values already in XLA_FLAGS
    are kept.
    """
    # XLA exits at an unknown option, and the libraries of accelerators read XLA_FLAGS too.
    is_alone = not any(map(importlib.util.find_spec, ("jax_plugins", "libtpu")))
    stand = []
    for name, value in _OPTIONS.items():
        given, option = os.environ.get("XLA_FLAGS", ""), f"--{name}={value}"
        if name not in given and is_alone and _jaxlib_knows(name, value.lstrip("-")):
            given = os.environ["XLA_FLAGS"] = f"{given} {option}".strip()
        stand.append(option in given)
    return all(stand)


def _jaxlib_knows(*words: str) -> bool:
    """Whether jaxlib's largest shared library, which contains the names of XLA's options, contains all the words."""
    jaxlib = importlib.util.find_spec("jaxlib")
    folders = (jaxlib and jaxlib.submodule_search_locations) or []
    libraries = [
        file for folder in folders for suffix in ("*.so", "*.dylib", "*.pyd") for file in Path(folder).glob(suffix)
    ]
    if not libraries:
        return False
    largest = max(libraries, key=lambda file: file.stat().st_size)
    with largest.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return all(content.find(word.encode()) >= 0 for word in words)


def connect(coordinator_address: str, num_processes: int, process_id: int) -> None:
    """Connects this process to the others of a multi-process run; call it before any other use of JAX.

    Args: coordinator_address: "host:port" of process 0; process_id: 0 .. num_processes - 1.
    Raises: InputError for an invalid number, or when the other processes do not connect.
    """
    check_count("num_processes", num_processes)
    check_count("process_id", process_id, minimum=0)
    if process_id >= num_processes:
        raise InputError(f"process_id must be in 0 .. {num_processes - 1} (num_processes - 1), got {process_id}")
    host, _, port = coordinator_address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"coordinator_address must be host:port of process 0, got {coordinator_address!r}")
    # The collectives between processes on CPU; other backends bring their own.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        # By default the coordinator would listen on all interfaces of its machine.
        jax.distributed.initialize(
            coordinator_address, num_processes, process_id, coordinator_bind_address=coordinator_address
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"process {process_id} of {num_processes} cannot join the run at {coordinator_address} ({reason}); start "
            "all processes with the same coordinator_address and num_processes"
        ) from error


def is_first() -> bool:
    """Whether this is process 0, the one that writes and prints."""
    return jax.process_index() == 0


def make_mesh(num_devices: int = 0) -> Mesh | None:
    """A mesh of the first `num_devices` devices, 0 for all devices of all processes; None for one device.

    Raises: InputError for more devices than there are, or, with several processes, fewer than all.
    """
    check_count("num_devices", num_devices, minimum=0)
    there = jax.devices()
    if num_devices > len(there):
        raise InputError(f"num_devices must be at most the {len(there)} {there[0].platform} devices, got {num_devices}")
    if jax.process_count() > 1 and num_devices not in (0, len(there)):
        raise InputError(
            f"num_devices must be 0 or all {len(there)} devices of the {jax.process_count()} processes, "
            f"got {num_devices}"
        )
    if not jax.config.jax_threefry_partitionable:  # type: ignore[attr-defined]
        raise InputError("draws would depend on the devices: leave jax_threefry_partitionable at True")
    used = there[: num_devices or len(there)]
    return Mesh(np.array(used), (AXIS,)) if len(used) > 1 else None


def check_batch_size(batch_size: int, mesh: Mesh | None) -> None:
    """Raises InputError unless the batch divides evenly among the devices."""
    size = mesh.size if mesh is not None else 1
    if batch_size % size:
        below, above = batch_size - batch_size % size, batch_size + size - batch_size % size
        sizes = f"{below} or {above}" if below else f"{above}"
        divisor = max(count for count in range(1, size) if batch_size % count == 0)
        raise InputError(
            f"batch_size must be a multiple of the {size} devices, got {batch_size}; use {sizes}, "
            f"or num_devices={divisor}"
        )


def along_batch(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch: split along its first axis."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def on_all(mesh: Mesh) -> NamedSharding:
    """The sharding of parameters: a full copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _put(leaf: Any, sharding: NamedSharding) -> Array:
    if _is_key(leaf):
        return jax.random.wrap_key_data(_put(jax.random.key_data(leaf), sharding), impl=jax.random.key_impl(leaf))
    # Each process provides the shards of its own devices; device_put would compare whole arrays between processes.
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def replicate(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """The leaves replicated on every device of the mesh, or on the default device if `mesh` is None.

    Args: tree: arrays and keys, equal in every process.
    """
    if mesh is None:
        return jax.device_put(tree)
    return jax.tree.map(lambda leaf: _put(leaf, on_all(mesh)), tree)


def shard(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """The leaves split along their first axis, a multiple of the number of devices in length; on the default device if
    `mesh` is None."""
    if mesh is None:
        return jax.device_put(tree)
    return jax.tree.map(lambda leaf: _put(leaf, along_batch(mesh)), tree)


def shard_rows(read: Callable[[slice], np.ndarray], shape: tuple[int, ...], mesh: Mesh | None) -> Array:
    """An array of `shape`, sharded as by `shard`; each process calls `read` for the rows of its own devices only."""
    if mesh is None:
        return jax.device_put(read(slice(None)))
    return jax.make_array_from_callback(shape, along_batch(mesh), lambda index: read(index[0]))  # type: ignore[index]


def map_parts(function: Callable[..., PyTree], mesh: Mesh) -> Callable[..., PyTree]:
    """A compiled function that applies `function` on every device to the device's own rows (`shard_map`).

    Args: function: (replicated, *rows) -> results with as many rows. Returns: (replicated, *sharded) -> sharded.
    """

    def shared(whole: PyTree, *parts: PyTree) -> PyTree:
        sharded_spec = PartitionSpec(AXIS)
        specs = (PartitionSpec(), *(sharded_spec for _ in parts))
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=sharded_spec, check_vma=False)(
            whole, *parts
        )

    return jax.jit(shared)


def mesh_of(tree: PyTree) -> Mesh | None:
    """The mesh of the leaves, as placed by `replicate`; None if they are on one device or the host."""
    for leaf in jax.tree.leaves(tree):
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding) and sharding.mesh.axis_names == (AXIS,):
            return sharding.mesh  # type: ignore[return-value]
        return None
    return None


@functools.cache
def _gather(mesh: Mesh) -> Callable[[PyTree], PyTree]:
    return jax.jit(lambda tree: tree, out_shardings=on_all(mesh))


def to_host(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """The leaves, placed on `mesh`, gathered into full NumPy arrays in every process."""
    return jax.tree.map(np.asarray, tree if mesh is None else _gather(mesh)(tree))


def padded_size(count: int, mesh: Mesh | None) -> int:
    """`count` rounded up to a multiple of the number of devices, as `shard` requires."""
    size = mesh.size if mesh is not None else 1
    return -(-count // size) * size


def broadcast(tree: PyTree) -> PyTree:
    """The arrays of process 0, returned in every process; shapes and dtypes must be the same in all."""
    if jax.process_count() == 1:
        return tree
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(tree)


_COUNT = itertools.count()
_PATIENCE = 24 * 3600 * 1000  # milliseconds; if a process dies, JAX's coordination service ends the others much sooner


def _coordinator() -> Any:
    # JAX has no public interface to its key-value store. A collective would time out after 30 seconds on CPU, and work
    # of one process alone, such as preparing data, may take longer.
    from jax._src import distributed

    return distributed.global_state.client


def call_on_first_process(function: Callable[[], T]) -> T:
    """Calls `function` in process 0 only and returns its result in every process.

    With several processes the result must be JSON-like (tuples become lists), and an exception in process 0 is raised
    in every process, so that no process waits forever.
    """
    if jax.process_count() == 1:
        return function()
    text, problem = "", None
    if is_first():
        try:
            text = json.dumps([function(), "", ""])
        except Exception as error:
            problem = error
            kind = "input" if isinstance(error, InputError) else "other"
            text = json.dumps([None, kind, str(error)])
    name = f"jsep/{next(_COUNT)}"
    if is_first():
        _coordinator().key_value_set(name, text)
    else:
        text = _coordinator().blocking_key_value_get(name, _PATIENCE)
    value, kind, message = json.loads(text)
    if problem is not None:
        raise problem
    if kind:
        raise InputError(message) if kind == "input" else RuntimeError(f"process 0 stopped: {message}")
    return value


def first_then_others(function: Callable[[], T]) -> T:
    """Calls `function` in process 0 first, then in the others, which find the prepared files on a shared disk.

    Returns this process's own result, once all processes are done.
    """
    kept: list[T] = []
    call_on_first_process(lambda: kept.append(function()))
    value = kept[0] if kept else function()
    if jax.process_count() > 1:
        _coordinator().wait_at_barrier(f"jsep/{next(_COUNT)}", _PATIENCE)
    return value
