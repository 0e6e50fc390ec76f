"""Studies: several methods and seeds, trained, attacked on the same pairs and reported in one run directory."""

from jsep.study.attack_ablation import AttackAblationConfig, run_attack_ablation
from jsep.study.config import StudyConfig
from jsep.study.correlation import CorrelationConfig, run_correlation
from jsep.study.cross_method import CrossMethodConfig, run_cross_method
from jsep.study.evaluation import run_evaluation
from jsep.study.evaluation_config import EvaluationConfig
from jsep.study.flat_config import RENAMED, FlatConfig
from jsep.study.gallery import GalleryConfig, run_gallery
from jsep.study.landscape import run_landscape
from jsep.study.landscape_config import LandscapeConfig
from jsep.study.methods import TrainingMethod, training_method, training_methods
from jsep.study.methods_table import MethodsTableConfig, run_methods_table
from jsep.study.plan import Plan, Task, plan
from jsep.study.precision import run_precision
from jsep.study.recipes import RecipesConfig
from jsep.study.run import run
from jsep.study.selection import SelectionConfig, run_selection
from jsep.study.strength import Peer, StrengthConfig, run_strength
from jsep.study.sweep import (
    PlannedRun,
    RunState,
    SweepConfig,
    SweepSpec,
    plan_sweep,
    read_spec,
    run_sweep,
    seconds_left,
    state_of,
)
from jsep.study.sweep_engines import Engine, gpus, run_processes, worker_environments
from jsep.study.trades_landscape import TradesLandscapeConfig, run_trades_landscape
from jsep.study.trained import TrainedModel, TrainedStudy, keep_study, load_trained
from jsep.study.weight_sweep import WeightSweepConfig, run_weight_sweep

__all__ = [
    "RENAMED",
    "AttackAblationConfig",
    "CorrelationConfig",
    "CrossMethodConfig",
    "Engine",
    "EvaluationConfig",
    "FlatConfig",
    "GalleryConfig",
    "LandscapeConfig",
    "MethodsTableConfig",
    "Peer",
    "Plan",
    "PlannedRun",
    "RecipesConfig",
    "RunState",
    "SelectionConfig",
    "StrengthConfig",
    "StudyConfig",
    "SweepConfig",
    "SweepSpec",
    "Task",
    "TradesLandscapeConfig",
    "TrainedModel",
    "TrainedStudy",
    "TrainingMethod",
    "WeightSweepConfig",
    "gpus",
    "keep_study",
    "load_trained",
    "plan",
    "plan_sweep",
    "read_spec",
    "run",
    "run_attack_ablation",
    "run_correlation",
    "run_cross_method",
    "run_evaluation",
    "run_gallery",
    "run_landscape",
    "run_methods_table",
    "run_precision",
    "run_processes",
    "run_selection",
    "run_strength",
    "run_sweep",
    "run_trades_landscape",
    "run_weight_sweep",
    "seconds_left",
    "state_of",
    "training_method",
    "training_methods",
    "worker_environments",
]
