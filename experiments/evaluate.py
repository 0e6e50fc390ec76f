"""Evaluates trained models, from studies or imported from PyTorch, on the same images, pairs and attacks.

python experiments/evaluate.py --flagfile=experiments/flags/evaluate_quick.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("evaluate")
