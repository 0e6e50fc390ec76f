"""TRADES with several weights and the explanation-loss landscape of each: Figure 3.

python experiments/trades_landscape.py --flagfile=experiments/flags/trades_landscape_quick.flags
"""

import command_line

from jsep import study

DEFAULTS = study.TradesLandscapeConfig.of(experiment="trades_landscape")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
