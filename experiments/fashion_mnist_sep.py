"""MAT, SEP_pos and SEP_neg on Fashion-MNIST: its rows of Table 2.

python experiments/fashion_mnist_sep.py --flagfile=experiments/flags/fashion_mnist_sep.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("fashion_mnist_sep")
