"""MAT, SEP_pos and SEP_neg with a vision transformer.

python experiments/vit_sep.py --flagfile=experiments/flags/vit_sep.flags
"""

import command_line

from jsep.study import StudyConfig

DEFAULTS = StudyConfig.of(
    experiment="vit_sep", dataset="cifar10", model="vit_tiny", feature_model="resnet18", augment=True
)

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
