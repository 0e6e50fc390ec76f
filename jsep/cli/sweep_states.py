"""The states of the runs of a sweep, read with their script's flags; a separate process, since flags are global.

python -m jsep.cli.sweep_states SCRIPT < runs.json
Reads a list of {"name", "run_dir", "arguments"}; prints a list of {"name", "state"}. An unknown
flag gives one line and exit code 2, before anything runs.
"""

import importlib.util
import json
import sys

from absl import flags

from jsep import study
from jsep.checks import InputError
from jsep.cli import command_line, recipes, runs
from jsep.cli.flag_errors import EXIT_BAD_INPUT
from jsep.cli.scripts import SCRIPTS, defaults_of
from jsep.study.configuration import Configuration


def _own_defaults(script: str) -> Configuration:
    """DEFAULTS of a script of the user's own."""
    spec = importlib.util.spec_from_file_location(script, runs.own_script(script))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Configuration = module.DEFAULTS
    return found


def main() -> None:
    """Parses the arguments of every run with the flags of the script."""
    script, found = sys.argv[1], []
    defaults = defaults_of(script) if script in SCRIPTS else _own_defaults(script)
    command_line.define_study_flags(defaults)
    for run in json.load(sys.stdin):
        flags.FLAGS.unparse_flags()
        try:
            rest = flags.FLAGS(recipes.resolve([script, *run["arguments"]]))
            if len(rest) > 1:
                raise InputError(f"unexpected argument {rest[1]!r}")
            config = command_line.parsed_config(type(defaults))
        except (flags.Error, InputError) as error:
            print(f"error: run {run['name']}: {' '.join(str(error).split())}", file=sys.stderr)
            sys.exit(EXIT_BAD_INPUT)
        state = study.state_of(run["run_dir"], config)
        found.append({"name": run["name"], "state": state})
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
