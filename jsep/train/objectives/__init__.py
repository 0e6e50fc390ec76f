"""Training objectives, the loss of a batch without regularisers: standard, Madry adversarial training and TRADES.

A new objective is one file with a `make_*`, its configuration and an `Objective`, and one line in `OBJECTIVES`. Users
register their own with `train.OBJECTIVES["mine"] = train.Objective(make_mine, MineConfig)` before a configuration names
it.
"""

from jsep.checks import check_choice
from jsep.train.objectives.interface import Auxiliary, InnerAttack, NoSettings, Objective, PgdConfig
from jsep.train.objectives.mat import MAT, adversarial_images
from jsep.train.objectives.standard import STANDARD
from jsep.train.objectives.trades import TRADES, TradesConfig

__all__ = [
    "OBJECTIVES",
    "Auxiliary",
    "InnerAttack",
    "NoSettings",
    "Objective",
    "PgdConfig",
    "TradesConfig",
    "adversarial_images",
    "objective",
]

OBJECTIVES: dict[str, Objective] = {"standard": STANDARD, "mat": MAT, "trades": TRADES}
"""name -> Objective."""


def objective(name: str) -> Objective:
    """The training objective called `name`. Raises InputError for an unknown name."""
    check_choice("training objective", name, OBJECTIVES)
    return OBJECTIVES[name]
