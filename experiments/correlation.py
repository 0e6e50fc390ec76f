"""Are classification and explanation robustness correlated over many models? Reads runs of a sweep, trains nothing.

python experiments/correlation.py --flagfile=experiments/flags/correlation_digits.flags
"""

import pathlib

import command_line
from absl import flags

from jsep import report, study

command_line.define_flags(study.CorrelationConfig(experiment="correlation"), resumable=False)


def main() -> None:
    """Gathers the runs that the flags name, prints what they say and the path of the figure."""
    config = command_line.parsed_config(study.CorrelationConfig)

    def body(run_dir: pathlib.Path, progress: command_line.TerminalProgress) -> str:
        result = study.run_correlation(config, run_dir, overwrite=flags.FLAGS.overwrite)
        return f"{report.format_table(result)}\nfigure: {run_dir / 'correlation.png'}"

    command_line.run_in_directory(body, config.experiment)


if __name__ == "__main__":
    command_line.main(main)
