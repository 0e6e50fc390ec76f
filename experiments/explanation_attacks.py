"""How strong is the targeted attack on explanations, and what does each member of the ensemble add?

python experiments/explanation_attacks.py --flagfile=experiments/flags/explanation_attacks_quick.flags
"""

import pathlib

import command_line
from absl import flags

from jsep import report, study

command_line.define_flags(study.AttackAblationConfig(experiment="explanation_attacks"))


def main() -> None:
    """Runs the comparison that the flags describe, prints its tables and the path of its result."""
    config = command_line.parsed_config(study.AttackAblationConfig)

    def body(run_dir: pathlib.Path, progress: command_line.TerminalProgress) -> str:
        settings = {"resume": flags.FLAGS.resume, "overwrite": flags.FLAGS.overwrite}
        result = study.run_attack_ablation(config, run_dir, on_progress=progress, **settings)
        return f"{report.format_table(result)}\n\nresult: {run_dir / 'result.json'}"

    command_line.run_in_directory(body, config.experiment)


if __name__ == "__main__":
    command_line.main(main)
