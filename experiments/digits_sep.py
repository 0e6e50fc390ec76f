"""MAT, SEP_pos and SEP_neg on scikit-learn's handwritten digits: a small Table 2, without download.

python experiments/digits_sep.py --flagfile=experiments/flags/digits_sep.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("digits_sep")
