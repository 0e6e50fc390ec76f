"""The input landscape of trained models: Figure 1b, landscapes and Hessians of MAT, SEP_pos and SEP_neg.

python experiments/landscape_models.py --flagfile=experiments/flags/landscape_quick.flags --data_dir=DIR
"""

import command_line

from jsep import study

DEFAULTS = study.LandscapeConfig.of(experiment="landscape")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
