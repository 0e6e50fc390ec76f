"""Training: objectives, the SEP regulariser, the compiled step, the loop, checkpoints."""

from jsep.train.augment import crop_and_flip
from jsep.train.checkpoint import Checkpoints
from jsep.train.loop import TrainingDiverged, describe, fit
from jsep.train.objectives import OBJECTIVES, PgdConfig, adversarial_images
from jsep.train.optimizer import OPTIMIZERS, SCHEDULES, OptimizerConfig
from jsep.train.rivals import RIVALS, RivalConfig, batch_rival
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
from jsep.train.step import TrainConfig, TrainState, init_state, make_run_steps

__all__ = [
    "FORMS",
    "GRADIENTS",
    "NOISES",
    "OBJECTIVES",
    "OPTIMIZERS",
    "RIVALS",
    "SCHEDULES",
    "Checkpoints",
    "OptimizerConfig",
    "PgdConfig",
    "RivalConfig",
    "SepConfig",
    "TrainConfig",
    "TrainState",
    "TrainingDiverged",
    "adversarial_images",
    "crop_and_flip",
    "describe",
    "fit",
    "batch_penalty",
    "batch_rival",
    "draw_noise",
    "init_state",
    "make_run_steps",
    "scale_free_weight",
    "sep_penalty",
]
