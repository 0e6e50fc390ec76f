"""The same study with training steps in float32 and in bfloat16: which reported numbers change, and by how much?

python experiments/precision.py --flagfile=experiments/flags/precision_digits.flags
"""

import command_line

from jsep import study

DEFAULTS = study.PrecisionConfig.of(experiment="precision")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
