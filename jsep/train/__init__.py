"""Training: objectives, the SEP and other explanation regularisers, the compiled step, the loop, checkpoints."""

from jsep.arguments import explain_failures
from jsep.train.augment import crop_and_flip
from jsep.train.batch_attack import BATCH_NORM_MODES
from jsep.train.best import Best, BestCheckpoint
from jsep.train.checkpoint import Checkpoints
from jsep.train.collapse import ACTIONS, CollapseRule
from jsep.train.config import TrainConfig
from jsep.train.ema import moving_average
from jsep.train.loop import TrainingDiverged, describe, fit, sep_weight_for_ratio
from jsep.train.lowered import StepMemory, step_memory, step_program
from jsep.train.objectives import (
    OBJECTIVES,
    Auxiliary,
    InnerAttack,
    NoSettings,
    Objective,
    PgdConfig,
    TradesConfig,
    adversarial_images,
    objective,
)
from jsep.train.optimizer import OPTIMIZERS, SCHEDULES, OptimizerConfig
from jsep.train.precision import PRECISIONS, in_precision
from jsep.train.regularisers import EXPLANATION_REGULARISERS, RegulariserConfig, batch_regulariser
from jsep.train.sep import (
    FORMS,
    GRADIENTS,
    NOISES,
    SepConfig,
    batch_penalty,
    draw_noise,
    scale_free_weight,
    sep_penalty,
)
from jsep.train.step import TrainState, init_state, make_run_steps

__all__ = [
    "ACTIONS",
    "BATCH_NORM_MODES",
    "EXPLANATION_REGULARISERS",
    "FORMS",
    "GRADIENTS",
    "NOISES",
    "OBJECTIVES",
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "Auxiliary",
    "Best",
    "BestCheckpoint",
    "Checkpoints",
    "CollapseRule",
    "InnerAttack",
    "NoSettings",
    "Objective",
    "OptimizerConfig",
    "PgdConfig",
    "RegulariserConfig",
    "SepConfig",
    "StepMemory",
    "TradesConfig",
    "TrainConfig",
    "TrainState",
    "TrainingDiverged",
    "adversarial_images",
    "crop_and_flip",
    "describe",
    "fit",
    "batch_penalty",
    "batch_regulariser",
    "draw_noise",
    "in_precision",
    "init_state",
    "make_run_steps",
    "moving_average",
    "objective",
    "scale_free_weight",
    "sep_penalty",
    "sep_weight_for_ratio",
    "step_memory",
    "step_program",
]

explain_failures(__all__, globals())
