"""How strong is the targeted attack on explanations, and what does each member of the ensemble add?

python experiments/explanation_attacks.py --flagfile=experiments/flags/explanation_attacks_quick.flags
"""

import command_line

from jsep import study

DEFAULTS = study.ExplanationAttacksConfig.of(experiment="explanation_attacks")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
