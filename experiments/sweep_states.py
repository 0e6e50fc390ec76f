"""The states of the runs of a sweep, read with their script's flags; a separate process, since flags are global.

python experiments/sweep_states.py SCRIPT < runs.json
Reads a list of {"name", "run_dir", "arguments"}; prints a list of {"name", "state"}. An unknown
flag gives one line and exit code 2, before anything runs.
"""

import importlib
import json
import sys

from absl import flags

from jsep import cli, study
from jsep.checks import InputError
from jsep.cli import command_line


def main() -> None:
    """Parses the arguments of every run with the flags of the script."""
    script, found = sys.argv[1], []
    is_own = script not in cli.SCRIPTS  # a file of the user's own beside these, with its DEFAULTS
    defaults = importlib.import_module(script).DEFAULTS if is_own else cli.defaults_of(script)
    command_line.define_study_flags(defaults)
    for run in json.load(sys.stdin):
        flags.FLAGS.unparse_flags()
        try:
            rest = flags.FLAGS([script, *run["arguments"]])
            if len(rest) > 1:
                raise InputError(f"unexpected argument {rest[1]!r}")
            config = command_line.parsed_config(type(defaults))
        except (flags.Error, InputError) as error:
            print(f"error: run {run['name']}: {' '.join(str(error).split())}", file=sys.stderr)
            sys.exit(command_line.EXIT_BAD_INPUT)
        state = study.state_of(run["run_dir"], config)
        found.append({"name": run["name"], "state": state})
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
