"""Does SEP transfer to explanation methods other than the one used in training? (Figure 5)

python experiments/cross_method.py --flagfile=experiments/flags/cross_method_digits.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("cross_method")
