"""Are classification and explanation robustness correlated over many models? Reads runs of a sweep, trains nothing.

python experiments/correlation.py --flagfile=experiments/flags/correlation_digits.flags
"""

import command_line

from jsep import study

DEFAULTS = study.CorrelationConfig.of(experiment="correlation")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
