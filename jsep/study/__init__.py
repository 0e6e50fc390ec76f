"""Studies: several methods and seeds, trained, attacked on the same pairs and reported in one run directory."""

from jsep.evaluate import DEGRADED_MARGIN
from jsep.study.attack_ablation import AttackAblationConfig, run_attack_ablation
from jsep.study.config import METHODS, StudyConfig, TrainingMethod
from jsep.study.cross_method import CrossMethodConfig, run_cross_method
from jsep.study.flat_config import FlatConfig
from jsep.study.gallery import GalleryConfig, run_gallery
from jsep.study.landscape import run_landscape
from jsep.study.landscape_config import LandscapeConfig
from jsep.study.plan import Plan, Task, plan
from jsep.study.run import run
from jsep.study.selection import SelectionConfig, run_selection
from jsep.study.strength import Peer, StrengthConfig, run_strength
from jsep.study.trades_landscape import TradesLandscapeConfig, run_trades_landscape
from jsep.study.trained import TrainedModel, TrainedStudy, load_trained

__all__ = [
    "DEGRADED_MARGIN",
    "METHODS",
    "AttackAblationConfig",
    "CrossMethodConfig",
    "FlatConfig",
    "GalleryConfig",
    "LandscapeConfig",
    "Peer",
    "Plan",
    "SelectionConfig",
    "StrengthConfig",
    "StudyConfig",
    "Task",
    "TradesLandscapeConfig",
    "TrainedModel",
    "TrainedStudy",
    "TrainingMethod",
    "load_trained",
    "plan",
    "run",
    "run_attack_ablation",
    "run_cross_method",
    "run_gallery",
    "run_landscape",
    "run_selection",
    "run_strength",
    "run_trades_landscape",
]
