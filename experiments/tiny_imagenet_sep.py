"""MAT, SEP_pos and SEP_neg on TinyImageNet: its rows of Table 2.

python experiments/tiny_imagenet_sep.py --flagfile=experiments/flags/tiny_imagenet_sep.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("tiny_imagenet_sep")
