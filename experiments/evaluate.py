"""Evaluates trained models, from studies or imported from PyTorch, on the same images, pairs and attacks.

python experiments/evaluate.py --flagfile=experiments/flags/evaluate_quick.flags
"""

import command_line

from jsep import study

DEFAULTS = study.EvaluationConfig.of(experiment="evaluate", study_dirs=("runs/digits_models",))

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
