"""The optimiser and its learning-rate schedule."""

import dataclasses
from collections.abc import Callable

import optax

from jsep.checks import check_choice, check_positive

_LARGEST_RATE = 1e30  # larger ones overflow in float32 at once


def _piecewise(peak: float, num_steps: int) -> optax.Schedule:
    return optax.piecewise_constant_schedule(peak, {num_steps // 2: 0.1, 3 * num_steps // 4: 0.1})


def _one_cycle(peak: float, num_steps: int) -> optax.Schedule:
    return optax.linear_onecycle_schedule(num_steps, peak, pct_start=0.3, pct_final=0.9)


SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "constant": lambda peak, num_steps: optax.constant_schedule(peak),
    "piecewise": _piecewise,
    "cosine": lambda peak, num_steps: optax.cosine_decay_schedule(peak, num_steps),
    "one_cycle": _one_cycle,
}
"""name -> function (peak learning rate, number of steps) -> schedule. "piecewise": the rate is divided by 10 after 1/2
and after 3/4 of the steps."""

OPTIMIZERS = ("sgd", "adamw")
"""The names of the optimisers."""


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser and its learning-rate schedule.

    name: "sgd" (with momentum; weight decay is added to the gradient) or "adamw" (decoupled weight decay).
    learning_rate: peak of the schedule, > 0; schedule: a key of `SCHEDULES`.
    momentum: of "sgd", in [0, 1); weight_decay: >= 0; gradient_clip: global norm to clip gradients to, 0 for none.

    Raises: InputError for an unknown name or a value out of range.
    """

    name: str = "sgd"
    learning_rate: float = 0.1
    schedule: str = "piecewise"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    gradient_clip: float = 0.0

    def __post_init__(self) -> None:
        check_choice("optimizer", self.name, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_positive("learning_rate", self.learning_rate, maximum=_LARGEST_RATE)
        check_positive("momentum", self.momentum, allow_zero=True, maximum=1)
        for name, maximum in (("weight_decay", _LARGEST_RATE), ("gradient_clip", None)):
            check_positive(name, getattr(self, name), allow_zero=True, maximum=maximum)


def make_schedule(config: OptimizerConfig, num_steps: int) -> optax.Schedule:
    """step -> learning rate over `num_steps` steps."""
    return SCHEDULES[config.schedule](config.learning_rate, num_steps)


def make_optimizer(config: OptimizerConfig, num_steps: int) -> optax.GradientTransformation:
    """The optax transformation of `config` for `num_steps` training steps."""
    schedule = make_schedule(config, num_steps)
    clip = [optax.clip_by_global_norm(config.gradient_clip)] if config.gradient_clip else []
    if config.name == "adamw":
        return optax.chain(*clip, optax.adamw(schedule, weight_decay=config.weight_decay))
    decay = [optax.add_decayed_weights(config.weight_decay)] if config.weight_decay else []
    return optax.chain(*clip, *decay, optax.sgd(schedule, momentum=config.momentum or None))
