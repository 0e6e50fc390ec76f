"""Does the choice of images matter? Pairs drawn anew by seven rules, and maps within and between clusters.

python experiments/selection.py --flagfile=experiments/flags/selection_digits.flags
"""

import pathlib

import command_line
from absl import flags

from jsep import report, study

command_line.define_flags(study.SelectionConfig(experiment="selection"))


def main() -> None:
    """Runs the selection study that the flags describe, prints its tables and the path of its figures."""
    config = command_line.parsed_config(study.SelectionConfig)

    def body(run_dir: pathlib.Path, progress: command_line.TerminalProgress) -> str:
        settings = {"resume": flags.FLAGS.resume, "overwrite": flags.FLAGS.overwrite}
        result = study.run_selection(config, run_dir, on_progress=progress, **settings)
        return f"{report.format_table(result)}\nfigures: {run_dir / 'clusters.png'}, {run_dir / 'draws.png'}"

    command_line.run_in_directory(body, config.experiment)


if __name__ == "__main__":
    command_line.main(main)
