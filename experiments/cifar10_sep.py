"""MAT, SEP_pos and SEP_neg on CIFAR-10: the CIFAR-10 rows of Table 2.

python experiments/cifar10_sep.py --flagfile=experiments/flags/cifar10_sep.flags
"""

import command_line

from jsep.study import StudyConfig

DEFAULTS = StudyConfig.of(
    experiment="cifar10_sep", dataset="cifar10", model="resnet18", feature_model="resnet18", augment=True
)

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
