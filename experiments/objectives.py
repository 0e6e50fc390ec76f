"""Every training objective and every explanation regulariser on one data set: does each work as intended?

python experiments/objectives.py --flagfile=experiments/flags/objectives_digits.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("objectives")
