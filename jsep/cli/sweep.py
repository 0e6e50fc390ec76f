"""Many runs of one script with one command: in parallel, resumable, skipping finished runs.

python experiments/sweep.py --spec=experiments/sweeps/sep_weight_digits.json --run_dir=runs/sep_weight_digits --dry_run
To continue a sweep, start it again. A failed run stops no other; failures are listed and give exit code 1.
"""

import dataclasses
import os
import pathlib
import shlex
import signal
import sys
import time
from collections.abc import Sequence

from absl import flags

from jsep import report, study
from jsep.cli import command_line, recipes, runs
from jsep.study import sweep_ray

EXIT_FAILED = 1


def _engine(config: study.SweepConfig) -> tuple[study.Engine, int]:
    """The engine that the flags name, and the number of parallel runs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    settings = {"threads": config.threads_per_worker, "num_cores": cores}
    if config.engine == "processes":
        environments = study.worker_environments(config.num_workers, devices=study.gpus(), **settings)
        return study.run_processes(environments), len(environments)
    ray = sweep_ray.connect(config.ray_address)
    num_cpus = config.threads_per_worker or 1
    slots = sweep_ray.num_slots(ray, num_cpus=num_cpus, num_gpus=config.ray_gpus)
    # Ray itself assigns a GPU to each run.
    environment = study.worker_environments(1, devices=[], num_cores=num_cpus)[0]
    engine = sweep_ray.run_ray(
        ray, num_workers=config.num_workers, num_cpus=num_cpus, num_gpus=config.ray_gpus, environment=environment
    )
    return engine, config.num_workers or slots


class Display:
    """The table of the sweep: redrawn in place on a terminal, a line at every change elsewhere."""

    def __init__(self, num_workers: int) -> None:
        self._num_workers = num_workers
        self._height = 0
        self._drawn = 0.0
        self._seen: dict[str, str] = {}

    def __call__(self, states: Sequence[study.RunState]) -> None:
        changed = [state for state in states if state.status != self._seen.get(state.name, "waiting")]
        if not changed and (not sys.stderr.isatty() or time.time() - self._drawn < 1):
            return
        self._seen, self._drawn = {state.name: state.status for state in states}, time.time()
        left = study.seconds_left(states, self._num_workers, time.time())
        shown = [vars(state) for state in states]
        if sys.stderr.isatty():
            table = report.sweep_table(shown, time.time(), left)
            back = f"\x1b[{self._height}F\x1b[J" if self._height else ""
            print(f"{back}{table}", file=sys.stderr, flush=True)
            self._height = table.count("\n") + 1
            return
        for state in changed:
            took = f" ({report.duration(state.seconds)})" if state.status in ("done", "failed") else ""
            line = f"{time.strftime('%H:%M:%S')} {state.status} {state.name}{took}"
            print(f"{line}; {report.sweep_counts(shown, left)}", file=sys.stderr, flush=True)


def _main() -> None:
    """Runs the sweep that the flags name, shows its progress and lists the failed runs."""
    config = command_line.parsed_config(study.SweepConfig)
    spec = study.read_spec(recipes.sweep_file(config.spec))
    if config.data_dir is not None:
        spec = dataclasses.replace(spec, flags={**spec.flags, "data_dir": config.data_dir})
    sweep_dir = pathlib.Path(flags.FLAGS.run_dir or pathlib.Path("runs") / pathlib.Path(config.spec).stem)
    planned = study.plan_sweep(spec, sweep_dir)
    found = runs.states(spec.script, planned)
    commands = {run.name: runs.command(spec.script, run, found[run.name], flags.FLAGS.overwrite) for run in planned}
    finished = frozenset(run.name for run in planned if found[run.name]["state"] == "finished")
    if config.dry_run:
        for run in planned:
            print(f"{found[run.name]['state']:<9}{shlex.join(runs.shown(commands[run.name]))}")
        print(f"{len(planned)} runs, {len(finished)} of them finished; nothing was started")
        return
    # On SIGTERM the runs are stopped first, as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    engine, num_workers = _engine(config)
    try:
        states = study.run_sweep(
            planned, commands, sweep_dir, engine, finished=finished, on_change=Display(num_workers)
        )
    except KeyboardInterrupt:
        print(f"error: interrupted; continue with: {command_line.command(sys.argv)}", file=sys.stderr)
        sys.exit(command_line.EXIT_INTERRUPTED)
    failures = report.sweep_failures([vars(state) for state in states])
    print("\n".join(filter(None, [failures, f"sweep: {sweep_dir / 'sweep.json'}"])))
    if failures:
        sys.exit(EXIT_FAILED)


def start() -> None:
    """Defines the flags and runs the program."""
    command_line.define_flags(study.SweepConfig.of(experiment="sweep"))
    command_line.main(_main, name="sweep")
