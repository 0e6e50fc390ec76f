"""What every script shares: flags from a configuration, progress on the terminal, one-line errors, the last line."""

import dataclasses
import functools
import os
import shlex
import sys
import time
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Before JAX is imported: its start-up notices are not about this program.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import jax
from absl import app, flags, logging
from tqdm import tqdm

from jsep import report, study, train
from jsep.checks import InputError

Config = typing.TypeVar("Config", bound=study.FlatConfig)

EXIT_BAD_INPUT, EXIT_DIVERGED, EXIT_INTERRUPTED = 2, 3, 130


class FractionParser(flags.ArgumentParser):
    """A float that may be written as a fraction: 8/255."""

    syntactic_help = "a number or a fraction such as 8/255"

    def parse(self, argument: Any) -> float:
        if isinstance(argument, int | float):
            return float(argument)
        numerator, _, denominator = str(argument).partition("/")
        try:
            return float(numerator) / float(denominator or 1)
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"expected a number or a fraction such as 8/255, got {argument!r}") from None

    def flag_type(self) -> str:
        return "number or fraction"


def _define(field: dataclasses.Field[Any], default: Any, kind: Any) -> None:
    if isinstance(kind, types.UnionType):  # X | None
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    text = field.metadata["help"]
    if kind is bool:
        flags.DEFINE_bool(field.name, default, text)
    elif kind is int:
        flags.DEFINE_integer(field.name, default, text)
    elif kind is float:
        flags.DEFINE(FractionParser(), field.name, default, text)
    elif typing.get_origin(kind) is tuple:
        flags.DEFINE_list(field.name, list(default), text)
    else:
        flags.DEFINE_string(field.name, default, text)


def define_flags(defaults: study.FlatConfig, *, resumable: bool = True) -> None:
    """One flag for each field of the configuration, and those of the run directory."""
    kinds = typing.get_type_hints(type(defaults))
    for field in dataclasses.fields(defaults):
        _define(field, getattr(defaults, field.name), kinds[field.name])
    flags.DEFINE_string("run_dir", None, "directory of the run, made if absent; default: runs/<experiment>")
    if resumable:
        flags.DEFINE_bool("resume", False, "continue the run in run_dir")
    flags.DEFINE_bool("overwrite", False, "replace the run in run_dir")
    flags.DEFINE_string(
        "compilation_cache",
        os.path.join("~", ".cache", "jsep"),
        "where compiled programs are kept between runs; '' for nowhere",
    )
    # --help lists the flags of the script; without this they would count as this module's.
    for flag in flags.FLAGS.get_flags_for_module(__name__):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def parsed_config(kind: type[Config]) -> Config:
    """The configuration that the parsed flags say."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        value = getattr(flags.FLAGS, field.name)
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


class TerminalProgress:
    """Shows what a study is doing: a bar for each training, a line for everything else."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._what = ""

    def __call__(self, what: str, record: dict[str, Any]) -> None:
        if what != self._what:
            self.close()
            self._what = what
            if not record:
                print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)
        if not record:
            return
        if self._bar is None:
            # The time left comes with the record: tqdm would count the steps before its bar existed.
            form = "{desc} {percentage:3.0f}%|{bar}| step {n_fmt}/{total_fmt} {postfix}"
            self._bar = tqdm(total=record["num_steps"], desc=what, file=sys.stderr, dynamic_ncols=True, bar_format=form)
        self._bar.n = record["step"]
        if "loss" in record:
            left = tqdm.format_interval(record["seconds_left"])
            speed = f"{record['images_per_second']:.0f} images/s"
            shown = f"loss {record['loss']:.3f}, accuracy {record['accuracy']:.1%}, {speed}, {left} left"
            self._bar.set_postfix_str(shown)

    def close(self) -> None:
        """Ends the bar that is open."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def run_in_directory(body: Callable[[Path, TerminalProgress], str], experiment: str) -> None:
    """Runs `body` in the directory of the run, with progress on the terminal, and prints what it returns."""
    if flags.FLAGS.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", os.path.expanduser(flags.FLAGS.compilation_cache))
    progress = TerminalProgress()
    try:
        printed = body(Path(flags.FLAGS.run_dir or Path("runs") / experiment), progress)
    finally:
        progress.close()
    print(printed)


def run_study() -> None:
    """Runs the study that the flags describe, prints its table and the path of its page."""
    config = parsed_config(study.StudyConfig)

    def body(run_dir: Path, progress: TerminalProgress) -> str:
        settings = {"resume": flags.FLAGS.resume, "overwrite": flags.FLAGS.overwrite}
        result = study.run(config, run_dir, on_progress=progress, **settings)
        return f"{report.format_table(result)}\n\npage: {run_dir / 'index.html'}"

    run_in_directory(body, config.experiment)


def _parse(argv: Sequence[str], takes_arguments: bool) -> list[str]:
    try:
        rest = flags.FLAGS(list(argv))
        if len(rest) > 1 and not takes_arguments:
            raise InputError(f"unexpected argument {rest[1]!r}; flags begin with -- and have no spaces around =")
    except (flags.Error, InputError) as error:
        _fail(EXIT_BAD_INPUT, error)
    return rest


def _fail(code: int, error: BaseException | str) -> typing.NoReturn:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(code)


def main(body: Callable[..., None], *, takes_arguments: bool = False) -> None:
    """Parses the flags and runs `body`; bad input is one line and exit code 2, divergence 3, Ctrl-C 130.

    takes_arguments: what is no flag is handed to `body` as strings; otherwise it is bad input.
    """

    def guarded(argv: Sequence[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # JAX reports at INFO which accelerators it did not find
        try:
            body(*argv[1:])
        except InputError as error:
            _fail(EXIT_BAD_INPUT, error)
        except train.TrainingDiverged as error:
            _fail(EXIT_DIVERGED, error)
        except KeyboardInterrupt:
            if "resume" not in flags.FLAGS:
                _fail(EXIT_INTERRUPTED, "interrupted; this run does not resume: start it again with --overwrite")
            # sys.argv[1:] may name the flagfile; the flags that follow win, so --resume at the end is enough.
            kept = [argument for argument in sys.argv if argument not in ("--overwrite", "--overwrite=true")]
            command = shlex.join(["python", *kept, *([] if "--resume" in kept else ["--resume"])])
            _fail(EXIT_INTERRUPTED, f"interrupted; continue with: {command}")

    app.run(guarded, flags_parser=functools.partial(_parse, takes_arguments=takes_arguments))
