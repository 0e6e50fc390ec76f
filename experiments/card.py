"""The card of a model by a protocol: accuracies under attack and the robustness of its explanations.

python experiments/card.py --classifier=cifar10_convnet_mat --protocol=cifar10_linf_v1 --data_dir=DIR
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("card")
