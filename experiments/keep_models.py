"""Copies finished studies to a directory kept with the code: float16 weights, configuration, result and pairs.

python experiments/keep_models.py results/definitive_cifar10/models runs/definitive_cifar10/*
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("keep_models")
