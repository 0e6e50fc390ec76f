"""Does the choice of images matter? Pairs redrawn by seven rules, and maps within and between clusters.

python experiments/selection.py --flagfile=experiments/flags/selection_digits.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("selection")
