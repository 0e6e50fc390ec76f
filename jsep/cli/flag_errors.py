"""Mistyped flags and bad values as errors of one line. Imports no JAX: a mistyped flag is found before it."""

import difflib
import re
import sys
import typing
from collections.abc import Collection, Sequence

from absl import app, flags  # noqa: F401  app defines flags

from jsep.cli import recipes
from jsep.renamed import RENAMED

EXIT_BAD_INPUT = 2

MEANT = {
    "attack": "explanation_attack_kind",
    "batch": "batch_size",
    "beta": "softplus_beta or --trades_beta",
    "bs": "batch_size",
    "budget": "epsilon",
    "checkpoint": "resume",
    "dir": "run_dir",
    "eps": "epsilon",
    "explanation": "explanation_method",
    "force": "overwrite",
    "lambda": "sep_weight_pos and --sep_weight_neg",
    "logdir": "run_dir",
    "lr": "learning_rate",
    "noise": "sep_noise_scale",
    "out": "run_dir",
    "output_dir": "run_dir",
    "pairs": "num_pairs",
    "seeds": "num_seeds",
    "sigma": "sep_noise_scale",
    "steps": "num_steps",
    "wd": "weight_decay",
    "workdir": "run_dir",
}
"""names used elsewhere -> flags of jsep."""


def suggestion(unknown: str, known: Collection[str]) -> str:
    """The end of the error line for an unknown flag, of the flags that are known."""
    if RENAMED.get(unknown) in known:
        return f", now called --{RENAMED[unknown]}"
    meant = MEANT.get(unknown.lower().replace("-", "_"), "")
    if meant and re.split(r"\W", meant)[0] in known:
        return f"; did you mean --{meant}?"
    near = difflib.get_close_matches(unknown.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    return f"; did you mean --{near[0]}?" if near else "; --help lists the flags"


_BAD_VALUES = (
    (r"(.*): invalid literal for int\(\) with base 10: ('.*')", r"\1: expected a whole number such as 25, got \2"),
    (r"flag --(\w+)=(.*): \('Non-boolean argument to boolean flag', .*\)",
     r"flag --\1=\2: expected true or false, got '\2'; write --\1 or --no\1"),
    (r"Missing value for flag --(\w+)", r"flag --\1: expected a value, got none; write --\1=VALUE"),
    (r"--flagfile with no argument", r"flag --flagfile: expected a file, got none; write --flagfile=FILE"),
    (r"ERROR:: Unable to open flagfile: \[Errno \d+\] (.*): '(.*)'",
     r"flag --flagfile=\2: \1; `jsep recipes` lists the recipes"),
)  # fmt: skip
"""messages of absl -> messages of jsep, which name what was expected."""


def bad_value(message: str) -> str:
    """The error message for a flag's value: what was expected, what was given, what to do."""
    for pattern, words in _BAD_VALUES:
        found = re.fullmatch(pattern, message, re.DOTALL)
        if found:
            return found.expand(words)
    return message


def fail(code: int, error: BaseException | str) -> typing.NoReturn:
    """Ends the process with an error of one line."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(code)


def parse(values: flags.FlagValues, argv: Sequence[str], *, known: Collection[str], takes_arguments: bool) -> list[str]:
    """Gives the flags their values; returns the arguments that are no flags. Ends the process where one is wrong.

    Args: values: the flags; argv: the command line; known: the names to suggest; takes_arguments: whether the command
      line may have other arguments than flags.
    """
    try:
        rest: list[str] = values(recipes.resolve(argv))
    except flags.UnrecognizedFlagError as error:
        fail(EXIT_BAD_INPUT, f"unknown flag --{error.flagname}{suggestion(error.flagname, known)}")
    except flags.Error as error:
        fail(EXIT_BAD_INPUT, bad_value(str(error)))
    if len(rest) > 1 and not takes_arguments:
        fail(EXIT_BAD_INPUT, f"unexpected argument {rest[1]!r}; write flags as --name=value, without spaces")
    return rest


def parse_by_page(page: str, argv: Sequence[str], *, takes_arguments: bool) -> None:
    """`parse` with the flags that a help page names: finds unknown flags and missing values before JAX is imported."""
    values = flags.FlagValues()
    for is_bool, name in re.findall(r"^  --(\[no\])?(\w+)", page, re.MULTILINE):
        if name != "flagfile":  # absl's own
            (flags.DEFINE_bool if is_bool else flags.DEFINE_string)(name, None, "", flag_values=values)
    known = list(values)
    values.append_flag_values(flags.FLAGS)  # those of absl
    parse(values, argv, known=known, takes_arguments=takes_arguments)
