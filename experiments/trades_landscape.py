"""TRADES with several weights and the explanation-loss landscape of each: Figure 3.

python experiments/trades_landscape.py --flagfile=experiments/flags/trades_landscape_quick.flags
"""

import pathlib

import command_line
from absl import flags

from jsep import report, study

command_line.define_flags(study.TradesLandscapeConfig(experiment="trades_landscape"), resumable=False)


def main() -> None:
    """Trains and analyses what the flags describe, prints the tables and the path of the page."""
    config = command_line.parsed_config(study.TradesLandscapeConfig)

    def body(run_dir: pathlib.Path, progress: command_line.TerminalProgress) -> str:
        result = study.run_trades_landscape(config, run_dir, overwrite=flags.FLAGS.overwrite, on_progress=progress)
        return f"{report.format_table(result)}\npage: {run_dir / 'index.html'}"

    command_line.run_in_directory(body, config.experiment)


if __name__ == "__main__":
    command_line.main(main)
