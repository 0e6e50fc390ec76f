"""MAT, SEP_pos and SEP_neg with a vision transformer.

python experiments/vit_sep.py --flagfile=experiments/flags/vit_sep.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("vit_sep")
