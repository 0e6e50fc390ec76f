"""The parts common to all kinds of studies: run directory, resume, progress, time, provenance, result and figures.

A kind of study is a `StudyKind`: a configuration, and functions that load its inputs, measure, and show the result.
`execute` runs a study; `jsep.study.STUDIES` lists the kinds.
"""

import dataclasses
import hashlib
import textwrap
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from jsep import data, devices, models, record, report, train
from jsep.checks import InputError
from jsep.study import environment
from jsep.study.config import StudyConfig
from jsep.study.configuration import Configuration
from jsep.study.costs import ModelCosts
from jsep.study.programs import Program
from jsep.study.progress import OnProgress, StepCounter
from jsep.study.run_directory import RunDirectory, is_complete
from jsep.study.work import DataSizes, Work

Config = TypeVar("Config", bound=Configuration)
Prepared = TypeVar("Prepared")
Unit = TypeVar("Unit")


@dataclasses.dataclass(frozen=True)
class StudyKind(Generic[Config, Prepared]):
    """A kind of study.

    kind: its name in result.json; config: the class of its configuration.
    prepare: configuration -> inputs to measure: models, images, pairs; raises InputError for invalid or incompatible
      ones, before anything is written.
    measure: (configuration, prepared, run): adds one unit after the other to run.result and saves each; skips those
      that an interrupted run has finished (`Run.missing`).
    draw: run directory -> writes figures and the page there; default: `report.write`; shown: the file that a script
      names last; table: result -> text for a terminal; default: the table
      and the findings of `report.brief_table` and `report.brief_findings`, cut to a screen.
    check_mesh: (configuration, mesh), for a kind that distributes its work over devices; None where it does not.
    work: (configuration, (method, seed) of finished models) -> the parts of the work, for `study.plan`.
    programs: (configuration, study whose network is timed, its images, its costs, platform) -> the compiled programs,
      for `study.plan_on`.
    """

    kind: str
    config: type[Config]
    prepare: Callable[[Config], Prepared]
    measure: Callable[[Config, Prepared, "Run"], None]
    table: Callable[[dict[str, Any]], str] | None = None
    draw: Callable[[Path], Any] | None = None
    shown: str = "index.html"
    check_mesh: Callable[[Config, Mesh | None], None] | None = None
    work: Callable[[Config, Collection[tuple[str, int]]], Work] | None = None
    programs: Callable[[Config, StudyConfig, DataSizes, ModelCosts, str], list[Program]] | None = None


class Run:
    """A run in progress: its directory, its result so far, and its progress callback.

    result: the contents of result.json; counter: the `StepCounter` shared by all loops of the run.
    """

    def __init__(
        self, kind: StudyKind[Any, Any], config: Configuration, directory: RunDirectory, progress: OnProgress,
        mesh: Mesh | None,
    ) -> None:  # fmt: skip
        self.directory, self.progress, self.mesh = directory, progress, mesh
        self.counter = StepCounter(progress)
        self._started = time.perf_counter()
        stored = directory.read_result()
        if stored is None:
            where = environment.describe()
            if kind.check_mesh is not None:
                where["devices_used"] = mesh.size if mesh else 1
            stored = {
                "format": record.FORMAT,
                "kind": kind.kind,
                "experiment": config.experiment,
                "config": config.as_dict(),
                "environment": where,
                "complete": False,
            }
        elif not is_complete(stored):
            used = environment.devices_in_use(mesh.size if mesh else 1)
            known = [directory.begun_on, *stored["environment"].get("continued_on", [])]
            if "" not in known and used != known[-1]:
                stored["environment"]["continued_on"] = [*known[1:], used]
        self.result: dict[str, Any] = stored | {"complete": is_complete(stored) and not directory.lost}
        self._seconds_before = float(stored["environment"].get("seconds", 0.0))
        if directory.lost:
            directory.write_result(self.result)  # no longer complete, also if the process is killed now

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the result."""
        return self.result.setdefault("rows", [])

    def missing(
        self,
        units: Sequence[Unit],
        of: str,
        title: Callable[[Unit], str],
        into: str = "rows",
        arrays: Sequence[str] = (),
    ) -> Iterator[Unit]:
        """The units without an entry in result[into] yet, each announced before it is yielded.

        Every unit adds one entry, in order, so the number of entries tells which units are finished.
        Args: of: the kind of unit, such as "model"; title: unit -> its announcement; arrays: the .npz files that
          the units also add to; if one is lost, all units are measured again.
        """
        entries = self.result.setdefault(into, [])
        if entries and self.directory.lost & {*arrays}:
            entries.clear()
            self.save()
        for place in range(len(entries), len(units)):
            self.announce(place, len(units), of, title(units[place]))
            yield units[place]
            if len(entries) > place and (reached := report.row_line(entries[place])):
                self.progress(f"{title(units[place]).removeprefix('evaluating ')}: {reached}", {})

    def announce(self, place: int, num_units: int, of: str, title: str) -> None:
        """Reports the start of one of several equal parts."""
        self.progress(title, {"unit": place, "num_units": num_units, "of": of})

    def save(self) -> None:
        """Writes result.json with the total seconds so far, interrupted parts included."""
        seconds = self._seconds_before + time.perf_counter() - self._started
        self.result["environment"]["seconds"] = round(seconds, 1)
        self.directory.write_result(self.result)
        self.directory.has_result()

    def part(self, kind: StudyKind[Config, Any], config: Config, name: str) -> dict[str, Any]:
        """Runs or resumes another study in the subdirectory `name`; returns its result."""
        path = self.directory.part(name)
        found = execute(kind, config, path, resume=True, on_progress=self.progress, mesh=self.mesh)
        self.save()
        return found


def execute(
    kind: StudyKind[Config, Any],
    config: Config,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """Runs a study in `run_dir` and returns the contents of result.json; see `jsep.study.run`."""
    progress = on_progress or (lambda what, record: None)
    if kind.check_mesh is not None:
        kind.check_mesh(config, mesh)
    elif mesh is not None:
        raise InputError(f"a study of kind {kind.kind!r} runs on one device: give no mesh")
    progress("loading models and data", {})
    prepared = kind.prepare(config)
    inputs = checksum_of(prepared) if devices.is_first() else ""
    opened = RunDirectory(
        run_dir, config, resume=resume, overwrite=overwrite, inputs=inputs,
        devices_used=environment.devices_in_use(mesh.size if mesh else 1),
    )  # fmt: skip
    with opened as directory:
        run = Run(kind, config, directory, progress, mesh)
        if not run.result["complete"]:
            try:
                kind.measure(config, prepared, run)
            except (train.TrainingDiverged, OSError):  # what is there can be continued
                raise
            except Exception:
                directory.give_up()
                raise
            run.result["complete"] = True
            run.save()
        if devices.is_first():
            progress("drawing the page", {})
            (kind.draw or report.write)(directory.path)
        return run.result


def checksum_of(prepared: Any) -> str:
    """The SHA-256 of the values in nested containers and dataclasses. Configurations, which a run directory compares
    by itself, networks and functions do not count."""
    digest = hashlib.sha256()
    for part in _parts(prepared):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, data.Dataset):
        yield value.checksum()
    elif isinstance(value, Mapping):
        for name in sorted(value, key=str):
            yield repr(name).encode()
            yield from _parts(value[name])
    elif isinstance(value, list | tuple):
        yield f"{len(value)} of".encode()
        for each in value:
            yield from _parts(each)
    elif isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        yield f"{array.dtype} {array.shape} ".encode()
        yield array.tobytes()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type | Configuration | models.Classifier):
        for field in dataclasses.fields(value):
            yield from _parts(getattr(value, field.name))
    elif value is None or isinstance(value, str | bool | int | float):
        yield repr(value).encode()


WIDTH = 100
"""Columns of the text that a script prints of a result."""

# With the lines that the script adds at most 25.
_LINES, _LINES_OF_FINDINGS = 22, 12


def findings_text(result: dict[str, Any]) -> str:
    """The verdicts in words, a paragraph each; paragraphs that go beyond 12 lines are left to the page."""
    lines: list[str] = []
    for each in report.brief_findings(result):
        own = textwrap.wrap(each, WIDTH)
        if len(lines) + len(own) >= _LINES_OF_FINDINGS:
            return "\n".join([*lines, "The page has the other findings."])
        lines += own
    return "\n".join(lines)


def table_and_findings(result: dict[str, Any]) -> str:
    """The brief table of a result and its findings; every other row and column is on the page."""
    words = findings_text(result)
    table = report.fitted(report.brief_table(result), _LINES - (len(words.splitlines()) + 1 if words else 0))
    return "\n\n".join(filter(None, [report.format_table(table), words]))
