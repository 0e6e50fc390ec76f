"""PGD, Auto-PGD and AutoAttack on the trained models of a study, beside other implementations on the same weights.

python experiments/attack_strength.py --flagfile=experiments/flags/attack_strength_quick.flags --data_dir=DIR
"""

import pathlib

import command_line
import torch_peers
from absl import flags

from jsep import report, study

command_line.define_flags(study.StrengthConfig(experiment="attack_strength"), resumable=False)


def main() -> None:
    """Attacks the models that the flags name and prints the table of their robust accuracies."""
    config = command_line.parsed_config(study.StrengthConfig)

    def body(run_dir: pathlib.Path, progress: command_line.TerminalProgress) -> str:
        result = study.run_strength(
            config, run_dir, peers=torch_peers.PEERS, overwrite=flags.FLAGS.overwrite, on_progress=progress
        )
        return f"{report.format_table(result)}\nresult: {run_dir / 'result.json'}"

    command_line.run_in_directory(body, config.experiment)


if __name__ == "__main__":
    command_line.main(main)
