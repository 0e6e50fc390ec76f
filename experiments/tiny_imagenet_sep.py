"""MAT, SEP_pos and SEP_neg on TinyImageNet: its rows of Table 2.

python experiments/tiny_imagenet_sep.py --flagfile=experiments/flags/tiny_imagenet_sep.flags
"""

import command_line

from jsep.study import StudyConfig

DEFAULTS = StudyConfig.of(
    experiment="tiny_imagenet_sep",
    dataset="tiny_imagenet",
    model="resnet18",
    feature_model="resnet18",
    augment=True,
)

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
