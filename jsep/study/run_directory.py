"""The directory of one run: never overwritten by accident, every file written atomically."""

import io
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jsep import devices, record
from jsep.checks import InputError
from jsep.files import FileLock, is_disk_full, write_arrays, write_whole
from jsep.numerics import plain
from jsep.record import manifest
from jsep.study import environment, own_files
from jsep.study.configuration import Configuration, differences

_ARRAYS = ("maps.npz", "values.npz")
_ASIDE = (own_files.LOCK, own_files.REPLACED, own_files.MOVING)


def is_complete(result: Mapping[str, Any]) -> bool:
    """Whether a result is complete. Older results of some kinds lack the entry; they count as complete if they hold the
    seconds of the run."""
    return bool(result.get("complete", "seconds" in result.get("environment", {"seconds": 0})))


class RunDirectory:
    """The files of a run: flags.flags, metrics.jsonl, tensorboard/, checkpoints/, pairs.json, maps.npz, result.json,
    and manifest.json with their checksums. A context manager, which holds a lock on the directory.

    resume: continue the run in the directory, or begin in an empty one; overwrite: replace the run there, which is set
    aside until the new one has its first result; inputs: a checksum of what the run is made from; devices_used: what it
    computes on.
    lost: the names of the .npz files that are damaged or missing, so that their part is to be computed again.
    begun_on: the devices that the run was begun on, "" where it does not say.
    Raises: InputError where the directory is not empty and neither is given, it holds something other than a run,
    another process works in it, or its run has another configuration or other inputs.

    Of several processes only the first reads and writes; it sends the others what it has read.
    """

    def __init__(
        self,
        path: str | Path,
        config: Configuration,
        *,
        resume: bool = False,
        overwrite: bool = False,
        inputs: str = "",
        devices_used: str = "",
    ) -> None:
        self.path = Path(path).expanduser()
        self._lock = FileLock(self.path / own_files.LOCK)
        if resume and overwrite:
            raise InputError("resume and overwrite exclude each other: give one of them")
        found = devices.call_on_first_process(lambda: self._open(config, resume, overwrite, inputs, devices_used))
        lost, self.begun_on = found
        self.lost = frozenset(lost)

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *_: Any) -> None:
        self._lock.release()

    def _open(
        self, config: Configuration, resume: bool, overwrite: bool, inputs: str, used: str
    ) -> tuple[list[str], str]:
        path = self.path
        if path.exists() and not path.is_dir():
            raise InputError(f"run_dir {path} is a file; give a directory")
        if not resume or overwrite or not own_files.is_run(path):
            self._check_free(overwrite)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not self._lock.acquire():
                raise InputError(f"another process works in run_dir {path}; wait for it, or choose another directory")
            try:
                lost = self._begin(config, overwrite, inputs, used)
                return lost, (manifest.read_manifest(path) or {"devices": ""})["devices"]
            except BaseException:
                self._lock.release()
                raise
        except OSError as error:
            if is_disk_full(error):
                raise
            raise InputError(
                f"run_dir {path} cannot be written ({error.strerror}); choose another directory"
            ) from error

    def _check_free(self, overwrite: bool) -> None:
        """Raises: InputError for a directory that is not empty, unless its run may be replaced and is to be."""
        if not self.path.is_dir() or not {file.name for file in self.path.iterdir()} - {*_ASIDE}:
            return
        if not own_files.is_run(self.path):
            raise InputError(f"run_dir {self.path} is not empty and not a run of jsep; choose another directory")
        if not overwrite:
            raise InputError(
                f"run_dir {self.path} holds a run; continue it with resume=True, replace it with overwrite=True, "
                "or choose another directory"
            )
        own_files.check_may_replace(self.path)

    def _begin(self, config: Configuration, overwrite: bool, inputs: str, used: str) -> list[str]:
        own_files.put_back(self.path, own_files.MOVING)
        own_files.remove_temporary(self.path)
        if overwrite and own_files.is_run(self.path):
            own_files.set_aside(self.path)
        if self._config_path.exists():
            self._check_same_run(config, inputs, used)
            return self._lost()
        if any((self.path / name).exists() for name in ("result.json", "maps.npz", "checkpoints")):
            raise InputError(
                f"run_dir {self.path} has lost its config.json, so what it holds is unknown; get it again, or "
                "start anew with overwrite=True"
            )
        manifest.write_manifest(self.path, version=environment.version(), inputs=inputs, devices=used)
        self._write("flags.flags", config.as_flagfile())
        self._write("config.json", json.dumps(config.as_dict(), indent=1) + "\n")
        return []

    def _check_same_run(self, config: Configuration, inputs: str, used: str) -> None:
        try:
            stored = json.loads(manifest.read_listed(self._config_path, "start anew with overwrite=True"))
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{self._config_path} cannot be read ({error}); start anew with overwrite=True") from error
        changed = differences(stored, config)
        if changed:
            raise InputError(
                f"run_dir {self.path} was begun with other settings: {'; '.join(changed)}; use those, or overwrite=True"
            )
        begun = manifest.read_manifest(self.path)
        if begun is None:  # of an older version: unchecked until now
            manifest.write_manifest(self.path, version=environment.version(), inputs=inputs, devices=used)
            return
        if inputs and begun["inputs"] not in ("", inputs):
            raise InputError(
                f"run_dir {self.path} was begun with other images or models than its settings name now: one of their "
                "files was replaced; put the old one back, or start anew with overwrite=True"
            )
        if begun["version"] != environment.version():
            warnings.warn(
                f"{self.path} was begun by jsep {begun['version']}, and is continued by {environment.version()}: its "
                "parts may differ",
                stacklevel=2,
            )
        if "" not in (begun["devices"], used) and begun["devices"] != used:
            warnings.warn(
                f"{self.path} was begun on {begun['devices']}, and is continued on {used}: the same images and random "
                "numbers, but sums are rounded otherwise, so the last digits may differ from an uninterrupted run's",
                stacklevel=2,
            )

    def _lost(self) -> list[str]:
        """The .npz files that are listed or there, but not as they were written; removed, with a warning."""
        listed = (manifest.read_manifest(self.path) or {"files": {}})["files"]
        lost = []
        for name in sorted({*(name for name in listed if name.endswith(".npz")), *_ARRAYS}):
            path = self.path / name
            try:
                manifest.read_listed(path)
                self.read_arrays(name)
            except FileNotFoundError:
                if name in listed:
                    lost.append(name)
            except Exception:  # zipfile, zlib and NumPy each raise their own types for a damaged file
                lost.append(name)
        for name in lost:
            warnings.warn(f"{name} of {self.path} is missing or damaged: that part is computed again", stacklevel=2)
            (self.path / name).unlink(missing_ok=True)
        return lost

    def has_result(self) -> None:
        """Ends the replacement of the run that was there before: it is removed."""
        if devices.is_first():
            own_files.remove_replaced(self.path)

    def give_up(self) -> None:
        """Puts the run back that was to be replaced, if this one has no result."""
        if devices.is_first():
            own_files.put_back(self.path)

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

    def part(self, name: str) -> Path:
        """The subdirectory of a study that is part of this one."""
        if devices.is_first():
            parts = (manifest.read_manifest(self.path) or {"parts": []})["parts"]
            manifest.write_manifest(self.path, parts=sorted({*parts, name}))
        return self.path / name

    def read_result(self) -> dict[str, Any] | None:
        """The contents of result.json, or None where it does not exist yet."""
        return devices.call_on_first_process(self._read_result)

    def _read_result(self) -> dict[str, Any] | None:
        if not (self.path / "result.json").exists():
            return None
        return record.read_json(self.path, "remove it to evaluate the models again")

    def write_result(self, result: dict[str, Any]) -> None:
        """Writes result.json."""
        if devices.is_first():
            self._write("result.json", json.dumps(plain(result), indent=1) + "\n")

    def _write(self, name: str, content: str | bytes) -> None:
        manifest.write_listed(self.path / name, content)

    def add_maps(self, arrays: dict[str, np.ndarray]) -> None:
        """Adds arrays to maps.npz."""
        self.add_arrays("maps.npz", arrays)

    def add_arrays(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Adds arrays to the .npz file called `name`."""
        if not devices.is_first():
            return
        content = io.BytesIO()
        write_arrays(content, {**self.read_arrays(name), **arrays}, compressed=True)
        self._write(name, content.getvalue())

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of the .npz file called `name`; {} where it does not exist yet."""
        path = self.path / name
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as file:
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
        kept = [
            json.dumps(logged) + "\n"
            for logged in self._records()
            if (logged["method"], logged["seed"]) != (method, seed) or logged["step"] <= step
        ]
        write_whole(self._path, "".join(kept))

    def _records(self) -> Iterator[dict[str, Any]]:
        """The records so far, without lines that were cut off when the run was killed, or are damaged."""
        for line in self._path.read_text(errors="replace").splitlines() if self._path.exists() else ():
            try:
                logged = json.loads(line)
            except ValueError:
                continue
            if isinstance(logged, dict) and {"method", "seed", "step"} <= logged.keys():
                yield logged

    def first_step(self, method: str, seed: int, key: str) -> int | None:
        """The first step at which a model's record has a non-zero `key`; None where there is none."""
        for logged in self._records():
            if (logged["method"], logged["seed"]) == (method, seed) and logged.get(key):
                return int(logged["step"])
        return None

    def last(self, method: str, seed: int, key: str) -> float | None:
        """The value of `key` in a model's last record that has it; None where there is none."""
        found = None
        for logged in self._records():
            if (logged["method"], logged["seed"]) == (method, seed) and key in logged:
                found = float(logged[key])
        return found

    def means_of_epochs(self, method: str, seed: int, key: str) -> list[float]:
        """The mean of `key` over the records of each epoch of a model, to four digits; empty where no record has it."""
        found: dict[int, list[float]] = {}
        for logged in self._records():
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
