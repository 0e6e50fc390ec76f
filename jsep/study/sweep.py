"""A sweep: one script with many combinations of flags, each in its own run directory, several in parallel.

A sweep directory holds `<run>/` for every run, `logs/<run>.log` with its output, and sweep.json with its status.
Finished runs are not repeated, so a stopped sweep is continued by starting it again.
"""

import dataclasses
import itertools
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsep import record
from jsep.checks import InputError, check_choice, check_count
from jsep.files import write_whole
from jsep.study.configuration import Configuration, amount, count, differences, setting
from jsep.study.run_directory import is_complete
from jsep.study.sweep_engines import ENGINES, Engine, Task

Flag = str | bool | int | float

STATUSES = ("waiting", "running", "skipped", "done", "failed")
"""The states of a run; "skipped": it had finished before the sweep was started."""

_KEYS = ("question", "script", "flagfile", "flags", "first", "runs")


LARGEST_WORKERS = 10_000
"""The largest number of parallel processes, and of their threads and devices."""


@dataclasses.dataclass(frozen=True)
class SweepConfig(Configuration):
    """The settings of a sweep. The help text of each field is its documentation."""

    spec: str = setting("experiments/sweeps/smoke.json", "the sweep: a JSON file with a script and its flags")
    engine: str = setting("processes", "where the runs run, ray an existing cluster", choices=ENGINES)
    num_workers: int = count(
        0, "runs at the same time; 0: one a GPU, or one a core where there is none", minimum=0, maximum=LARGEST_WORKERS
    )
    threads_per_worker: int = count(
        0, "threads of a run on CPU; 0: the cores shared out among the workers", minimum=0, maximum=LARGEST_WORKERS
    )
    dry_run: bool = setting(False, "print the plan and run nothing")
    data_dir: str | None = setting(None, "directory of the data sets, given to every run; default: as the spec says")
    ray_address: str = setting("auto", "address of the Ray cluster: auto for the one of this machine, or host:port")
    ray_gpus: float = amount(0.0, "GPUs of a run on the Ray cluster", allow_zero=True, maximum=LARGEST_WORKERS)


@dataclasses.dataclass(frozen=True)
class SweepSpec:
    """The contents of a sweep file.

    script: a script of experiments/, without ".py"; flagfile: its recipe; flags: for all runs; first: the flags of a
    run that must finish before the others start; runs: the flags of the others. A list as value is an axis: the entry
    is the product of its axes. "name" names an entry; "{first}" in a value is the directory of the first run.
    """

    script: str
    runs: tuple[Mapping[str, Any], ...]
    flagfile: str | None = None
    flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    first: Mapping[str, Any] | None = None
    question: str = ""


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run: its name, its directory, the script's arguments (without run_dir), and whether the others wait for
    it."""

    name: str
    run_dir: Path
    arguments: tuple[str, ...]
    is_first: bool = False


def read_spec(path: str | Path) -> SweepSpec:
    """The sweep in a JSON file. Raises: InputError where it cannot be read or is not a sweep."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"spec {path} cannot be read ({error.strerror}); give a file of experiments/sweeps") from error
    except ValueError as error:
        raise InputError(f"spec {path} is no JSON ({error})") from error
    if not isinstance(values, dict):
        raise InputError(f"spec {path}: expected a JSON object, got {type(values).__name__}")
    for key in values:
        check_choice(f"key of spec {path}", key, _KEYS)
    script, runs = values.get("script"), values.get("runs")
    if not isinstance(script, str) or not re.fullmatch(r"\w+", script):
        raise InputError(f'spec {path}: expected "script", such as "digits_sep", got {script!r}')
    if not isinstance(runs, list) or not runs:
        raise InputError(f'spec {path}: expected a list of at least one run under "runs", got {runs!r}')
    for axes, entries in ((True, runs), (False, [values.get(key) or {} for key in ("first", "flags")])):
        for entry in entries:
            if not isinstance(entry, dict):
                raise InputError(f"spec {path}: expected flags as a JSON object, got {entry!r}")
            for name, value in entry.items():
                _check_value(f"spec {path}: {name}", value, axes)
    return SweepSpec(script, tuple(runs), *(values.get(key) or kind for key, kind in _OPTIONAL.items()))


_OPTIONAL: dict[str, Any] = {"flagfile": None, "flags": {}, "first": None, "question": ""}


def _check_value(where: str, value: Any, axes: bool) -> None:
    values = value if isinstance(value, list) and axes else [value]
    if not values or any(not isinstance(each, str | bool | int | float) for each in values):
        expected = "a value or a list of values to run over" if axes else "one value"
        raise InputError(f"{where}: expected {expected} (text, number, true or false), got {json.dumps(value)}")


def flag_text(value: Flag) -> str:
    """The text of a value after a flag's "="."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _expand(entry: Mapping[str, Any]) -> list[tuple[str, dict[str, Flag]]]:
    """(name, flags) of each point of the product of an entry's axes."""
    own = {flag: value for flag, value in entry.items() if flag != "name"}
    axes = {flag: value for flag, value in own.items() if isinstance(value, list)}
    points = []
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        named = chosen if axes or "name" in entry else own
        parts = [str(entry["name"])] if "name" in entry else []
        parts += [f"{flag}={flag_text(value)}" for flag, value in named.items()]
        points.append((re.sub(r"[^\w.+=,-]", "_", ",".join(parts)) or "run", {**own, **chosen}))
    return points


def plan_sweep(spec: SweepSpec, sweep_dir: str | Path) -> list[PlannedRun]:
    """Every run of a sweep, the first one first.

    Raises: InputError where two runs have the same name.
    """
    directory = Path(sweep_dir)
    entries = [(point, True) for point in _expand(spec.first)] if spec.first is not None else []
    entries += [(point, False) for entry in spec.runs for point in _expand(entry)]
    first_dir = str(directory / entries[0][0][0]) if spec.first is not None else None
    runs = []
    for (name, flags), is_first in entries:
        arguments = [f"--flagfile={spec.flagfile}"] if spec.flagfile else []
        for flag, value in {**spec.flags, **flags}.items():
            text = flag_text(value)
            if "{first}" in text:
                if first_dir is None:
                    raise InputError(f'--{flag}={text}: the spec has no "first" run; add one')
                if is_first:
                    continue  # the first run cannot refer to itself
                text = text.replace("{first}", first_dir)
            arguments.append(f"--{flag}={text}")
        runs.append(PlannedRun(name, directory / name, tuple(arguments), is_first))
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1} | {name for name in names if name == "logs"})
    if twice:
        raise InputError(f'runs must have names of their own, got {", ".join(twice)} more than once; give "name"')
    return runs


def state_of(run_dir: str | Path, config: Configuration) -> str:
    """What `run_dir` holds: "absent", "begun", "finished", or "other" for a run with another configuration."""
    path = Path(run_dir)
    try:
        stored = json.loads((path / "config.json").read_text())
    except OSError:
        return "absent"
    except ValueError:
        return "other"
    if differences(stored, config):
        return "other"
    try:
        result = record.read_json(path)
        # The page is drawn last, so a run without it is unfinished.
        drawn = record.kind_of(result) not in ("study", "evaluation", "landscape") or (path / "index.html").is_file()
        return "finished" if is_complete(result) and drawn else "begun"
    except (ValueError, KeyError):
        return "begun"


@dataclasses.dataclass
class RunState:
    """The state of a run: a status of STATUSES, its seconds, the error line if it failed, and the path of its log."""

    name: str
    status: str = "waiting"
    seconds: float = 0.0
    error: str = ""
    log: str = ""
    started: float = dataclasses.field(default=0.0, repr=False)


def seconds_left(states: Sequence[RunState], num_workers: int, now: float) -> float | None:
    """The remaining seconds at the mean pace of the finished runs; None before the first has finished."""
    check_count("num_workers", num_workers)
    known = [state.seconds for state in states if state.status == "done"]
    if not known:
        return None
    mean = sum(known) / len(known)
    waiting = sum(state.status == "waiting" for state in states)
    running = [max(mean - (now - state.started), 0.0) for state in states if state.status == "running"]
    return (waiting * mean + sum(running)) / num_workers


def error_line(log: Path) -> str:
    """The last line of a log that contains "error: ", else its last line."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "it left no log"
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    told = [line for line in lines if line.startswith("error: ")]
    return (told or lines or ["it printed nothing"])[-1].removeprefix("error: ")[:300]


def run_sweep(
    runs: Sequence[PlannedRun],
    commands: Mapping[str, Sequence[str]],
    sweep_dir: str | Path,
    engine: Engine,
    *,
    finished: frozenset[str] = frozenset(),
    on_change: Callable[[Sequence[RunState]], None] | None = None,
) -> list[RunState]:
    """Runs every unfinished command with `engine`; a failed run stops no other, unless it is the first.

    Args: runs: as planned; commands: name -> command; finished: names to skip; on_change: called after
      every change, and repeatedly while runs are running, with the states of all, in the order of `runs`.
    Returns: the final states. sweep.json always holds the current states, also after an interruption.
    """
    directory = Path(sweep_dir)
    (directory / "logs").mkdir(parents=True, exist_ok=True)
    states = {run.name: RunState(run.name, log=str(directory / "logs" / f"{run.name}.log")) for run in runs}

    def show() -> None:
        if on_change:
            on_change(list(states.values()))

    def changed() -> None:
        _write_states(directory, list(states.values()))
        show()

    def on_start(name: str) -> None:
        states[name].status, states[name].started = "running", time.time()
        changed()

    def on_end(name: str, return_code: int) -> None:
        state = states[name]
        state.status, state.seconds = ("failed" if return_code else "done"), round(time.time() - state.started, 1)
        state.error = error_line(Path(state.log)) if return_code else ""
        changed()

    for name in finished:
        states[name].status = "skipped"
    changed()
    for firsts in (True, False):
        tasks = [
            Task(run.name, tuple(commands[run.name]), directory / "logs" / f"{run.name}.log")
            for run in runs
            if run.is_first == firsts and states[run.name].status == "waiting"
        ]
        if tasks:
            try:
                engine(tasks, on_start, on_end, show)
            except BaseException:
                for state in states.values():
                    state.status = "waiting" if state.status == "running" else state.status
                _write_states(directory, list(states.values()))
                raise
        if firsts and any(state.status == "failed" for state in states.values()):
            for state in states.values():
                if state.status == "waiting":
                    state.status, state.error = "failed", "not started: the first run failed"
            changed()
            break
    return list(states.values())


def _write_states(directory: Path, states: Sequence[RunState]) -> None:
    kept = [{key: value for key, value in vars(state).items() if key != "started"} for state in states]
    write_whole(directory / "sweep.json", json.dumps({"format": record.FORMAT, "runs": kept}, indent=1) + "\n")
