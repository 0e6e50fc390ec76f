"""The directory of one run: never overwritten by accident, every file written atomically."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jsep import devices, record
from jsep.checks import InputError, is_disk_full
from jsep.study.configuration import Configuration, differences


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def is_complete(result: Mapping[str, Any]) -> bool:
    """Whether a result is complete. Older results of some kinds lack the entry; they count as complete if they hold the
    seconds of the run."""
    return bool(result.get("complete", "seconds" in result.get("environment", {"seconds": 0})))


class RunDirectory:
    """The files of a run: flags.flags, metrics.jsonl, tensorboard/, checkpoints/, pairs.json, maps.npz, result.json.

    resume: continue the run in the directory, or begin in an empty one; overwrite: first remove the run there.
    Raises: InputError where the directory is not empty and neither is given, it holds something other than a run, or
    its run has another configuration.

    Of several processes only the first reads and writes; it sends the others what it has read.
    """

    def __init__(
        self, path: str | Path, config: Configuration, *, resume: bool = False, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        if resume and overwrite:
            raise InputError("resume and overwrite exclude each other: give one of them")
        devices.call_on_first_process(lambda: self._open(config, resume=resume, overwrite=overwrite))

    def _open(self, config: Configuration, *, resume: bool, overwrite: bool) -> None:
        path = self.path
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"run_dir {path} is a file; give a directory")
        if self.path.is_dir() and any(self.path.iterdir()):
            self._open_existing(config, resume=resume, overwrite=overwrite)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self._config_path.exists():
                _write_whole(self._config_path, json.dumps(config.as_dict(), indent=1) + "\n")
                _write_whole(self.path / "flags.flags", config.as_flagfile())
        except OSError as error:
            raise InputError(
                f"run_dir {path} cannot be written ({error.strerror}); choose another directory"
            ) from error

    def _open_existing(self, config: Configuration, *, resume: bool, overwrite: bool) -> None:
        if not self._config_path.exists():
            raise InputError(f"run_dir {self.path} is not empty and not a run of jsep; choose another directory")
        if overwrite:
            shutil.rmtree(self.path)
            return
        if not resume:
            raise InputError(
                f"run_dir {self.path} holds a run; continue it with resume=True, replace it with overwrite=True, "
                "or choose another directory"
            )
        try:
            stored = json.loads(self._config_path.read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{self._config_path} cannot be read ({error}); start anew with overwrite=True") from error
        changed = differences(stored, config)
        if changed:
            raise InputError(
                f"run_dir {self.path} was begun with other settings: {'; '.join(changed)}; use those, or overwrite=True"
            )

    @property
    def _config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def pairs_path(self) -> Path:
        """The pair index of the run."""
        return self.path / "pairs.json"

    def checkpoints(self, name: str) -> Path:
        """The directory of the checkpoints of one model of the run."""
        return self.path / "checkpoints" / name

    def read_result(self) -> dict[str, Any] | None:
        """The contents of result.json, or None where it does not exist yet."""
        return devices.call_on_first_process(self._read_result)

    def _read_result(self) -> dict[str, Any] | None:
        path = self.path / "result.json"
        if not path.exists():
            return None
        try:
            return record.upgrade(json.loads(path.read_text()))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error}); remove it to evaluate the models again") from error

    def write_result(self, result: dict[str, Any]) -> None:
        """Writes result.json."""
        if devices.is_first():
            _write_whole(self.path / "result.json", json.dumps(result, indent=1) + "\n")

    def add_maps(self, arrays: dict[str, np.ndarray]) -> None:
        """Adds arrays to maps.npz."""
        self.add_arrays("maps.npz", arrays)

    def add_arrays(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Adds arrays to the .npz file called `name`."""
        if not devices.is_first():
            return
        path = self.path / name
        temporary = path.with_name(f"{path.stem}.tmp.npz")
        np.savez_compressed(temporary, **{**self.read_arrays(name), **arrays})  # type: ignore[arg-type]
        os.replace(temporary, path)

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of the .npz file called `name`; {} where it does not exist yet."""
        path = self.path / name
        if not path.exists():
            return {}
        with np.load(path) as file:
            return dict(file)


class MetricsLog:
    """metrics.jsonl and TensorBoard events of a run, one record at a time."""

    def __init__(self, directory: RunDirectory) -> None:
        self._path = directory.path / "metrics.jsonl"
        self._tensorboard = directory.path / "tensorboard"
        self._writers: dict[str, Any] = {}
        try:
            from tensorboardX import SummaryWriter  # an optional dependency: not every machine has it
        except ImportError:
            SummaryWriter = None
        self._make_writer = SummaryWriter

    def forget_after(self, method: str, seed: int, step: int) -> None:
        """Drops the records of a model after `step`, which a resumed run writes again."""
        if not devices.is_first() or not self._path.exists():
            return
        kept = []
        for line in self._path.read_text().splitlines():
            try:
                logged = json.loads(line)
            except ValueError:  # a line cut off when the run was killed
                continue
            if (logged["method"], logged["seed"]) != (method, seed) or logged["step"] <= step:
                kept.append(line + "\n")
        _write_whole(self._path, "".join(kept))

    def first_step(self, method: str, seed: int, key: str) -> int | None:
        """The first step at which a model's record has a non-zero `key`; None where there is none."""
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            logged = json.loads(line)
            if (logged["method"], logged["seed"]) == (method, seed) and logged.get(key):
                return int(logged["step"])
        return None

    def means_of_epochs(self, method: str, seed: int, key: str) -> list[float]:
        """The mean of `key` over the records of each epoch of a model, to four digits; empty where no record has it."""
        found: dict[int, list[float]] = {}
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            logged = json.loads(line)
            if (logged["method"], logged["seed"]) == (method, seed) and key in logged:
                found.setdefault(logged["epoch"], []).append(logged[key])
        return [float(f"{np.mean(found[epoch]):.4g}") for epoch in sorted(found)]

    def write(self, method: str, seed: int, logged: dict[str, Any]) -> None:
        """Appends one record of the model `method`, `seed`."""
        if not devices.is_first():
            return
        values = {key: value for key, value in logged.items() if key not in ("num_steps", "seconds_left")}
        with self._path.open("a") as file:
            file.write(json.dumps({"method": method, "seed": seed, **values}) + "\n")
        if self._make_writer is None:
            return
        name = f"{method}_seed{seed}"
        if name not in self._writers:
            # A long queue: once the writer's thread has failed, a full queue would block training for ever.
            self._writers[name] = self._make_writer(str(self._tensorboard / name), max_queue=10_000)
        for key, value in values.items():
            if key not in ("epoch", "step"):
                self._writers[name].add_scalar(key, value, logged["step"])

    def close(self) -> None:
        """Flushes and closes the event files; ignores a full disk, which the run has already reported."""
        for writer in self._writers.values():
            try:
                writer.close()
            except OSError as error:
                if not is_disk_full(error):
                    raise
