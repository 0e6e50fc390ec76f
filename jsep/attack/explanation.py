"""The targeted attack on an explanation: towards the map of another image, with the prediction unchanged."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jsep.attack.entry import attack_method
from jsep.attack.explanation_search import OnStep, report_step
from jsep.attack.explanation_terms import checked_constraint
from jsep.attack.losses import num_non_finite, value_and_gradient
from jsep.attack.norms import Norm, norm_by_name, project_to_ball_and_box
from jsep.checks import (
    MAX_WEIGHT,
    InputError,
    check_choice,
    check_count,
    check_positive,
)
from jsep.map_checks import check_map_fn
from jsep.numerics import all_finite, softmax
from jsep.types import Array, Key, LogitsFn, MapFn

STEPS = ("adam", "sign")
"""The update rules of `attack_explanation`: Adam, as published, or sign steps of length `learning_rate`."""


@dataclasses.dataclass(frozen=True)
class TargetedConfig:
    """The optimisation settings of `attack_explanation`.

    num_steps: steps, >= 0.
    learning_rate: of Adam, or the length of a sign step, in pixel units.
    map_weight, output_weight: weights of the two terms, in [0, 1e12]; Adam is invariant to their common scale up to its
      1e-8.
    num_starts: number of starts, the first as set by `random_start`, the others random images of the ball (needs a
      budget); result and info are those of the start with the lowest final loss.
    repair: at iterates that violate the output constraint, step against the violation instead of the loss, with a
      gradient of the same size (switching; Polyak 1967). Otherwise an attack that crosses the decision boundary early
      may never find a better image that keeps the output, and its pair counts as robust.
    step: "adam" or "sign".
    random_start: start at a random image of the ball (needs a budget); the clean image is then only the fallback.

    Raises: InputError for a setting out of range, if its value is concrete.
    """

    num_steps: int = 1000
    learning_rate: Any = 1e-3
    map_weight: Any = 1e7
    output_weight: Any = 1e6
    num_starts: int = 1
    repair: bool = False
    step: str = "adam"
    random_start: bool = False

    def __post_init__(self) -> None:
        check_count("num_steps", self.num_steps, minimum=0)
        check_positive("learning_rate", self.learning_rate, maximum=MAX_WEIGHT)
        for name in ("map_weight", "output_weight"):
            check_positive(name, getattr(self, name), allow_zero=True, maximum=MAX_WEIGHT)
        check_choice("step", self.step, STEPS)
        check_count("num_starts", self.num_starts)

    @property
    def needs_ball(self) -> bool:
        """Whether some start is random, which needs a ball."""
        return self.random_start or self.num_starts > 1


class _Best(NamedTuple):
    image: Array
    loss: Array
    step: Array


class ExplanationAttackInfo(NamedTuple):
    """The record of a run of `attack_explanation`.

    losses: (num_steps + 1,) explanation loss before every step and after the last; NaN where the map, the output or
      their gradient is not finite: the attack then returns to the last iterate where all were.
    label_kept: () bool, the returned image has the clean image's predicted class.
    success: () bool, the returned image keeps the output and has a lower explanation loss than the clean one.
    best_step: () int, the step of the returned image; 0 is the start, or the clean image if no iterate after a random
      start was better.
    distance: () norm of the perturbation (linf if the attack is unbounded, unless `norm` says otherwise).
    visited: (S, H, W, C) the iterates at `snapshot_steps`, with the entries of `losses` at these steps.
    num_non_finite: () int, number of non-finite losses. Above 0 the attack was disturbed, and a high final loss does
      not mean robustness.
    """

    losses: Array
    label_kept: Array
    success: Array
    best_step: Array
    distance: Array
    visited: Array
    num_non_finite: Array


@attack_method
def attack_explanation(
    key: Key,
    map_fn: MapFn,
    logits_fn: LogitsFn,
    image: Array,
    target_map: Array,
    config: TargetedConfig | None = None,
    *,
    epsilon: Any = None,
    norm: str = "linf",
    softmax_tolerance: Any = None,
    beta_growth: tuple[float, float] | None = None,
    snapshot_steps: Sequence[int] = (),
    on_step: OnStep | None = None,
    **keywords: Any,
) -> tuple[Array, ExplanationAttackInfo]:
    """The targeted attack of Dombrowski et al.: towards a given map, with the output kept.

        Adam on  map_weight * mean((I(z) - target)^2) + output_weight * mean((softmax f(z) - softmax f(x))^2)

    After every step z is projected into [0, 1] and, with `epsilon`, into the ball around `image`. The result is the
    iterate with the lowest explanation loss among those that keep the predicted class; `image` itself is one of them.

    Args:
      key: for the random starts only.
      map_fn: image -> map (H, W) for a fixed class (the prediction on `image`, in Dombrowski et al.).
      logits_fn: image -> logits (K,).
      image: the victim, (H, W, C) float in [0, 1].
      target_map: (H, W), the map to reach; the explanation loss is at most 2/N for maps that sum to 1.
      config: optimisation settings, default: `TargetedConfig()`.
      epsilon: radius of the ball in pixel units, or None for an unbounded attack; norm: of the ball, "linf" or "l2".
      softmax_tolerance: the largest change of a softmax entry for a returned image; None: only the predicted class is
        kept.
      beta_growth: (first, last) softplus beta of a geometric schedule over the steps. `map_fn` and `logits_fn` are then
        called with the beta as a second argument; losses along the attack are those at the current beta, and the result
        is the last iterate that keeps the class under the functions' own activation (called without a beta).
      snapshot_steps: S steps in [0, num_steps], 0 being the start, whose iterates are returned: S more images in
        memory, with no other effect.
      on_step: called on the host from inside the compiled loop with the number of steps just made.
      **keywords: fields of `TargetedConfig`, such as num_steps, learning_rate, map_weight and output_weight; they
        replace those of `config`.

    Returns: (adversarial (H, W, C), ExplanationAttackInfo). One pair; batch with `jax.vmap`.
    Raises: InputError for a map, setting or image that does not fit.
    Reference: Dombrowski et al. 2019, equation 3 and appendix; PAPER section "explanation attack".
    """
    for name in keywords:
        check_choice("setting of attack_explanation", name, _SETTINGS)
    config = dataclasses.replace(config or TargetedConfig(), **keywords)
    num_steps = config.num_steps
    ball = norm_by_name(norm)
    if epsilon is None and config.needs_ball:
        raise InputError("random_start needs a ball to draw from: pass epsilon, or random_start=False and num_starts=1")
    for wanted in snapshot_steps:
        check_count("snapshot_steps", wanted, minimum=0)
        if wanted > num_steps:
            raise InputError(f"snapshot_steps must be at most num_steps = {num_steps}, got {wanted}")
    check_map_fn(map_fn, image, target_map)

    clean_logits = logits_fn(image)
    constraint = checked_constraint(map_fn, logits_fn, image, softmax_tolerance)
    learning_rate = config.learning_rate
    optimizer = optax.adam(learning_rate) if config.step == "adam" else _step_descent(ball, learning_rate)
    grows = beta_growth is not None
    # One entry for each iterate; () if the functions take no beta.
    betas: tuple[Array, ...] = ()
    if beta_growth is not None:
        first, last = beta_growth
        for beta in beta_growth:
            check_positive("beta_growth", beta)
        betas = (jnp.geomspace(first, last, num_steps + 1),)

    def put_back(candidate: Array) -> Array:
        if epsilon is None:
            return jnp.clip(candidate, 0.0, 1.0)
        return project_to_ball_and_box(ball, image, candidate, epsilon)

    def loss(candidate: Array, beta: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        # The output constraint applies to the model with its own activation.
        logits = logits_fn(candidate, *beta)
        clean_output = softmax(logits_fn(image, *beta) if grows else clean_logits)
        map_loss = jnp.mean((map_fn(candidate, *beta) - target_map) ** 2)
        output_loss = jnp.mean((softmax(logits) - clean_output) ** 2)
        own_logits = logits_fn(candidate) if grows else logits
        return config.map_weight * map_loss + config.output_weight * output_loss, (
            map_loss,
            constraint.holds(own_logits),
        )

    def keep_best(best: _Best, candidate: Array, map_loss: Array, label_kept: Array, step: Array) -> _Best:
        # Losses at different betas are not comparable: the latest iterate that keeps the class is then the best one.
        better = label_kept & jnp.isfinite(map_loss) & ((step > 0) if grows else (map_loss <= best.loss))
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), _Best(candidate, map_loss, step), best)

    wanted_steps = jnp.array(snapshot_steps, jnp.int32)

    def keep_visited(visited: Array, candidate: Array, step: Array) -> Array:
        return jnp.where((wanted_steps == step)[:, None, None, None], candidate, visited)

    def body(carry: tuple, inputs: tuple) -> tuple[tuple, Array]:
        candidate, last_finite, adam_state, best, visited = carry
        step, *beta = inputs
        report_step(on_step, step, num_steps)
        (value, (map_loss, label_kept)), gradient = value_and_gradient(
            lambda z: loss(z, tuple(beta)), candidate, has_aux=True
        )
        is_finite = jnp.isfinite(value)
        last_finite = jnp.where(is_finite, candidate, last_finite)
        if config.repair:
            away = jax.grad(lambda z: constraint.excess(logits_fn(z)))(candidate)
            # Scaled to the same largest entry, since Adam's moments keep the scale of gradients.
            away = _unit(away) * jnp.max(jnp.abs(gradient))
            away = jnp.where(all_finite(away), away, 0.0)
            gradient = jnp.where(label_kept | ~is_finite, gradient, away)
        best = keep_best(best, candidate, map_loss, label_kept, step)
        visited = keep_visited(visited, candidate, step)
        updates, adam_state = optimizer.update(gradient, adam_state)
        moved = jnp.where(is_finite, put_back(candidate + updates), last_finite)
        return (moved, last_finite, adam_state, best, visited), jnp.where(is_finite, map_loss, jnp.nan)

    def run(start: Array) -> tuple[Array, ExplanationAttackInfo]:
        loss_clean = jnp.mean((map_fn(image) - target_map) ** 2)
        best = _Best(image, loss_clean, jnp.int32(0))
        steps = jnp.arange(num_steps, dtype=jnp.int32)
        inputs = (steps, *(column[:-1] for column in betas))
        nothing = jnp.zeros((len(snapshot_steps), *image.shape), image.dtype)
        carry = (start, image, optimizer.init(start), best, nothing)
        (final, _, _, best, visited), losses = jax.lax.scan(body, carry, inputs)
        _, (last_loss, last_kept) = loss(final, tuple(column[-1] for column in betas))
        best = keep_best(best, final, last_loss, last_kept, jnp.int32(num_steps))
        # With beta growth the best iterate's loss belongs to another activation than the clean image's.
        loss_end = jnp.mean((map_fn(best.image) - target_map) ** 2) if grows else best.loss
        distance = ball.size(best.image - image)
        losses = jnp.append(losses, last_loss)
        info = ExplanationAttackInfo(
            losses=losses,
            label_kept=constraint.label_kept(logits_fn(best.image)),
            success=(loss_end < loss_clean) & (distance > 0),  # not a difference by rounding between two programs
            best_step=best.step,
            distance=distance,
            visited=keep_visited(visited, final, jnp.int32(num_steps)),
            num_non_finite=num_non_finite(losses),
        )
        return best.image, info

    def draw(key: Key) -> Array:
        return put_back(image + ball.random(key, image.shape, epsilon).astype(image.dtype))

    first_start = draw(key) if config.random_start else image
    if config.num_starts == 1:
        return run(first_start)
    more_keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(1, config.num_starts))
    starts = jnp.concatenate([first_start[None], jax.vmap(draw)(more_keys)])

    def run_and_judge(start: Array) -> tuple[Array, tuple[Array, ExplanationAttackInfo]]:
        adversarial, info = run(start)
        # With the model's own activation: with beta growth the losses along the attack belong to others.
        return jnp.mean((map_fn(adversarial) - target_map) ** 2), (adversarial, info)

    ends, results = jax.lax.map(run_and_judge, starts)
    lowest = jnp.argmin(jnp.where(jnp.isfinite(ends), ends, jnp.inf))
    return jax.tree.map(lambda rows: rows[lowest], results)


_SETTINGS = tuple(field.name for field in dataclasses.fields(TargetedConfig))


def _unit(gradient: Array) -> Array:
    """The gradient scaled to a largest entry of 1, or zero: squares of small gradients underflow in float32."""
    largest = jnp.max(jnp.abs(gradient))
    return gradient / jnp.where(largest == 0, 1.0, largest)


def _step_descent(ball: Norm, learning_rate: Any) -> optax.GradientTransformation:
    """Steps of -learning_rate times the norm's unit direction: sign steps under linf."""

    def update(gradient: Array, state: optax.OptState, params: Any = None) -> tuple[Array, optax.OptState]:
        return -learning_rate * ball.step(gradient), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
