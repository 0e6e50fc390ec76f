"""The card of a model by a protocol: accuracies under attack and the robustness of its explanations.

python experiments/card.py --classifier=cifar10_convnet_mat --protocol=cifar10_linf_v1 --data_dir=DIR
"""

import command_line

from jsep import study

DEFAULTS = study.CardConfig.of(experiment="card")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
