"""MAT, SEP_pos and SEP_neg on MNIST: its rows of Table 2.

python experiments/mnist_sep.py --flagfile=experiments/flags/mnist_sep.flags
"""

import command_line

from jsep.study import StudyConfig

DEFAULTS = StudyConfig.of(
    experiment="mnist_sep", dataset="mnist", model="convnet", feature_model="convnet", augment=False
)

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
