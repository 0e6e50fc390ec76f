"""MAT, SEP_pos and SEP_neg on CIFAR-100: its rows of Table 2.

python experiments/cifar100_sep.py --flagfile=experiments/flags/cifar100_sep.flags
"""

import command_line

from jsep.study import StudyConfig

DEFAULTS = StudyConfig.of(
    experiment="cifar100_sep", dataset="cifar100", model="resnet18", feature_model="resnet18", augment=True
)

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
