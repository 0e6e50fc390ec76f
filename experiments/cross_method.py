"""Does SEP carry over to other explanation methods than the one it was trained with? (Figure 5)

python experiments/cross_method.py --flagfile=experiments/flags/cross_method_digits.flags
"""

import pathlib

import command_line
from absl import flags

from jsep import report, study

command_line.define_flags(study.CrossMethodConfig(experiment="cross_method"))


def main() -> None:
    """Runs the study that the flags describe, prints its table and the path of its figure."""
    config = command_line.parsed_config(study.CrossMethodConfig)

    def body(run_dir: pathlib.Path, progress: command_line.TerminalProgress) -> str:
        settings = {"resume": flags.FLAGS.resume, "overwrite": flags.FLAGS.overwrite}
        result = study.run_cross_method(config, run_dir, on_progress=progress, **settings)
        return f"{report.format_table(result)}\nfigure: {run_dir / 'cross.png'}"

    command_line.run_in_directory(body, config.experiment)


if __name__ == "__main__":
    command_line.main(main)
