"""Adds a finished run's model to the models of the package: its weights, its card measured, the examples renewed.

python experiments/add_to_zoo.py --name=cifar10_convnet_mat --method=mat --model_seed=0 --protocol=cifar10_linf_v1 \\
    --classifier=results/definitive_cifar10/models/epsilon8_seed0 --data_dir=DIR
The card is measured in runs/cards/NAME; started again, the command goes on where it was stopped. Afterwards
`python experiments/render_results.py` brings the table of docs/zoo.md up to date.
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("add_to_zoo")
