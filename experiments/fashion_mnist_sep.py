"""MAT, SEP_pos and SEP_neg on Fashion-MNIST: its rows of Table 2.

python experiments/fashion_mnist_sep.py --flagfile=experiments/flags/fashion_mnist_sep.flags
"""

import command_line

from jsep.study import StudyConfig

DEFAULTS = StudyConfig.of(
    experiment="fashion_mnist_sep", dataset="fashion_mnist", model="convnet", feature_model="convnet", augment=False
)

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
