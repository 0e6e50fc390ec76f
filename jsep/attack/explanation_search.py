"""The search of every white-box member of the explanation ensemble: projected gradient descent with adaptive step
sizes, under a constraint on the output."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep.attack.explanation_terms import OutputConstraint
from jsep.attack.losses import value_and_gradient
from jsep.attack.norms import Norm, project_to_ball_and_box
from jsep.types import Array, LogitsFn, MapFn

MapObjective = Callable[[Array], Array]
"""map (H, W) -> scalar, minimised."""

OnStep = Callable[[Any], None]
"""A host callback that receives the number of steps since its last call; one for all pairs of a `jax.vmap`."""

REPORT_EVERY = 10
"""Steps between two calls of `on_step`."""

MOMENTUM = 0.75
"""Weight of the new step; the last move has the rest (Croce & Hein 2020)."""


class Best(NamedTuple):
    """The best iterate that satisfies the constraint: image (H, W, C); loss () of its map, inf while there is none."""

    image: Array
    loss: Array

    def with_visited(self, image: Array, loss: Array, holds: Array) -> "Best":
        """The better of this and another iterate, if that is feasible (`holds`) and has a finite loss."""
        better = holds & jnp.isfinite(loss) & (loss < self.loss)
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), Best(image, loss), self)


def steepest(ball: Norm, gradient: Array) -> Array:
    """The steepest ascent direction of unit size: the sign of the gradient under linf."""
    return ball.step(gradient)


def proportional(ball: Norm, gradient: Array) -> Array:
    """The gradient divided by its root mean square, clipped at +-1 and scaled to unit size.

    Pixels with small gradients move little, while sign steps move all pixels equally.
    """
    largest = jnp.max(jnp.abs(gradient))
    scaled = gradient / jnp.where(largest == 0, 1.0, largest)  # squares of small gradients underflow
    root = jnp.sqrt(jnp.mean(scaled * scaled))
    cut = jnp.clip(scaled / jnp.where(root == 0, 1.0, root), -1, 1)
    size = ball.size(cut)
    return cut / jnp.where(size == 0, 1.0, size)


DIRECTIONS: dict[str, Callable[[Norm, Array], Array]] = {"steepest": steepest, "proportional": proportional}
"""name -> (norm, gradient) -> direction of unit size, 0 for a zero gradient."""


class _State(NamedTuple):
    image: Array
    last_image: Array
    step_size: Array
    own: Best
    """Best by the minimised objective: the search returns to it."""
    judged: Best
    last_loss: Array
    num_improved: Array
    last_step_size: Array
    last_best: Array


def checkpoint_windows(num_steps: int) -> np.ndarray:
    """(num_steps,) int: at a checkpoint the number of steps since the last one, 0 elsewhere.

    Checkpoints are at ceil(p_j num_steps), p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06).
    Reference: Croce & Hein 2020, section 3.2.
    """
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    places = sorted({math.ceil(round(share * num_steps, 6)) for share in shares})
    windows = np.zeros(max(num_steps, 1), np.int32)
    for last, place in itertools.pairwise(places):
        if place < num_steps:
            windows[place] = place - last
    return windows[:num_steps]


def adaptive_search(
    map_fn: MapFn,
    logits_fn: LogitsFn,
    constraint: OutputConstraint,
    image: Array,
    start: Array,
    *,
    objective: MapObjective,
    judge: MapObjective,
    norm: Norm,
    epsilon: Any,
    num_steps: int,
    direction: Callable[[Norm, Array], Array] = steepest,
    alpha: Any = None,
    on_step: OnStep | None = None,
) -> tuple[Best, Array]:
    """Minimises objective(map_fn(z)) in the ball around `image`, among images that satisfy the output constraint.

    From an iterate that satisfies it the step follows the gradient of the objective; otherwise that of
    `constraint.excess` (the switching subgradient method), so that the search follows the decision boundary instead of
    staying behind it. Steps have momentum; the step size begins at epsilon and is halved, with a return to the best
    feasible iterate, if fewer than three quarters of the steps since the last checkpoint improved, or if neither the
    step size nor the best loss has changed.

    Args:
      image: the centre of the ball, (H, W, C); start: the first iterate, in the ball.
      objective: minimised by the search; judge: by which the best of all feasible iterates is chosen.
      direction: (norm, gradient) -> direction of unit size.
      alpha: a fixed step length, without momentum and halving; None for adaptive steps.

    Returns: (Best by `judge`, with loss inf if no iterate is feasible; (num_steps,) judge's loss of every iterate,
      before each step, NaN where the map, the output or the gradient is not finite: the search then returns to the best
      iterate so far).
    References: Croce & Hein 2020, algorithm 1 (step size); Polyak 1967 (switching).
    """

    def visit(candidate: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        map_, logits = map_fn(candidate), logits_fn(candidate)
        loss, holds = objective(map_), constraint.holds(logits)
        return jnp.where(holds, loss, constraint.excess(logits)), (loss, judge(map_), holds)

    def put_back(candidate: Array) -> Array:
        return project_to_ball_and_box(norm, image, candidate, epsilon)

    def body(state: _State, inputs: tuple[Array, Array]) -> tuple[_State, Array]:
        step, window = inputs
        report_step(on_step, step, num_steps)
        (value, (loss, judged_loss, holds)), gradient = value_and_gradient(visit, state.image, has_aux=True)
        is_finite = jnp.isfinite(value) & jnp.isfinite(judged_loss)
        judged_loss = jnp.where(is_finite, judged_loss, jnp.nan)
        own = state.own.with_visited(state.image, loss, holds)
        judged = state.judged.with_visited(state.image, judged_loss, holds)
        if alpha is not None:
            moved = put_back(state.image - alpha * direction(norm, gradient))
            moved = jnp.where(is_finite, moved, own.image)
            return state._replace(image=moved, last_image=state.image, own=own, judged=judged), judged_loss
        num_improved = state.num_improved + (holds & (loss < state.last_loss))
        stalled = (num_improved < 0.75 * window) | (
            (state.last_step_size == state.step_size) & (state.last_best == own.loss)
        )
        at_checkpoint = window > 0
        halve = at_checkpoint & stalled
        step_size = jnp.where(halve, state.step_size / 2, state.step_size)
        stepped = put_back(state.image - step_size * direction(norm, gradient))
        # At the first step last_image equals image: no momentum, and three quarters of the step.
        moved = put_back(
            state.image + MOMENTUM * (stepped - state.image) + (1 - MOMENTUM) * (state.image - state.last_image)
        )
        following = _State(
            # Also from non-finite iterates, which have no usable gradient.
            image=jnp.where(halve | ~is_finite, own.image, moved),
            last_image=jnp.where(halve | ~is_finite, own.image, state.image),
            step_size=step_size,
            own=own,
            judged=judged,
            last_loss=jnp.where(holds, loss, jnp.inf),
            num_improved=jnp.where(at_checkpoint, 0, num_improved),
            last_step_size=jnp.where(at_checkpoint, step_size, state.last_step_size),
            last_best=jnp.where(at_checkpoint, own.loss, state.last_best),
        )
        return following, judged_loss

    size = jnp.asarray(epsilon, image.dtype)
    infinite = jnp.full((), jnp.inf, image.dtype)
    # Until an iterate is feasible, halving returns to the clean image, which is.
    nothing = Best(image, infinite)
    state = _State(start, start, size, nothing, nothing, infinite, jnp.int32(0), jnp.zeros_like(size), infinite)
    steps = (jnp.arange(num_steps, dtype=jnp.int32), jnp.asarray(checkpoint_windows(num_steps)))
    state, losses = jax.lax.scan(body, state, steps)
    return state.judged, losses


def report_step(on_step: OnStep | None, step: Array, num_steps: int) -> None:
    """Calls `on_step` from inside a scan every `REPORT_EVERY` steps and after the last one."""
    if on_step is None:
        return
    last = step == num_steps - 1
    due = ((step + 1) % REPORT_EVERY == 0) | last
    count = jnp.where(last & ((step + 1) % REPORT_EVERY != 0), num_steps % REPORT_EVERY, REPORT_EVERY)
    jax.lax.cond(due, lambda: jax.debug.callback(on_step, count), lambda: None)
