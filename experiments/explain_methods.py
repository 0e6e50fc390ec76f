"""Every explanation method on the same images: maps, and the sanity check with randomised weights.

python experiments/explain_methods.py --flagfile=experiments/flags/explain_methods_quick.flags --data_dir=DIR
"""

import command_line

from jsep import study

DEFAULTS = study.ExplanationMethodsConfig.of(experiment="explain_methods")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
