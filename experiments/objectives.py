"""Every training objective and every explanation regulariser on one data set: does each work as intended?

python experiments/objectives.py --flagfile=experiments/flags/objectives_digits.flags
"""

import command_line

from jsep import study

DEFAULTS = study.StudyConfig.of(experiment="objectives")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
