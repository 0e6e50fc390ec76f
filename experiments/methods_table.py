"""SEP with Gradient, Gradient x Input or Guided Backprop in its term, tested with each of them: Table 3.

python experiments/methods_table.py --flagfile=experiments/flags/methods_table_quick.flags --data_dir=DIR
"""

import pathlib

import command_line
from absl import flags

from jsep import report, study

command_line.define_flags(study.MethodsTableConfig(experiment="methods_table"))


def main() -> None:
    """Trains and tests what the flags describe, prints the table and the path of its figure."""
    config = command_line.parsed_config(study.MethodsTableConfig)

    def body(run_dir: pathlib.Path, progress: command_line.TerminalProgress) -> str:
        settings = {"resume": flags.FLAGS.resume, "overwrite": flags.FLAGS.overwrite}
        result = study.run_methods_table(config, run_dir, on_progress=progress, **settings)
        return f"{report.format_table(result)}\nfigure: {run_dir / 'cross.png'}"

    command_line.run_in_directory(body, config.experiment)


if __name__ == "__main__":
    command_line.main(main)
