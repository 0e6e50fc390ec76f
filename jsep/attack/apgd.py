"""Auto-PGD: projected gradient ascent with automatic step sizes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep.attack.entry import attack_method
from jsep.attack.losses import is_success, value_and_gradient
from jsep.attack.norms import Norm, norm_by_name, project_to_ball_and_box
from jsep.checks import InputError, check_count
from jsep.types import Array, Key, Objective

_MOMENTUM = 0.75  # weight of the new step; the last move has the rest
_RISING = 0.75  # fraction of steps that must raise the objective between two checkpoints


class ApgdInfo(NamedTuple):
    """The record of a run of `apgd`.

    objectives: (num_steps + 1,) the best objective so far, at the start and after each step; constant once it has
      stopped early.
    success: () bool, the returned image is misclassified (see `PgdInfo`).
    num_steps: () int, steps made; distance: () norm of the perturbation.
    num_non_finite: () int, number of iterates with a non-finite objective or gradient; the search leaves them for the
      best iterate so far.
    """

    objectives: Array
    success: Array
    num_steps: Array
    distance: Array
    num_non_finite: Array


class _Point(NamedTuple):
    image: Array
    value: Array
    gradient: Array


class _State(NamedTuple):
    step: Array
    now: _Point
    last_image: Array
    best: _Point
    step_size: Array
    num_rises: Array  # since the last checkpoint
    best_at_checkpoint: Array
    halved_at_checkpoint: Array
    objectives: Array
    successful: Array
    success: Array
    num_non_finite: Array


def checkpoints(num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The checkpoints of the step size: ((num_steps,) bool, whether a checkpoint follows each step; (num_steps,) steps
    since the last checkpoint).

    The first window is 22 % of the steps; each following one is shorter by 3 % of the steps, but at least 6 %.
    Reference: Croce and Hein 2020, section 3, "Step size selection".
    """
    window, shortest, shrink = (max(int(share * num_steps), 1) for share in (0.22, 0.06, 0.03))
    is_checkpoint, lengths = np.zeros(num_steps, bool), np.ones(num_steps, np.int32)
    end = 0
    while end + window <= num_steps:
        end += window
        is_checkpoint[end - 1], lengths[end - 1] = True, window
        window = max(window - shrink, shortest)
    return is_checkpoint, lengths


def random_start(key: Key, ball: Norm, image: Array, epsilon: Any) -> Array:
    """A random image in [0, 1] whose perturbation, before clipping, has the size of the budget."""
    noise = ball.random(key, image.shape, jnp.ones(())).astype(image.dtype)
    return project_to_ball_and_box(ball, image, image + epsilon * noise / ball.size(noise), epsilon)


@attack_method
def apgd(
    key: Key,
    objective: Objective,
    image: Array,
    *,
    norm: str = "linf",
    epsilon: Any,
    num_steps: int = 100,
    stop_at_success: bool = False,
) -> tuple[Array, ApgdInfo]:
    """Auto-PGD: ascent with momentum,  z = P(x + eta step(g)),  x <- P(x + 0.75 (z - x) + 0.25 (x - x_last)).

    eta starts at 2 epsilon. At each checkpoint it is halved, and the search restarts from the best iterate, if fewer
    than three quarters of the steps since the last checkpoint raised the objective, or if neither the step size nor the
    best objective has changed. Apart from the budget there is nothing to tune.

    Args:
      key: for the random start.
      objective: image -> scalar, maximised; with `stop_at_success` it must have a method `with_success`, as a
        `PredictionObjective` does.
      image: (H, W, C) float in [0, 1].
      norm: "linf" or "l2"; epsilon: radius of the ball, pixel units.
      num_steps: gradient steps, >= 0.
      stop_at_success: stop at the first misclassified image and return it.

    Returns: (adversarial (H, W, C), ApgdInfo): the iterate with the highest objective; with `stop_at_success` the first
    misclassified one, if any. One image; batch with `jax.vmap`, where the batch runs until its last image stops.
    Raises: InputError for a norm, budget, count or image out of range.
    Reference: Croce and Hein 2020, algorithm 1.
    """
    ball = norm_by_name(norm)
    check_count("num_steps", num_steps, minimum=0)
    with_success: Any = getattr(objective, "with_success", None)
    if stop_at_success and with_success is None:
        raise InputError("stop_at_success needs an objective with a method with_success: pass a PredictionObjective")
    is_checkpoint, lengths = (jnp.asarray(column) for column in checkpoints(max(num_steps, 1)))

    def evaluated(candidate: Array) -> tuple[_Point, Array]:
        if stop_at_success:
            (value, success), gradient = value_and_gradient(with_success, candidate, has_aux=True)
        else:
            value, gradient = value_and_gradient(objective, candidate)
            success = jnp.zeros((), bool)
        # A point with a non-finite value or gradient ranks below any other.
        return _Point(candidate, jnp.where(jnp.isnan(value), -jnp.inf, value), gradient), success

    def put_back(candidate: Array) -> Array:
        return project_to_ball_and_box(ball, image, candidate, epsilon)

    def step(state: _State) -> _State:
        now = state.now
        target = put_back(now.image + state.step_size * ball.step(now.gradient))
        momentum = jnp.where(state.step == 0, 1.0, _MOMENTUM).astype(image.dtype)
        moved = now.image + momentum * (target - now.image) + (1 - momentum) * (now.image - state.last_image)
        new, success = evaluated(put_back(moved))
        is_finite = jnp.isfinite(new.value)
        best = _where(new.value > state.best.value, new, state.best)

        num_rises = state.num_rises + (new.value > now.value)
        look = is_checkpoint[state.step]
        few_rises = num_rises <= _RISING * lengths[state.step]
        stuck = ~state.halved_at_checkpoint & (state.best_at_checkpoint >= best.value)
        halve = look & (few_rises | stuck)
        return _State(
            step=state.step + 1,
            now=_where(halve | ~is_finite, best, new),
            last_image=now.image,
            best=best,
            step_size=jnp.where(halve, state.step_size / 2, state.step_size),
            num_rises=jnp.where(look, 0, num_rises),
            best_at_checkpoint=jnp.where(look, best.value, state.best_at_checkpoint),
            halved_at_checkpoint=jnp.where(look, halve, state.halved_at_checkpoint),
            objectives=state.objectives.at[state.step + 1].set(best.value),
            successful=jnp.where(success, new.image, state.successful),
            success=success,
            num_non_finite=state.num_non_finite + ~is_finite,
        )

    start, success = evaluated(random_start(key, ball, image, epsilon))
    # After a non-finite start the search returns to the clean image instead.
    start = start._replace(image=jnp.where(jnp.isfinite(start.value), start.image, image))
    final = jax.lax.while_loop(
        lambda state: (state.step < num_steps) & ~state.success,
        step,
        _State(
            step=jnp.int32(0),
            now=start,
            last_image=start.image,
            best=start,
            step_size=jnp.asarray(2 * epsilon, image.dtype),
            num_rises=jnp.int32(0),
            best_at_checkpoint=start.value,
            halved_at_checkpoint=jnp.ones((), bool),  # the first checkpoint counts rises only
            objectives=jnp.full(num_steps + 1, start.value),
            successful=start.image,
            success=success,
            num_non_finite=(~jnp.isfinite(start.value)).astype(jnp.int32),
        ),
    )
    adversarial = jnp.where(final.success, final.successful, final.best.image)
    seen = jnp.arange(num_steps + 1) <= final.step
    objectives = jnp.where(seen, final.objectives, final.best.value)
    success = final.success if stop_at_success else is_success(objective, image, adversarial)
    return adversarial, ApgdInfo(objectives, success, final.step, ball.size(adversarial - image), final.num_non_finite)


def _where(condition: Array, yes: _Point, no: _Point) -> _Point:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
