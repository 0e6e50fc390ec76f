"""The optimiser and its learning-rate schedule, and the moving average of what it trains."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jsep.checks import InputError, check_choice, check_number, check_positive
from jsep.types import Array, PyTree

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


def moving_average(decay: float, average: PyTree, values: PyTree, step: Array) -> PyTree:
    """The bias-corrected exponential moving average a_t, from the previous average a_(t-1) and the new values v_t.

        a_t = sum_(i = 1..t) d^(t - i) v_i (1 - d) / (1 - d^t) = a_(t-1) + (1 - d) / (1 - d^t) (v_t - a_(t-1)),

    whose weights sum to 1 from the first step on, so that the initial values do not enter.

    Args: decay: d in (0, 1); average, values: a_(t-1) and v_t, pytrees of float arrays of the same structure; step: (),
      t >= 1.
    Returns: a_t.
    Raises: InputError for trees of different structure, or a decay or step out of range.
    """
    check_number("decay", decay, 0.0, 1.0)
    if str(jax.tree.structure(average)) != str(jax.tree.structure(values)):
        raise InputError("average and values must have the same structure")
    if not jnp.issubdtype(step.dtype, jnp.integer):
        raise InputError(f"step must be a whole number, got dtype {step.dtype}")
    check_number("step", step, 1, 2**31 - 1)
    count = step.astype(jnp.float32)
    # expm1 avoids the cancellation of 1 - d^t in float32 for d near 1.
    rate = (1 - decay) / -jnp.expm1(count * math.log(decay))
    return jax.tree.map(lambda old, new: old + (rate * (new - old)).astype(old.dtype), average, values)
