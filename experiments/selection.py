"""Does the choice of images matter? Pairs redrawn by seven rules, and maps within and between clusters.

python experiments/selection.py --flagfile=experiments/flags/selection_digits.flags
"""

import command_line

from jsep import study

DEFAULTS = study.SelectionConfig.of(experiment="selection")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
