"""Evaluates any trained models, of our studies and imported from PyTorch, on the same images, pairs and attacks.

python experiments/evaluate.py --flagfile=experiments/flags/evaluate_quick.flags
"""

import pathlib

import command_line
from absl import flags

from jsep import report, study

command_line.define_flags(study.EvaluationConfig(experiment="evaluate", study_dirs=("runs/digits_models",)))


def main() -> None:
    """Evaluates the models that the flags name, prints their table, the verdict and the path of the page."""
    config = command_line.parsed_config(study.EvaluationConfig)

    def body(run_dir: pathlib.Path, progress: command_line.TerminalProgress) -> str:
        settings = {"resume": flags.FLAGS.resume, "overwrite": flags.FLAGS.overwrite}
        result = study.run_evaluation(config, run_dir, on_progress=progress, **settings)
        findings = command_line.findings_text(result)
        return f"{report.format_table(result)}\n\n{findings}\n\npage: {run_dir / 'index.html'}"

    command_line.run_in_directory(body, config.experiment)


if __name__ == "__main__":
    command_line.main(main)
