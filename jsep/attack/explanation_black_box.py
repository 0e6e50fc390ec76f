"""Black-box attacks on explanations, from logits and maps alone: an evolution strategy and a random search."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jsep.attack.entry import attack_method
from jsep.attack.explanation_search import Best, MapObjective, OnStep, report_step
from jsep.attack.explanation_terms import OutputConstraint, checked_constraint
from jsep.attack.norms import Norm, norm_by_name, project_to_ball_and_box
from jsep.checks import check_choice, check_count
from jsep.map_checks import check_map_fn
from jsep.numerics import all_finite
from jsep.types import Array, Key, LogitsFn, MapFn


class BlackBoxInfo(NamedTuple):
    """The record of a run of `attack_explanation_black_box`.

    losses: (num_steps + 1,) explanation loss of the best image so far, starting with the clean one.
    label_kept: () bool, the returned image has the clean image's predicted class.
    success: () bool, the returned image keeps the output and has a lower explanation loss than the clean one.
    num_queries: () int, evaluations of the model and its map; distance: () norm of the perturbation.
    num_non_finite: () int, queries with a non-finite map or output, which are never kept.
    """

    losses: Array
    label_kept: Array
    success: Array
    num_queries: Array
    distance: Array
    num_non_finite: Array


class _Visited(NamedTuple):
    """A queried image and its score, ordered by `is_out` (whether it violates the constraint), then by `merit`."""

    image: Array
    is_out: Array
    merit: Array
    """The loss if the constraint holds, else the excess."""

    def beats(self, other: "_Visited") -> Array:
        return (~self.is_out & other.is_out) | ((self.is_out == other.is_out) & (self.merit < other.merit))


def _query(
    map_fn: MapFn, logits_fn: LogitsFn, constraint: OutputConstraint, judge: MapObjective, candidate: Array
) -> _Visited:
    logits, loss = logits_fn(candidate), judge(map_fn(candidate))
    holds = constraint.holds(logits) & jnp.isfinite(loss)
    excess = constraint.excess(logits)
    # A query with a non-finite map or output ranks below any other.
    excess = jnp.where(jnp.isfinite(loss) & all_finite(logits), excess, jnp.inf)
    return _Visited(candidate, ~holds, jnp.where(holds, loss, excess))


def _ranks(visited: _Visited) -> Array:
    """(n,) 0 for the best of n queried images, n - 1 for the worst; ties in the order given."""
    order = jnp.lexsort((visited.merit, visited.is_out))
    return jnp.zeros(order.size).at[order].set(jnp.arange(order.size, dtype=jnp.float32))


def evolution_search(
    key: Key,
    map_fn: MapFn,
    logits_fn: LogitsFn,
    constraint: OutputConstraint,
    image: Array,
    start: Array,
    *,
    judge: MapObjective,
    norm: Norm,
    epsilon: Any,
    num_steps: int,
    num_samples: int = 10,
    on_step: OnStep | None = None,
) -> tuple[Best, Array, Array]:
    """Minimises `judge` along a gradient estimated from pairs of queried images z + sigma d, z - sigma d.

    The estimate is sum_i (rank(z - sigma d_i) - rank(z + sigma d_i)) d_i, over the ranks of all samples, with those
    that violate the output constraint last: it ignores the scale of the loss, and avoids the decision boundary.
    Step length and sigma decrease together from epsilon / 4 to a hundredth of that.

    Args: as `adaptive_search`; num_samples: pairs of samples in each step.
    Returns: (Best, (num_steps,) its loss after each step, () int number of non-finite queries); 2 num_samples queries
      in each step.
    References: Wierstra et al. 2014 (rank-based evolution strategies); Ilyas et al. 2018 (antithetic pairs).
    """

    def body(carry: tuple[Array, Best], inputs: tuple[Array, Array]) -> tuple[tuple[Array, Best], tuple[Array, Array]]:
        centre, best = carry
        step, key = inputs
        report_step(on_step, step, num_steps)
        length = epsilon / 4 * 0.01 ** (step / max(num_steps - 1, 1))
        noise = jax.random.normal(key, (num_samples, *image.shape)).astype(image.dtype)
        # sigma is the size of a sample's move in the norm, before clipping to the box.
        sizes = jax.vmap(norm.size)(noise).reshape(-1, 1, 1, 1)
        moves = length * noise / sizes
        candidates = jax.vmap(lambda z: project_to_ball_and_box(norm, image, z, epsilon))(
            jnp.concatenate([centre + moves, centre - moves])
        )
        visited = jax.vmap(lambda z: _query(map_fn, logits_fn, constraint, judge, z))(candidates)
        ranks = _ranks(visited)
        first = jnp.argmin(ranks)
        best = best.with_visited(visited.image[first], visited.merit[first], ~visited.is_out[first])
        weights = (ranks[num_samples:] - ranks[:num_samples]).astype(image.dtype)  # > 0 where + is better
        estimate = jnp.tensordot(weights, noise, 1)
        moved = project_to_ball_and_box(norm, image, centre + length * norm.step(estimate), epsilon)
        return (moved, best), (best.loss, jnp.sum(jnp.isinf(visited.merit)))

    steps = (jnp.arange(num_steps, dtype=jnp.int32), jax.random.split(key, max(num_steps, 1))[:num_steps])
    first = _query(map_fn, logits_fn, constraint, judge, start)
    nothing = Best(image, jnp.full((), jnp.inf, image.dtype))
    best = nothing.with_visited(start, first.merit, ~first.is_out)
    (_, best), (losses, not_finite) = jax.lax.scan(body, (start, best), steps)
    return best, losses, jnp.sum(not_finite) + jnp.isinf(first.merit)


def random_search(
    key: Key,
    map_fn: MapFn,
    logits_fn: LogitsFn,
    constraint: OutputConstraint,
    image: Array,
    start: Array,
    *,
    judge: MapObjective,
    norm: Norm,
    epsilon: Any,
    num_steps: int,
    on_step: OnStep | None = None,
) -> tuple[Best, Array, Array]:
    """Replaces the perturbation inside one random square at a time, and keeps changes that lower `judge`.

    Half of the proposals set every channel of the square to + or - epsilon, as in the Square attack; the others draw
    the channels uniformly in between, since the best image need not lie at a corner of the ball. The area of the square
    decreases from a tenth of the image to one pixel. Under l2 the proposal is added, scaled by the root of the square's
    area, and the sum projected.

    Args: as `adaptive_search`. Returns: (Best, (num_steps,) its loss after each step, () int number of non-finite
      queries); one query in each step.
    Reference: Andriushchenko et al. 2020 (Square; there on the classification margin).
    """
    height, width, channels = image.shape
    rows, columns = jnp.arange(height)[:, None, None], jnp.arange(width)[None, :, None]
    is_linf = norm is norm_by_name("linf")

    def body(
        carry: tuple[_Visited, Best], inputs: tuple[Array, Array]
    ) -> tuple[tuple[_Visited, Best], tuple[Array, Array]]:
        current, best = carry
        step, key = inputs
        report_step(on_step, step, num_steps)
        # One draw for everything: position, kind of proposal, and two numbers for each channel.
        numbers = jax.random.uniform(key, (3 + 2 * channels,))
        share = 0.1 * (10 / (height * width)) ** (step / max(num_steps - 1, 1))
        side = jnp.clip(jnp.round(jnp.sqrt(share * height * width)), 1, min(height, width)).astype(jnp.int32)
        row, column = ((numbers[i] * (n - side + 1)).astype(jnp.int32) for i, n in enumerate((height, width)))
        inside = (rows >= row) & (rows < row + side) & (columns >= column) & (columns < column + side)
        signs = jnp.where(numbers[3 : 3 + channels] < 0.5, -1.0, 1.0)
        drawn = jnp.where(numbers[2] < 0.5, signs, 2 * numbers[3 + channels :] - 1).astype(image.dtype)
        delta = current.image - image
        if is_linf:
            proposed = jnp.where(inside, epsilon * drawn, delta)
        else:
            proposed = jnp.where(inside, delta + epsilon * drawn / side, delta)
        candidate = project_to_ball_and_box(norm, image, image + proposed, epsilon)
        queried = _query(map_fn, logits_fn, constraint, judge, candidate)
        best = best.with_visited(queried.image, queried.merit, ~queried.is_out)
        current = jax.tree.map(lambda new, old: jnp.where(queried.beats(current), new, old), queried, current)
        return (current, best), (best.loss, jnp.isinf(queried.merit))

    steps = (jnp.arange(num_steps, dtype=jnp.int32), jax.random.split(key, max(num_steps, 1))[:num_steps])
    first = _query(map_fn, logits_fn, constraint, judge, start)
    nothing = Best(image, jnp.full((), jnp.inf, image.dtype))
    best = nothing.with_visited(start, first.merit, ~first.is_out)
    (_, best), (losses, not_finite) = jax.lax.scan(body, (first, best), steps)
    return best, losses, jnp.sum(not_finite) + jnp.isinf(first.merit)


BLACK_BOX_SEARCHES = {"evolution": evolution_search, "random_search": random_search}
"""name -> search."""


@attack_method
def attack_explanation_black_box(
    key: Key,
    map_fn: MapFn,
    logits_fn: LogitsFn,
    image: Array,
    target_map: Array,
    *,
    search: str = "evolution",
    norm: str = "linf",
    epsilon: Any,
    num_steps: int,
    num_samples: int = 10,
    softmax_tolerance: Any = None,
    on_step: OnStep | None = None,
) -> tuple[Array, BlackBoxInfo]:
    """The derivative-free targeted attack: minimises mean((I(z) - target)^2) with the output kept, from logits and maps
    alone.

    Args: key, map_fn, logits_fn, image, target_map, norm, epsilon: as `attack_explanation`; map_fn need not be
      differentiable.
      search: "evolution" (2 num_samples queries in each step, as AttaXAI) or "random_search" (one, as Square).
      num_steps: >= 0. softmax_tolerance: the largest change of a softmax entry; None: only the predicted class is kept.
      on_step: called on the host from inside the compiled loop with the number of steps just made.

    Returns: (adversarial (H, W, C), BlackBoxInfo). One pair; batch with `jax.vmap`.
    Raises: InputError for a map, budget, count or image that does not fit.
    References: Huang et al. 2023 (AttaXAI); Andriushchenko et al. 2020 (Square).
    """
    check_choice("search", search, BLACK_BOX_SEARCHES)
    ball = norm_by_name(norm)
    check_count("num_steps", num_steps, minimum=0)
    check_count("num_samples", num_samples)
    check_map_fn(map_fn, image, target_map)
    constraint = checked_constraint(map_fn, logits_fn, image, softmax_tolerance)
    options = {"num_samples": num_samples} if search == "evolution" else {}

    def judge(map_: Array) -> Array:
        return jnp.mean((map_ - target_map) ** 2)

    settings = {"judge": judge, "norm": ball, "epsilon": epsilon, "num_steps": num_steps, "on_step": on_step, **options}
    best, losses, non_finite = BLACK_BOX_SEARCHES[search](key, map_fn, logits_fn, constraint, image, image, **settings)
    loss_start, distance = judge(map_fn(image)), ball.size(best.image - image)
    info = BlackBoxInfo(
        losses=jnp.concatenate([loss_start[None], losses]),
        label_kept=constraint.label_kept(logits_fn(best.image)),
        success=(best.loss < loss_start) & (distance > 0),  # not a difference by rounding between two programs
        num_queries=jnp.int32(1 + num_steps * (2 * num_samples if search == "evolution" else 1)),
        distance=distance,
        num_non_finite=non_finite,
    )
    return best.image, info
