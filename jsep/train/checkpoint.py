"""Checkpoints of a training run: written atomically, restored exactly, rejected if they belong to another run."""

import contextlib
import errno
import json
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from jsep import devices
from jsep.checks import InputError, is_disk_full
from jsep.numerics import plain
from jsep.types import PyTree

_CONFIG_FILE = "config.json"


def _as_stored(state: PyTree) -> PyTree:
    """A named tuple as a dict without the fields that are None: new optional fields then leave the format unchanged."""
    if not hasattr(state, "_asdict"):
        return state
    return {name: value for name, value in state._asdict().items() if value is not None}


@contextlib.contextmanager
def _interrupt_afterwards() -> Iterator[None]:
    """Delays Ctrl-C until the block is done, since an interrupted save leaves threads of Orbax running."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    received: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if received:
        raise KeyboardInterrupt


class Checkpoints:
    """The checkpoints of one run in `directory`, one for each saved step (Orbax); a context manager.

    `config` is a JSON-like description of the run, stored with the checkpoints.
    With several processes only the first reads and writes, and broadcasts what it has read. Checkpoints do not depend
    on devices: they can be restored on any number of them.
    Raises InputError, naming the differences, if the directory holds checkpoints of another configuration.
    """

    def __init__(self, directory: str | Path, config: dict[str, Any], *, max_to_keep: int = 2) -> None:
        # Imported here: it takes a second, and only training needs it.
        import orbax.checkpoint as ocp

        # Orbax logs every save at INFO, a single-process notice at WARNING, and at ERROR tracebacks of errors that
        # `save` raises anyway.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self._ocp = ocp
        self.directory = Path(directory).expanduser().absolute()
        self._config = json.loads(json.dumps(plain(config)))
        self._max_to_keep = max_to_keep
        self._manager: Any = None
        devices.call_on_first_process(self._open)

    def _open(self) -> None:
        ocp = self._ocp
        stored = self._stored_config()
        if stored is not None and stored != self._config:
            keys = sorted(key for key in {*stored, *self._config} if stored.get(key) != self._config.get(key))
            changes = ", ".join(f"{key}: {stored.get(key)!r} there, {self._config.get(key)!r} now" for key in keys)
            raise InputError(
                f"{self.directory.name}: the checkpoints belong to another configuration ({changes}); "
                "use the old settings, another run_dir, or overwrite=True"
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        if stored is None:
            (self.directory / _CONFIG_FILE).write_text(json.dumps(self._config, indent=1, sort_keys=True) + "\n")
        options_here: dict[str, Any] = {"cleanup_tmp_directories": True}
        if jax.process_count() > 1:  # by default Orbax waits for all processes
            processes = ocp.options.MultiprocessingOptions(active_processes={0}, barrier_sync_key_prefix="first")
            options_here |= {"multiprocessing_options": processes, "create": False}
        options = ocp.CheckpointManagerOptions(
            max_to_keep=self._max_to_keep, enable_async_checkpointing=False, **options_here
        )
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def _stored_config(self) -> dict[str, Any] | None:
        path = self.directory / _CONFIG_FILE
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path.name} of {self.directory.name} cannot be read ({error}); use overwrite=True"
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: Any) -> None:
        if self._manager is not None:
            self._manager.close()

    def save(self, step: int, state: PyTree) -> None:
        """Saves `state` as the checkpoint of `step`, unless there is one; Ctrl-C takes effect only afterwards.

        Raises: OSError when the disk is full; earlier checkpoints remain intact.
        """
        mesh = devices.mesh_of(state)
        state = state if mesh is None else devices.to_host(state, mesh)
        devices.call_on_first_process(lambda: self._save(step, state))

    def _save(self, step: int, state: PyTree) -> None:
        kept = sorted(self._manager.all_steps())
        if step in kept:
            return
        try:
            with _interrupt_afterwards():
                self._manager.save(step, args=self._ocp.args.StandardSave(_as_stored(state)))
        except Exception as error:  # Orbax raises many types for a full disk
            if not is_disk_full(error):
                raise
            intact = f"checkpoint {kept[-1]} is intact" if kept else "there is none before it"
            message = f"checkpoint {step} of {self.directory.name} could not be written, {intact}"
            raise OSError(errno.ENOSPC, message) from error

    def restore(self, like: PyTree) -> PyTree | None:
        """The newest readable checkpoint, with the structure, shapes and dtypes of `like`; None if there is none.

        A damaged checkpoint is skipped with a warning, and the one before it is tried.
        """
        found: list[PyTree] = []
        if not devices.call_on_first_process(lambda: self._restore(like, found)):
            return None
        return devices.broadcast(found[0] if found else like)

    def _restore(self, like: PyTree, found: list[PyTree]) -> bool:
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                with _interrupt_afterwards():
                    stored = self._manager.restore(step, args=self._ocp.args.StandardRestore(_as_stored(like)))
                found.append(like._replace(**stored) if hasattr(like, "_replace") else stored)
                return True
            except Exception as error:  # a truncated file raises one of many types
                warnings.warn(
                    f"{self.directory.name}: checkpoint {step} is damaged ({type(error).__name__}); "
                    "trying the one before",
                    stacklevel=2,
                )
        return False
