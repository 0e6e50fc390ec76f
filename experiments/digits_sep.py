"""MAT, SEP_pos and SEP_neg on scikit-learn's handwritten digits: a small Table 2, without download.

python experiments/digits_sep.py --flagfile=experiments/flags/digits_sep.flags
"""

import command_line

from jsep.study import StudyConfig

DEFAULTS = StudyConfig.of(experiment="digits_sep", dataset="digits")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
