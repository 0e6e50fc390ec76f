"""Studies: models of several methods and seeds, trained, attacked on the same pairs and reported in one run directory.

`kinds` lists the kinds of studies and runs any of them with `runner`; each kind is one file with its configuration,
its loading, its measurement and its figures.
"""

from jsep.study.attack_strength import PEERS, AttackStrengthConfig, Peer
from jsep.study.card import CardConfig, measure_card
from jsep.study.config import StudyConfig
from jsep.study.configuration import Configuration, count, group, setting, settings_of
from jsep.study.correlation import CorrelationConfig
from jsep.study.cross_method import CrossMethodConfig
from jsep.study.evaluation_config import EvaluationConfig
from jsep.study.explanation_attacks import ExplanationAttacksConfig
from jsep.study.explanation_methods import ExplanationMethodsConfig
from jsep.study.kinds import STUDIES, describe, kind_of, run
from jsep.study.landscape_config import LandscapeConfig
from jsep.study.methods import training_method, training_methods
from jsep.study.methods_table import MethodsTableConfig
from jsep.study.plan import TargetPlan, plan, plan_on
from jsep.study.precision import PrecisionConfig
from jsep.study.protocols import PROTOCOLS, Protocol, protocol
from jsep.study.recipes import RecipesConfig
from jsep.study.runner import Run, StudyKind
from jsep.study.selection import SelectionConfig
from jsep.study.sweep import PlannedRun, RunState, SweepConfig, plan_sweep, read_spec, run_sweep, seconds_left, state_of
from jsep.study.sweep_engines import Engine, gpus, run_processes, worker_environments
from jsep.study.targets import TARGETS
from jsep.study.trades_landscape import TradesLandscapeConfig
from jsep.study.trained import TrainedStudy, load_trained
from jsep.study.weight_sweep import WeightSweepConfig
from jsep.study.zoo import keep_study

__all__ = [
    "AttackStrengthConfig",
    "CardConfig",
    "Configuration",
    "CorrelationConfig",
    "CrossMethodConfig",
    "Engine",
    "EvaluationConfig",
    "ExplanationAttacksConfig",
    "ExplanationMethodsConfig",
    "LandscapeConfig",
    "MethodsTableConfig",
    "PEERS",
    "PROTOCOLS",
    "Protocol",
    "Peer",
    "TARGETS",
    "TargetPlan",
    "PlannedRun",
    "PrecisionConfig",
    "RecipesConfig",
    "Run",
    "RunState",
    "STUDIES",
    "SelectionConfig",
    "StudyConfig",
    "StudyKind",
    "SweepConfig",
    "TradesLandscapeConfig",
    "TrainedStudy",
    "WeightSweepConfig",
    "count",
    "describe",
    "gpus",
    "group",
    "keep_study",
    "kind_of",
    "load_trained",
    "measure_card",
    "plan",
    "plan_on",
    "plan_sweep",
    "protocol",
    "read_spec",
    "run",
    "run_processes",
    "run_sweep",
    "seconds_left",
    "setting",
    "settings_of",
    "state_of",
    "training_method",
    "training_methods",
    "worker_environments",
]
