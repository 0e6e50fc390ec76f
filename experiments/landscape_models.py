"""The input landscape of trained models: Figure 1b, the landscapes of MAT, SEP_pos and SEP_neg, their Hessians.

python experiments/landscape_models.py --flagfile=experiments/flags/landscape_quick.flags --data_dir=DIR
"""

import pathlib

import command_line
from absl import flags

from jsep import report, study

command_line.define_flags(study.LandscapeConfig(experiment="landscape"), resumable=False)


def main() -> None:
    """Runs the analysis that the flags describe, prints its tables and the path of its page."""
    config = command_line.parsed_config(study.LandscapeConfig)

    def body(run_dir: pathlib.Path, progress: command_line.TerminalProgress) -> str:
        result = study.run_landscape(config, run_dir, overwrite=flags.FLAGS.overwrite, on_progress=progress)
        return f"{report.format_table(result)}\npage: {run_dir / 'index.html'}"

    command_line.run_in_directory(body, config.experiment)


if __name__ == "__main__":
    command_line.main(main)
