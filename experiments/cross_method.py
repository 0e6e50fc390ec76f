"""Does SEP transfer to explanation methods other than the one used in training? (Figure 5)

python experiments/cross_method.py --flagfile=experiments/flags/cross_method_digits.flags
"""

import command_line

from jsep import study

DEFAULTS = study.CrossMethodConfig.of(experiment="cross_method")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
