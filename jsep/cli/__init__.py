"""The command line: `jsep NAME --flag=value` and `python experiments/NAME.py --flag=value` are the same program.

`scripts` lists the programs, `command_line` makes flags of a configuration and errors of one line, `recipes` finds the
flagfiles that come with the package. The only folder of the library that knows flags and prints.
"""

from jsep.cli import before_jax  # noqa: F401  for its effect, before anything else
from jsep.cli.program import run
from jsep.cli.scripts import SCRIPTS, Script, defaults_of

__all__ = ["SCRIPTS", "Script", "defaults_of", "run"]
