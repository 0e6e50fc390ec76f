"""The console command `jsep`, also `python -m jsep.cli`."""

import difflib
import sys
import textwrap

from jsep import __version__
from jsep.cli import recipes
from jsep.cli.program import run
from jsep.cli.scripts import SCRIPTS


def _usage() -> str:
    rows = [
        textwrap.fill(script.help, 100, initial_indent=f"  {name:<20}", subsequent_indent=" " * 22)
        for name, script in SCRIPTS.items()
    ]
    listing = f"  {'recipes':<20}Lists the recipes: NAME in --flagfile=NAME"
    head = (
        f"jsep {__version__}: explain a classifier, attack its predictions and explanations, train it with SEP\n\n"
        "  jsep digits_sep --flagfile=digits_sep   trains nine models, attacks them, writes a page\n"
        "  jsep NAME --help                        an example, and every flag\n"
    )
    return "\n".join([head, *rows, listing])


def main() -> None:
    """Runs the subcommand that the command line names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "-help", "--help", "help"):
        print(_usage())
    elif name == "--version":
        print(__version__)
    elif name == "recipes":
        print(recipes.listing())
    elif name in SCRIPTS:
        sys.argv = [f"jsep {name}", *sys.argv[2:]]
        run(name)
    else:
        near = difflib.get_close_matches(name, [*SCRIPTS, "recipes"], n=1, cutoff=0.5)
        hint = f"did you mean jsep {near[0]}?" if near else "jsep --help lists the commands"
        print(f"error: unknown command {name!r}; {hint}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
