"""Redraws the page of a run from its files, or writes one page that compares several studies, or several landscape
analyses, on the same data.

python experiments/report.py RUN_DIR                                  writes RUN_DIR/index.html
python experiments/report.py RUN_DIR RUN_DIR ... --out=compare.html   writes compare.html
"""

from absl import flags

from jsep import report
from jsep.checks import InputError
from jsep.cli import command_line
from jsep.record import run_files


def _main(*run_dirs: str) -> None:
    """Writes the page and prints its path."""
    out = flags.FLAGS.out
    if not run_dirs:
        raise InputError("expected one or more run directories, got none; give the directories that experiments wrote")
    if flags.FLAGS.table:
        print("\n\n".join(report.format_table(run_files.read_json(run_dir)) for run_dir in run_dirs))
        return
    if len(run_dirs) > 1:
        print(f"page: {report.write_comparison(run_dirs, out or 'compare.html')}")
        return
    if out is not None:
        raise InputError("--out names the page that compares several runs; the page of one run is its index.html")
    print(f"page: {report.write(run_dirs[0])}")


def start() -> None:
    """Defines the flags and runs the program."""
    flags.DEFINE_string("out", None, "the page that compares several runs; default: compare.html")
    flags.DEFINE_bool("table", False, "print all columns of the tables of one run, and write nothing")
    command_line.main(_main, takes_arguments=True, name="report")
