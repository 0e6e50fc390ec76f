"""MAT, SEP_pos and SEP_neg on CIFAR-10: the CIFAR-10 rows of Table 2.

python experiments/cifar10_sep.py --flagfile=experiments/flags/cifar10_sep.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("cifar10_sep")
