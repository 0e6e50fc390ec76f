"""TRADES with SEP of either sign (appendix).

python experiments/trades_sep.py --flagfile=experiments/flags/trades_sep.flags
"""

import command_line

from jsep.study import StudyConfig

DEFAULTS = StudyConfig.of(
    experiment="trades_sep",
    dataset="cifar10",
    model="resnet18",
    feature_model="resnet18",
    methods=("trades", "trades_sep_pos", "trades_sep_neg"),
    augment=True,
)

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
