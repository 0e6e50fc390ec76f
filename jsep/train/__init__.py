"""Training: objectives, the SEP and other explanation regularisers, the compiled step, the loop, checkpoints."""

from jsep.arguments import explain_failures
from jsep.train.batch_attack import BATCH_NORM_MODES
from jsep.train.checkpoint import Best, BestCheckpoint, Checkpoints
from jsep.train.config import TrainConfig
from jsep.train.loop import ACTIONS, CollapseRule, TrainingDiverged, describe, fit, sep_weight_for_ratio
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
from jsep.train.precision import PRECISIONS
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
from jsep.train.step import StepMemory, TrainState, init_state, make_run_steps, step_memory, step_program

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
    "describe",
    "fit",
    "batch_penalty",
    "batch_regulariser",
    "draw_noise",
    "init_state",
    "make_run_steps",
    "objective",
    "scale_free_weight",
    "sep_penalty",
    "sep_weight_for_ratio",
    "step_memory",
    "step_program",
]

explain_failures(__all__, globals())
