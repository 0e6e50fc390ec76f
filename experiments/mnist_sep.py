"""MAT, SEP_pos and SEP_neg on MNIST: its rows of Table 2.

python experiments/mnist_sep.py --flagfile=experiments/flags/mnist_sep.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("mnist_sep")
