"""How do both robustnesses change with the SEP weight, until training breaks? From the runs of a sweep; trains nothing.

python experiments/sep_weight_sweep.py --flagfile=experiments/flags/sep_weight_sweep_digits.flags
"""

import pathlib

import command_line
from absl import flags

from jsep import report, study

command_line.define_flags(study.WeightSweepConfig(experiment="sep_weight_sweep"), resumable=False)


def main() -> None:
    """Gathers the runs that the flags name, prints the table and the path of the figure."""
    config = command_line.parsed_config(study.WeightSweepConfig)

    def body(run_dir: pathlib.Path, progress: command_line.TerminalProgress) -> str:
        result = study.run_weight_sweep(config, run_dir, overwrite=flags.FLAGS.overwrite)
        return f"{report.format_table(result)}\nfigure: {run_dir / 'weights.png'}"

    command_line.run_in_directory(body, config.experiment)


if __name__ == "__main__":
    command_line.main(main)
