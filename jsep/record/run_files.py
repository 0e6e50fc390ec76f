"""Reads and checks the files of a run directory: the result, the training metrics and the maps."""

import dataclasses
import io
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jsep.checks import InputError
from jsep.record.manifest import read_listed
from jsep.record.row import upgrade

_PER_METHOD = ("manipulated", "victim_map", "target_map", "manipulated_map")
_OPTIONAL_PER_METHOD = ("losses", "predicted", "manipulated_predicted")


_COURSE = ("images", "maps", "predicted")


@dataclasses.dataclass(frozen=True)
class Course:
    """The course of an explanation attack: its iterates for G of the pairs at S recorded steps.

    Attributes:
        pairs: (G,) indices into the pairs of the maps.
        steps: (S,) increasing, from 0.
        methods: per method "images" (G, S, H, W, C), "maps" (G, S, H, W) and "predicted" (G, S).
    """

    pairs: tuple[int, ...]
    steps: tuple[int, ...]
    methods: Mapping[str, Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Maps:
    """Images and maps of P pairs, for the first seed.

    Attributes:
        victim_images: (P, H, W, C) in [0, 1].
        target_images: (P, H, W, C) in [0, 1].
        victim_labels: (P,) classes.
        target_labels: (P,) classes.
        class_names: the name of each class, or None.
        methods: per method "manipulated" (P, H, W, C), "victim_map", "target_map", "manipulated_map"
            (P, H, W) and, where the file has them, "losses" (P or fewer, T + 1), "predicted" and
            "manipulated_predicted" (P,).
        course: the attack step by step on a few pairs, or None.
    """

    victim_images: np.ndarray
    target_images: np.ndarray
    victim_labels: np.ndarray
    target_labels: np.ndarray
    class_names: tuple[str, ...] | None
    methods: Mapping[str, Mapping[str, np.ndarray]]
    course: Course | None = None

    @property
    def num_pixels(self) -> int:
        """N = H * W, the number of pixels of a map."""
        return int(self.victim_images.shape[1] * self.victim_images.shape[2])

    def class_name(self, label: int) -> str:
        """The name of a class, or its number where the name is unknown."""
        if self.class_names is not None and 0 <= label < len(self.class_names):
            return self.class_names[label]
        return str(label)


@dataclasses.dataclass(frozen=True)
class Run:
    """The files of one run.

    Attributes:
        directory: the run directory.
        result: the content of result.json.
        metrics: the lines of metrics.jsonl, without repeated steps; empty where the file is missing.
        maps: the content of maps.npz, or None.
        remarks: one sentence for every file, or part of a file, that could not be used.
    """

    directory: pathlib.Path
    result: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...]
    maps: Maps | None
    remarks: tuple[str, ...]


def check_result(result: Any, where: str = "result") -> Mapping[str, Any]:
    """Checks the content of a result.json.

    Args:
        result: the parsed content.
        where: its name in the error message.

    Returns:
        The content, converted to the current format.

    Raises:
        InputError: it is not an object of a known format with a non-empty list of rows, each with a method.
    """
    try:
        result = upgrade(result)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    rows = result.get("rows")
    if not isinstance(rows, list) or not rows:
        got = "an empty list" if rows == [] else type(rows).__name__
        raise InputError(
            f"{where}: expected a non-empty list under 'rows', got {got}; let at least one method and seed finish"
        )
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping) or not isinstance(row.get("method"), str):
            raise InputError(
                f"{where}: expected an object with a string 'method' in rows[{index}], got "
                f"{str(row)[:60]!r}; run the experiment again"
            )
    return result


def read_json(run_dir: str | pathlib.Path, advice: str = "run the experiment again") -> dict[str, Any]:
    """The content of a run's result.json, converted to the current format.

    Args:
        advice: what to do about a damaged file.

    Raises:
        InputError: it is missing, damaged, not JSON, or of an unknown format.
    """
    path = pathlib.Path(run_dir) / "result.json"
    try:
        content = json.loads(read_listed(path, advice))
    except OSError as error:
        raise InputError(
            f"expected a run directory with a readable result.json, got {str(run_dir)!r} "
            f"({error.strerror or error}); give the directory that an experiment wrote"
        ) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: expected JSON, got something else ({error}); {advice}") from error
    try:
        return upgrade(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def kind_of(result: Any) -> str:
    """The kind of a result.json; "study" where the file names none."""
    return str(result.get("kind", "study")) if isinstance(result, Mapping) else "study"


def read(run_dir: str | pathlib.Path) -> Run:
    """Reads a run directory.

    Args:
        run_dir: the directory with result.json and, optionally, metrics.jsonl and maps.npz.

    Returns:
        The run; what is missing or unreadable beside result.json is named in `remarks`.

    Raises:
        InputError: result.json is missing, unreadable or of another format.
    """
    directory = pathlib.Path(run_dir)
    result = check_result(read_json(directory), str(directory / "result.json"))
    metrics, metrics_remarks = _read_metrics(directory / "metrics.jsonl")
    if result.get("kind") == "evaluation":  # nothing was trained
        metrics, metrics_remarks = (), []
    maps, maps_remarks = _read_maps(directory / "maps.npz")
    without = dict.fromkeys(row["method"] for row in result["rows"] if maps and row["method"] not in maps.methods)
    if without:
        maps_remarks.append(f"maps.npz holds no usable maps of {', '.join(without)}.")
    return Run(directory, result, metrics, maps, (*metrics_remarks, *maps_remarks))


def read_arrays(run_dir: str | pathlib.Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of maps.npz, and remarks; if it is missing or unreadable, no arrays and a remark that says so."""
    path = pathlib.Path(run_dir) / "maps.npz"
    if not path.is_file():
        return {}, []
    try:
        with np.load(io.BytesIO(read_listed(path)), allow_pickle=False) as archive:
            return dict(archive), []
    except Exception as error:  # zipfile, zlib and NumPy each raise their own types for a damaged file
        reason = " ".join(str(error).split())[:160]
        return {}, [f"maps.npz cannot be used ({reason}), so the pictures that need it are left out."]


def _read_metrics(path: pathlib.Path) -> tuple[tuple[Mapping[str, Any], ...], list[str]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return (), ["metrics.jsonl is missing or cannot be read, so the training curves are left out."]
    lines: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    unreadable = 0
    for raw in text.splitlines():
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
        except ValueError:
            unreadable += 1
            continue
        if not isinstance(line, Mapping) or not isinstance(line.get("method"), str):
            unreadable += 1
            continue
        # A killed and resumed run logs some steps twice: the later line counts.
        is_validation = any(key.startswith("validation_") for key in line)
        lines[line["method"], str(line.get("seed")), line.get("epoch"), line.get("step"), is_validation] = line
    remarks = [f"{unreadable} line(s) of metrics.jsonl could not be read and are left out."] if unreadable else []
    if not lines:
        remarks.append("metrics.jsonl holds no readable line, so the training curves are left out.")
    return tuple(lines.values()), remarks


def _read_maps(path: pathlib.Path) -> tuple[Maps | None, list[str]]:
    missing = "the pictures of images and maps and the course of the attack are left out."
    if not path.is_file():
        return None, [f"maps.npz is missing, so {missing}"]
    try:
        with np.load(
            io.BytesIO(read_listed(path, "continue the run to compute it again")), allow_pickle=False
        ) as archive:
            arrays = {key: archive[key] for key in archive.files}
        return _maps_from(arrays)
    except Exception as error:  # zipfile, zlib and NumPy each raise their own types for a damaged file
        reason = " ".join(str(error).split())[:160]
        return None, [f"maps.npz cannot be used ({reason}), so {missing}"]


def _maps_from(arrays: Mapping[str, np.ndarray]) -> tuple[Maps, list[str]]:
    victims, targets = arrays["victim_images"], arrays["target_images"]
    if victims.ndim != 4 or victims.shape != targets.shape or victims.shape[-1] not in (1, 3) or victims.shape[0] < 1:
        raise ValueError(f"expected images of shape (P, H, W, 1 or 3), got {victims.shape} and {targets.shape}")
    num_pairs = victims.shape[0]
    labels = [np.asarray(arrays[key]).astype(int).reshape(-1) for key in ("victim_labels", "target_labels")]
    if any(label.shape != (num_pairs,) for label in labels):
        raise ValueError(f"expected {num_pairs} labels, got {labels[0].size} and {labels[1].size}")
    names = tuple(str(name) for name in arrays["class_names"]) if "class_names" in arrays else None

    methods: dict[str, dict[str, np.ndarray]] = {}
    remarks = []
    for method in dict.fromkeys(key.rsplit("/", 1)[0] for key in arrays if "/" in key):
        own = {
            key: arrays[f"{method}/{key}"] for key in _PER_METHOD + _OPTIONAL_PER_METHOD if f"{method}/{key}" in arrays
        }
        expected = {key: victims.shape if key == "manipulated" else victims.shape[:3] for key in _PER_METHOD}
        wrong = [
            key
            for key in _PER_METHOD
            if key not in own or own[key].shape != expected[key] or not np.isfinite(own[key]).all()
        ]
        if wrong:
            remarks.append(f"maps.npz has no usable {', '.join(wrong)} for {method}, so its maps are left out.")
            continue
        losses = own.pop("losses", None)
        methods[method] = {
            key: value for key, value in own.items() if key in _PER_METHOD or value.shape == (num_pairs,)
        }
        if losses is not None and losses.ndim == 2 and losses.shape[1] > 0:
            # The curve is taken over all pairs that stayed finite, so a pair that diverged is left out.
            finite = losses[np.isfinite(losses).all(axis=1)]
            if len(finite) < len(losses):
                remarks.append(f"{len(losses) - len(finite)} pair(s) of {method} have losses that are not finite.")
            if len(finite):
                methods[method]["losses"] = finite
    if not methods:
        raise ValueError("it holds the maps of no method")
    course = _course_from(arrays, victims.shape, list(methods))
    return Maps(victims, targets, labels[0], labels[1], names, methods, course), remarks


def _course_from(arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], methods: list[str]) -> Course | None:
    """The course of the attack for the methods whose arrays have the right shape; None where there are none."""
    if "course_pairs" not in arrays or "course_steps" not in arrays:
        return None
    pairs, steps = (np.asarray(arrays[f"course_{key}"]).reshape(-1).astype(int) for key in ("pairs", "steps"))
    inside = pairs.size > 0 and pairs.min() >= 0 and pairs.max() < shape[0]
    if not inside or steps.size < 1 or steps[0] != 0 or (np.diff(steps) <= 0).any():
        return None
    lead = (pairs.size, steps.size)
    expected = {"images": (*lead, *shape[1:]), "maps": (*lead, *shape[1:3]), "predicted": lead}
    found = {}
    for method in methods:
        own = {key: arrays[f"{method}/course_{key}"] for key in _COURSE if f"{method}/course_{key}" in arrays}
        if all(key in own and own[key].shape == expected[key] and np.isfinite(own[key]).all() for key in _COURSE):
            found[method] = own
    return Course(tuple(pairs.tolist()), tuple(steps.tolist()), found) if found else None
