"""Everything that decides what a training run computes, but for the model, the data and the key."""

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
"""What may be added to an objective."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training run computes, but for the model, the data and the key.

    objective: what is minimised, a key of `OBJECTIVES`.
    objective_config: its configuration, of the objective's own class; None for its defaults.
    epochs, batch_size: >= 1. The images that do not fill the last batch of an epoch are left out of that epoch; the
      order is drawn anew every epoch.
    augment: random crops and flips.
    optimizer: optimiser and learning-rate schedule.
    attack: the PGD attack on the training images, for objectives that attack.
    sep_weight: lambda of the paper, of either sign, per unit of `sep.form`; 0 switches SEP off.
    sep: how the SEP term is computed.
    sep_warmup_epochs: epochs over which the SEP weight rises linearly from 0; 0 for none.
    regulariser: an explanation regulariser of another paper, None for none; regulariser_weight: its weight, of either
      sign.
    ema_decay: decay of an exponential moving average of parameters and batch statistics, in [0, 1); 0 for none. With
      an average, the averaged model is the one that is validated and returned.
    precision: of `PRECISIONS`, for the forward and backward passes of a step (see `in_precision`).
    attack_batch_norm: of `BATCH_NORM_MODES`, how batch normalisation normalises during the attack.

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
        # Checkpoints keep both side by side (`describe`).
        shared = {field.name for field in dataclasses.fields(chosen.config)}
        shared &= {field.name for field in dataclasses.fields(self)}
        if shared:
            raise InputError(
                f"{chosen.config.__name__} has fields that every training has: rename {', '.join(sorted(shared))}"
            )

    @property
    def objective_settings(self) -> Any:
        """The configuration of the objective: `objective_config`, or its defaults."""
        return objective(self.objective).config() if self.objective_config is None else self.objective_config

    def describe(self) -> dict[str, Any]:
        """What decides the numbers of the run, by name: a checkpoint's owner. What takes no part is left out, and so is
        what is younger than the first checkpoints at the value that they were made with."""
        settings = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del settings["objective_config"]
        regulariser, weight = settings.pop("regulariser"), settings.pop("regulariser_weight")
        for name in ("attack", "optimizer"):
            settings[name] = dataclasses.asdict(settings[name])
        settings["sep"] = self.sep.describe()
        if regulariser is not None:  # by the names that the first checkpoints have
            settings |= {"rival": dataclasses.asdict(regulariser), "rival_weight": weight}
        for name in ("sep_warmup_epochs", "ema_decay", "attack_batch_norm", "precision"):
            if settings[name] == getattr(type(self), name):
                del settings[name]
        return {**settings, **dataclasses.asdict(self.objective_settings)}

    def weights(self) -> dict[str, float]:
        """The weight of each term that is added to the objective."""
        weights = zip(TERMS, (self.sep_weight, self.regulariser_weight), strict=True)
        return {name: weight for name, weight in weights if weight != 0}

    def steps_per_epoch(self, num_images: int) -> int:
        """The whole batches in `num_images`. Raises InputError when there is none."""
        if num_images < self.batch_size:
            raise InputError(f"batch_size must be at most the {num_images} training images, got {self.batch_size}")
        return num_images // self.batch_size
