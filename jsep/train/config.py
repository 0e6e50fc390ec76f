"""The configuration of a training run."""

import dataclasses
from typing import Any

from jsep.checks import MAX_WEIGHT, InputError, check_choice, check_count, check_number
from jsep.train.batch_attack import BATCH_NORM_MODES
from jsep.train.objectives import PgdConfig, objective
from jsep.train.optimizer import OptimizerConfig
from jsep.train.precision import PRECISIONS
from jsep.train.regularisers import RegulariserConfig
from jsep.train.sep import SepConfig

TERMS = ("sep", "regulariser")
"""Names of the terms that can be added to an objective."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The configuration of a training run: with the model, the data and the key it determines the result.

    objective: the loss to minimise, a key of `OBJECTIVES`.
    objective_config: the configuration of the objective, an instance of its `config` class; None for the defaults.
    epochs, batch_size: >= 1. Images are reshuffled every epoch; an incomplete last batch is dropped.
    augment: random crops and flips.
    optimizer: optimiser and learning-rate schedule.
    attack: the PGD attack on the training images, for adversarial objectives.
    sep_weight: lambda of the paper, of either sign, per unit of `sep.form`; 0 disables SEP.
    sep: how the SEP term is computed.
    sep_warmup_epochs: epochs over which the SEP weight rises linearly from 0; 0 for none.
    regulariser: an explanation regulariser from the literature, None for none; regulariser_weight: its weight, of
      either sign.
    ema_decay: decay of an exponential moving average of parameters and batch statistics, in [0, 1); 0 for none.
      Otherwise the averaged model is validated and returned.
    precision: one of `PRECISIONS`, the format of the forward and backward passes (see `in_precision`).
    attack_batch_norm: mode of batch normalisation during the attack, one of `BATCH_NORM_MODES`.

    Raises: InputError for an unknown name or a value out of range.
    """

    objective: str = "mat"
    objective_config: Any = None
    epochs: int = 25
    batch_size: int = 128
    augment: bool = False
    optimizer: OptimizerConfig = OptimizerConfig()
    attack: PgdConfig = PgdConfig()
    sep_weight: float = 0.0
    sep: SepConfig = SepConfig()
    sep_warmup_epochs: int = 0
    regulariser: RegulariserConfig | None = None
    regulariser_weight: float = 0.0
    ema_decay: float = 0.0
    precision: str = "float32"
    attack_batch_norm: str = "evaluation"

    def __post_init__(self) -> None:
        self._check_objective()
        check_count("epochs", self.epochs)
        check_count("batch_size", self.batch_size)
        for name in ("sep_weight", "regulariser_weight"):
            check_number(name, getattr(self, name), -MAX_WEIGHT, MAX_WEIGHT)
        check_count("sep_warmup_epochs", self.sep_warmup_epochs, minimum=0)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("attack_batch_norm", self.attack_batch_norm, BATCH_NORM_MODES)
        if not 0 <= self.ema_decay < 1:
            raise InputError(f"ema_decay must be in [0, 1), got {self.ema_decay}; 0.999 looks back about 1000 steps")
        if (self.regulariser is None) != (self.regulariser_weight == 0):
            raise InputError(
                "a regulariser needs a weight and a weight a regulariser, "
                f"got {self.regulariser} and {self.regulariser_weight:g}"
            )

    def _check_objective(self) -> None:
        chosen = objective(self.objective)
        if self.objective_config is not None:
            chosen.check_config(self.objective_config)
        # `describe` merges the fields of both into one dict for checkpoints.
        shared = {field.name for field in dataclasses.fields(chosen.config)}
        shared &= {field.name for field in dataclasses.fields(self)}
        if shared:
            raise InputError(
                f"{chosen.config.__name__} has fields that every training has: rename {', '.join(sorted(shared))}"
            )

    @property
    def objective_settings(self) -> Any:
        """The configuration of the objective: `objective_config`, or the defaults."""
        return objective(self.objective).config() if self.objective_config is None else self.objective_config

    def describe(self) -> dict[str, Any]:
        """The settings that determine the result of the run, by name, stored with checkpoints. Unused settings are left
        out, and newer settings at their default too, so that older checkpoints remain valid."""
        settings = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del settings["objective_config"]
        regulariser, weight = settings.pop("regulariser"), settings.pop("regulariser_weight")
        for name in ("attack", "optimizer"):
            settings[name] = dataclasses.asdict(settings[name])
        settings["sep"] = self.sep.describe()
        if regulariser is not None:  # under the names in older checkpoints
            settings |= {"rival": dataclasses.asdict(regulariser), "rival_weight": weight}
        for name in ("sep_warmup_epochs", "ema_decay", "attack_batch_norm", "precision"):
            if settings[name] == getattr(type(self), name):
                del settings[name]
        return {**settings, **dataclasses.asdict(self.objective_settings)}

    def weights(self) -> dict[str, float]:
        """The non-zero weights of the terms added to the objective, by name."""
        weights = zip(TERMS, (self.sep_weight, self.regulariser_weight), strict=True)
        return {name: weight for name, weight in weights if weight != 0}

    def steps_per_epoch(self, num_images: int) -> int:
        """The number of full batches in `num_images`. Raises InputError if there is none."""
        if num_images < self.batch_size:
            raise InputError(f"batch_size must be at most the {num_images} training images, got {self.batch_size}")
        return num_images // self.batch_size
