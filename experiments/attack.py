"""Attacks a model's predictions and explanations on your own images.

python experiments/attack.py --model=cifar10_convnet_mat --images=a.png,b.png
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("attack")
