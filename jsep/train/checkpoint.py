"""Checkpoints of a training run: written atomically, restored exactly, rejected if they belong to another run; and that
of the best epoch: robust overfitting makes the last epoch of adversarial training rarely the best.
"""

import contextlib
import errno
import json
import logging
import math
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jsep import devices, interrupts
from jsep.checks import InputError
from jsep.files import checksums_hold, is_disk_full, write_checksums, write_whole
from jsep.numerics import plain
from jsep.types import Array, PyTree

_CONFIG_FILE = "config.json"


def _as_stored(state: PyTree) -> PyTree:
    """A named tuple as a dict without the fields that are None: new optional fields then leave the format unchanged."""
    if not hasattr(state, "_asdict"):
        return state
    return {name: value for name, value in state._asdict().items() if value is not None}


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """Hides what threads and loops of Orbax report of an error by themselves, which `save` raises anyway."""
    before = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = lambda report: None, lambda report: None
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        yield
    except BaseException:
        raise  # what they report after an error comes later still: they stay quiet
    else:
        threading.excepthook, sys.unraisablehook = before


class Checkpoints:
    """The checkpoints of one run in `directory`, one for each saved step (Orbax); a context manager.

    `config` is a JSON-like description of the run, stored with the checkpoints.
    Beside each checkpoint lie the checksums of its files (<step>.sha256), without which nothing is restored; those of
    older versions have none.
    With several processes only the first reads and writes, and broadcasts what it has read. Checkpoints do not depend
    on devices: they can be restored on any number of them.
    Raises InputError, naming the differences, if the directory holds checkpoints of another configuration, or of none.
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
        self._damaged: set[int] = set()
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
            if any(path.name.isdigit() for path in self.directory.iterdir()):
                raise InputError(
                    f"{self.directory} holds checkpoints without their {_CONFIG_FILE}, so what they are of is unknown; "
                    "get that file again, or use overwrite=True"
                )
            write_whole(self.directory / _CONFIG_FILE, json.dumps(self._config, indent=1, sort_keys=True) + "\n")
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
        kept = self._steps()
        if step in kept and step not in self._damaged and self._is_intact(step):
            return
        try:
            # An interrupted save would leave threads of Orbax running.
            with interrupts.deferred(), _quiet_threads():
                if step in kept:
                    self._manager.delete(step)
                self._manager.save(step, args=self._ocp.args.StandardSave(_as_stored(state)))
                write_checksums(self._checksums(step), self._files(step))
                for old in kept:
                    if not (self.directory / str(old)).exists():
                        self._checksums(old).unlink(missing_ok=True)
        except Exception as error:  # Orbax raises many types for a full disk
            if not is_disk_full(error):
                raise
            intact = f"checkpoint {kept[-1]} is intact" if kept else "there is none before it"
            message = f"checkpoint {step} of {self.directory.name} could not be written, {intact}"
            raise OSError(errno.ENOSPC, message) from error

    def _steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def _checksums(self, step: int) -> Path:
        return self.directory / f"{step}.sha256"

    def _files(self, step: int) -> list[Path]:
        return [path for path in (self.directory / str(step)).rglob("*") if path.is_file()]

    def _is_intact(self, step: int) -> bool:
        path = self._checksums(step)
        # Without checksums it is older, or its run was killed just before they were written.
        return not path.exists() or checksums_hold(path, self._files(step))

    def remove_if_newest_is_damaged(self, *others: "Checkpoints") -> bool:
        """Removes these checkpoints and the `others` if the newest of these is damaged; returns whether it was."""
        return devices.call_on_first_process(lambda: self._remove_if_damaged(others))

    def _remove_if_damaged(self, others: Sequence["Checkpoints"]) -> bool:
        steps = self._steps()
        if not steps or self._is_intact(steps[-1]):
            return False
        name = self.directory.name
        warnings.warn(f"{name}: checkpoint {steps[-1]} is damaged; the model is trained anew", stacklevel=2)
        for each in (self, *others):
            for step in each._steps():
                each._manager.delete(step)
                each._checksums(step).unlink(missing_ok=True)
        return True

    def restore(self, like: PyTree, *, allow_older: bool = True) -> PyTree | None:
        """The newest intact checkpoint, with the structure, shapes and dtypes of `like`; None if there is none.

        A damaged checkpoint is skipped with a warning, and the one before it is tried, unless `allow_older` is False.
        Raises: InputError for a damaged newest checkpoint without `allow_older`.
        """
        found: list[PyTree] = []
        if not devices.call_on_first_process(lambda: self._restore(like, found, allow_older)):
            return None
        return devices.broadcast(found[0] if found else like)

    def _restore(self, like: PyTree, found: list[PyTree], allow_older: bool) -> bool:
        steps = self._steps()
        for step in reversed(steps):
            reason = "its checksums differ"
            if self._is_intact(step):
                try:
                    with interrupts.deferred():
                        stored = self._manager.restore(step, args=self._ocp.args.StandardRestore(_as_stored(like)))
                    found.append(like._replace(**stored) if hasattr(like, "_replace") else stored)
                    return True
                except Exception as error:  # a damaged file raises one of many types
                    reason = type(error).__name__
            self._damaged.add(step)
            damaged = f"{self.directory.name}: checkpoint {step} is damaged ({reason})"
            if not allow_older:
                raise InputError(f"{damaged}; get it again, or take the one before it with older_checkpoint=True")
            earlier = "trying the one before" if step != steps[0] else "there is none before it"
            warnings.warn(f"{damaged}; {earlier}", stacklevel=2)
        return False


SCORE = "validation_robust_accuracy"
"""The key of the validation record whose value selects the best state."""


class Best(NamedTuple):
    """The variables with the highest validation score so far, and the epoch () and score () of that validation."""

    variables: PyTree
    epoch: Array
    score: Array


class BestCheckpoint:
    """Keeps the validated variables with the highest score, the earliest in case of ties, in separate `checkpoints`.

    A resumed run may find a best state from an epoch that it is about to repeat. This does not change the result: the
    repeated epoch is identical, so its score again exceeds those of all earlier epochs.
    """

    def __init__(self, checkpoints: Checkpoints, *, score: str = SCORE) -> None:
        self._checkpoints = checkpoints
        self._name = score
        self._best: float | None = None

    def begin(self, variables: PyTree) -> None:
        """Reads the best score of an interrupted run. Args: variables: of the structure that `offer` will get."""
        found = self.restore(variables)
        self._best = None if found is None else float(found.score)

    def offer(self, epoch: int, step: int, variables: PyTree, record: Mapping[str, Any]) -> bool:
        """Saves the variables if their record has the highest score so far; returns whether they were saved."""
        if self._name not in record:
            return False
        score = float(jnp.float32(record[self._name]))
        if not math.isfinite(score) or (self._best is not None and not score > self._best):
            return False
        self._best = score
        self._checkpoints.save(step, Best(variables, jnp.int32(epoch), jnp.float32(score)))
        return True

    def restore(self, like: PyTree, *, allow_older: bool = True) -> Best | None:
        """The best state, or None if there is no intact one. Args: like: variables of the same structure; allow_older:
        as `Checkpoints.restore`."""
        return self._checkpoints.restore(Best(like, jnp.int32(0), jnp.float32(0)), allow_older=allow_older)
