"""The parts common to all scripts: flags from a configuration, progress on the terminal, one-line errors."""

import functools
import os
import re
import shlex
import sys
import time
import typing
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import app, flags, logging
from tqdm import tqdm

from jsep import devices, interrupts, record, study, train
from jsep.checks import InputError
from jsep.cli import flag_errors, help_text, plan_text
from jsep.cli.flag_errors import EXIT_BAD_INPUT, fail
from jsep.cli.scripts import SCRIPTS, asks_for_help, description
from jsep.files import is_disk_full
from jsep.study.options import number, whole_number

Config = typing.TypeVar("Config", bound=study.Configuration)

_SECONDS_A_LINE = 60
"""How often progress is printed where standard error is a file."""

EXIT_DIVERGED, EXIT_INTERRUPTED, EXIT_TERMINATED = 3, 130, 143


class WholeNumberParser(flags.ArgumentParser):
    """A whole number in ASCII digits, without the underscores that Python allows."""

    syntactic_help = "a whole number"

    def parse(self, argument: Any) -> int:
        return argument if isinstance(argument, int) else whole_number(str(argument))

    def flag_type(self) -> str:
        return "whole number"


class FractionParser(flags.ArgumentParser):
    """A float that may be written as a fraction: 8/255."""

    syntactic_help = "a number or a fraction such as 8/255"

    def parse(self, argument: Any) -> float:
        return float(argument) if isinstance(argument, int | float) else number(str(argument))

    def flag_type(self) -> str:
        return "number or fraction"


def _define(setting: Any, default: Any) -> None:
    if setting.base is bool:
        flags.DEFINE_bool(setting.name, default, setting.help)
    elif setting.base is int:
        flags.DEFINE(WholeNumberParser(), setting.name, default, setting.help)
    elif setting.base is float:
        flags.DEFINE(FractionParser(), setting.name, default, setting.help)
    elif setting.base is tuple:
        flags.DEFINE_list(setting.name, list(default), setting.help)
    else:
        flags.DEFINE_string(setting.name, default, setting.help)


def define_flags(defaults: study.Configuration) -> None:
    """Defines one flag per field of the configuration, and the flags of the run directory."""
    for setting in study.settings_of(type(defaults)).values():
        _define(setting, setting.get(defaults))
    flags.DEFINE_string("run_dir", None, "directory of the run, made if absent; default: runs/<experiment>")
    flags.DEFINE_bool("overwrite", False, "replace the run in run_dir")
    flags.DEFINE_string(
        "compilation_cache",
        None,
        "where compiled programs are kept between runs; '' for nowhere; default: ~/.cache/jsep, or what "
        "JAX_COMPILATION_CACHE_DIR says",
    )
    _list_in_help()


def define_study_flags(defaults: study.Configuration) -> None:
    """Defines the flags of a script that runs a study."""
    flags.DEFINE_bool("resume", False, "continue the run in run_dir")
    flags.DEFINE_bool("dry_run", False, "print the plan with estimates of time and memory; write nothing")
    flags.DEFINE_string(
        "target",
        None,
        f"with dry_run: compile the run's programs for another device, {', '.join(study.TARGETS)}, and print what fits",
    )
    if study.kind_of(defaults).check_mesh is not None:
        _define_device_flags()
    define_flags(defaults)


def _define_device_flags() -> None:
    """Defines the flags of a script that distributes its work over devices and hosts."""
    flags.DEFINE_integer("num_devices", 0, "devices that share every batch; 0: all there are")
    flags.DEFINE_string("coordinator_address", None, "host:port of process 0, in a run of several processes")
    flags.DEFINE_integer("num_processes", 1, "processes of the run, each started with the same flags but process_id")
    flags.DEFINE_integer("process_id", 0, "which of them this is, from 0; process 0 writes run_dir")


def _list_in_help() -> None:
    """Assigns the flags to the script, so that --help lists them; otherwise they would belong to this module."""
    for flag in flags.FLAGS.get_flags_for_module(__name__):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def connected_mesh() -> jax.sharding.Mesh | None:
    """Connects the processes of the run, if several; returns the mesh of the devices that the flags name."""
    values = flags.FLAGS
    if (values.coordinator_address is None) != (values.num_processes == 1):
        raise InputError(
            "several processes need coordinator_address and num_processes > 1, got "
            f"{values.coordinator_address} and {values.num_processes}"
        )
    if values.coordinator_address is not None:
        devices.connect(values.coordinator_address, values.num_processes, values.process_id)
    return devices.make_mesh(values.num_devices)


def parsed_config(kind: type[Config]) -> Config:
    """The configuration given by the parsed flags."""
    values = {name: getattr(flags.FLAGS, name) for name in study.settings_of(kind)}
    return kind.of(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


class TerminalProgress:
    """Shows what a study is doing: a bar where steps are counted, a line for everything else.

    A record with "unit", "num_units" and "of" marks the start of one of several equal parts; the remaining time is
    estimated from the finished parts.
    """

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._bar: tqdm | None = None
        self._what = ""
        self._bar_began = (0.0, 0)
        self._units_began: dict[str, tuple[float, int]] = {}
        self._printed = 0.0

    def __call__(self, what: str, record: dict[str, Any]) -> None:
        if self._silent:
            return
        if what != self._what or "unit" in record:
            self.close()
            self._what = what
            if "unit" in record:
                what = f"{self._count_unit(**record)}: {what}"
            if "unit" in record or not record:
                print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)
        if "step" in record:
            self._show_step(what, record)

    def _count_unit(self, unit: int, num_units: int, of: str) -> str:
        now = time.monotonic()
        began, first = self._units_began.get(of, (now, unit))
        if unit <= first:
            began, first = self._units_began[of] = (now, unit)
        counted = f"{of} {unit + 1} of {num_units}"
        if unit == first:
            return counted
        left = (now - began) / (unit - first) * (num_units - unit)
        return f"{counted}, {tqdm.format_interval(left)} left"

    def _show_step(self, what: str, record: dict[str, Any]) -> None:
        now = time.monotonic()
        if not sys.stderr.isatty():
            return self._print_step(what, record, now)
        if self._bar is None:
            # The record holds the remaining time; tqdm's own would count steps made before its bar was created.
            form = "{desc} {percentage:3.0f}%|{bar}| step {n_fmt}/{total_fmt} {postfix}"
            self._bar = tqdm(total=record["num_steps"], desc=what, file=sys.stderr, dynamic_ncols=True, bar_format=form)
            self._bar_began = (now, record["step"])
        self._bar.n = record["step"]
        if "seconds_left" in record:
            left = f"{tqdm.format_interval(record['seconds_left'])} left"
            if "loss" in record:
                speed = f"{record['images_per_second']:.0f} images/s"
                left = f"loss {record['loss']:.3f}, accuracy {record['accuracy']:.1%}, {speed}, {left}"
            self._bar.set_postfix_str(left)
        elif record["step"] > self._bar_began[1] and "validation_clean_accuracy" not in record:
            rate = (now - self._bar_began[0]) / (record["step"] - self._bar_began[1])
            self._bar.set_postfix_str(f"{tqdm.format_interval(rate * (record['num_steps'] - record['step']))} left")

    def _print_step(self, what: str, record: dict[str, Any], now: float) -> None:
        """A line a minute, where no terminal redraws a bar."""
        if now - self._printed < _SECONDS_A_LINE:
            return
        self._printed = now
        left = f", {tqdm.format_interval(record['seconds_left'])} left" if "seconds_left" in record else ""
        loss = f", loss {record['loss']:.3f}, accuracy {record['accuracy']:.1%}" if "loss" in record else ""
        print(
            f"{time.strftime('%H:%M:%S')} {what}, step {record['step']} of {record['num_steps']}{loss}{left}",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        """Closes the current progress bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _compilation_cache() -> Path | None:
    """Where compiled programs are kept; None for nowhere."""
    given = flags.FLAGS.compilation_cache
    if given is None:
        given = os.environ.get("JAX_COMPILATION_CACHE_DIR", os.path.join("~", ".cache", "jsep"))
    return Path(given).expanduser() if given else None


def _keep_compiled_programs() -> None:
    if (cache := _compilation_cache()) is not None:
        jax.config.update("jax_compilation_cache_dir", str(cache))
        # By default JAX caches only programs that took 1 s to compile; a run has hundreds that take 0.1 s.
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def run_in_directory(body: Callable[[Path, TerminalProgress], str], experiment: str) -> None:
    """Runs `body` in the run directory, with progress on the terminal, and prints the text that it returns."""
    _keep_compiled_programs()
    progress = TerminalProgress(silent=not devices.is_first())
    try:
        printed = body(_run_dir(experiment), progress)
    finally:
        progress.close()
    if devices.is_first():
        print(printed)


def run_study(defaults: study.Configuration, name: str = "") -> None:
    """Runs the study given by the flags of a script, prints its findings, and the file to open next.

    Args: defaults: the default values of the flags; name: of the script, for its help.
    """
    define_study_flags(defaults)
    main(functools.partial(_run_study, type(defaults)), name=name)


def _run_study(kind: type[study.Configuration]) -> None:
    config = parsed_config(kind)
    if flags.FLAGS.dry_run:
        return _print_plan(config)
    if flags.FLAGS.target is not None:
        raise InputError("target is for --dry_run: a run takes the devices of its machine")
    mesh = connected_mesh() if "num_devices" in flags.FLAGS else None

    def body(run_dir: Path, progress: TerminalProgress) -> str:
        settings = {"resume": flags.FLAGS.resume, "overwrite": flags.FLAGS.overwrite, "mesh": mesh}
        result = study.run(config, run_dir, on_progress=progress, **settings)
        *text, page = study.describe(config, result, run_dir).splitlines()
        every = ["jsep report"] if sys.argv[0].startswith("jsep ") else [os.path.join("experiments", "report.py")]
        return "\n".join([*text, f"all columns: {command([*every, str(run_dir), '--table'])}", page])

    run_in_directory(body, config.experiment)


def _parse(argv: Sequence[str], takes_arguments: bool, name: str) -> list[str]:
    if asks_for_help(argv):
        said = description(name) if name in SCRIPTS else sys.modules["__main__"].__doc__ or ""
        print(said.strip(), help_text.help_text(), sep="\n\n", end="")
        sys.exit(0)
    return flag_errors.parse(flags.FLAGS, argv, known=help_text.own_flags(), takes_arguments=takes_arguments)


def _run_dir(experiment: str) -> Path:
    return Path(flags.FLAGS.run_dir or Path("runs") / experiment)


def _print_plan(config: study.Configuration) -> None:
    """Prints the plan for --dry_run. Raises: InputError where the run needs models that do not exist."""
    run_dir = _run_dir(config.experiment)
    _keep_compiled_programs()  # a later run reuses the programs that the plan compiles
    done: set[tuple[str, int]] = set()
    if flags.FLAGS.resume and (run_dir / "result.json").exists():
        rows = record.read_json(run_dir)["rows"]
        done = {(row["method"], row["seed"]) for row in rows if "seed" in row}
    if flags.FLAGS.target is not None:
        print(plan_text.target_text(study.plan_on(config, flags.FLAGS.target, cache=_compilation_cache())))
        return
    print(plan_text.plan_text(config, str(run_dir), done))


def in_flags(message: str) -> str:
    """The message of a library error with its arguments replaced by flags of this script: resume=True -> --resume."""

    def flag(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name not in flags.FLAGS:
            return match[0]
        return f"--{name}" if value == "True" else f"--{name}={value}"

    return re.sub(r"(?<![\w-])(\w+)=([\w./]+)", flag, message)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as one line, without the place in the library that raised it."""
    print(f"warning: {' '.join(in_flags(str(message)).split())}", file=sys.stderr, flush=True)


def _how_to_go_on() -> str:
    """The command that continues this run."""
    if "resume" not in flags.FLAGS:
        return "this run does not resume: start it again with --overwrite"
    # sys.argv[1:] may name the flagfile; the flags that follow win, so --resume at the end is enough.
    kept = [argument for argument in sys.argv if argument not in ("--overwrite", "--overwrite=true")]
    return f"continue with: {command([*kept, *([] if '--resume' in kept else ['--resume'])])}"


def command(argv: Sequence[str]) -> str:
    """The command of these arguments as one would type it."""
    return f"{argv[0]} {shlex.join(argv[1:])}" if argv[0].startswith("jsep ") else shlex.join(["python", *argv])


def main(body: Callable[..., None], *, takes_arguments: bool = False, name: str = "") -> None:
    """Parses the flags and runs `body`. Errors are one line; the exit code is 2 for bad input or a full disk, 3 for
    divergence, 130 for Ctrl-C, 143 for SIGTERM.

    takes_arguments: whether arguments that are not flags are passed to `body` as strings; otherwise they are bad input.
    name: of the script, for its help.
    """

    def guarded(argv: Sequence[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # at INFO JAX reports the accelerators that it did not find
        try:
            body(*argv[1:])
        except InputError as error:
            fail(EXIT_BAD_INPUT, in_flags(str(error)))
        except train.TrainingDiverged as error:
            fail(EXIT_DIVERGED, in_flags(str(error)))
        except interrupts.Terminated:
            fail(EXIT_TERMINATED, f"ended by SIGTERM; {_how_to_go_on()}")
        except KeyboardInterrupt:
            fail(EXIT_INTERRUPTED, f"interrupted; {_how_to_go_on()}")
        except OSError as error:
            if not is_disk_full(error):
                raise
            message = f"the disk is full: {error.strerror or error}; make room and {_how_to_go_on()}"
            print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
            # Skips the exit handlers: those of the event files would write again and print errors of their own.
            os._exit(EXIT_BAD_INPUT)

    devices.use_all_cores()
    interrupts.install()
    warnings.showwarning = _show_warning
    app.run(guarded, flags_parser=functools.partial(_parse, takes_arguments=takes_arguments, name=name))
