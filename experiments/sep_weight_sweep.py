"""How does robustness change with the SEP weight, until training fails? Reads runs of a sweep, trains nothing.

python experiments/sep_weight_sweep.py --flagfile=experiments/flags/sep_weight_sweep_digits.flags
"""

import command_line

from jsep import study

DEFAULTS = study.WeightSweepConfig.of(experiment="sep_weight_sweep")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
