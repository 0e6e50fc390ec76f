"""MAT, SEP_pos and SEP_neg on CIFAR-100: its rows of Table 2.

python experiments/cifar100_sep.py --flagfile=experiments/flags/cifar100_sep.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("cifar100_sep")
