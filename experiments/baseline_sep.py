"""MAT, SEP_pos and SEP_neg continued from properly trained models.

python experiments/baseline_sep.py --flagfile=experiments/flags/baseline_sep.flags
"""

import command_line

from jsep.study import StudyConfig

DEFAULTS = StudyConfig.of(
    experiment="baseline_sep",
    dataset="cifar10",
    model="resnet18",
    feature_model="resnet18",
    start_from="runs/cifar10_baseline",
    augment=True,
)

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
