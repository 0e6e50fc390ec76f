"""MAT, SEP_pos and SEP_neg continued from properly trained models.

python experiments/baseline_sep.py --flagfile=experiments/flags/baseline_sep.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("baseline_sep")
