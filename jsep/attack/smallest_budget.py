"""The smallest budget at which a map reaches a given cosine similarity with a target: a scale-free robustness."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jsep.attack.entry import attack_method
from jsep.attack.explanation_search import Best, adaptive_search
from jsep.attack.explanation_terms import checked_constraint, one_minus_cosine
from jsep.attack.losses import num_non_finite
from jsep.attack.norms import norm_by_name, project_to_ball_and_box
from jsep.checks import check_count, check_number
from jsep.map_checks import check_map_fn
from jsep.types import Array, Key, LogitsFn, MapFn


class SmallestBudgetInfo(NamedTuple):
    """The record of a run of `smallest_budget`: the bracket of the smallest budget.

    success: () bool, the returned image keeps the output and its map reaches the cosine; also if the clean image's map
      does.

    epsilon: () norm of the returned perturbation, an upper bound of the smallest budget; inf without success, 0 if the
      clean image's map reaches the cosine.
    failed_epsilon: () the largest budget at which the search did not reach the cosine; a stronger search might.
    cosine: () between the returned image's map and the target; label_kept: () bool.
    tried, reached: (num_bisections + 1,) the budgets in the order tried, and whether each sufficed.
    num_non_finite: () int, number of iterates with a non-finite map, output or gradient: above 0 the upper bound may be
      looser than that of an undisturbed search.
    """

    success: Array
    epsilon: Array
    failed_epsilon: Array
    cosine: Array
    label_kept: Array
    tried: Array
    reached: Array
    num_non_finite: Array


@attack_method
def smallest_budget(
    key: Key,
    map_fn: MapFn,
    logits_fn: LogitsFn,
    image: Array,
    target_map: Array,
    *,
    cosine: Any,
    norm: str = "linf",
    largest_epsilon: Any = 1.0,
    num_bisections: int = 10,
    num_steps: int = 100,
    softmax_tolerance: Any = None,
) -> tuple[Array, SmallestBudgetInfo]:
    """The least epsilon with max cos(I(z), target) >= cosine over |z - x| <= epsilon and the output kept, by bisection.

    At every budget an `adaptive_search` on 1 - cosine starts from the smallest success so far, projected into the ball;
    a success shrinks the bracket to the norm actually used.

    Args:
      key: for the random start of the first search, in the ball of half of `largest_epsilon`.
      map_fn, logits_fn, image, target_map, softmax_tolerance: as `attack_explanation`.
      cosine: the cosine similarity to reach, in [-1, 1].
      norm: "linf" or "l2"; largest_epsilon: the first budget tried, in pixel units.
      num_bisections: halvings of the bracket after the first search; num_steps: steps of each search.

    Returns: (image (H, W, C) of the smallest success, the clean one if there is none; SmallestBudgetInfo). One pair;
      batch with `jax.vmap`.
    Raises: InputError for a map, budget, count, cosine or image that does not fit.
    """
    ball = norm_by_name(norm)
    check_count("num_bisections", num_bisections, minimum=0)
    check_count("num_steps", num_steps)
    check_number("cosine", cosine, -1, 1)
    check_map_fn(map_fn, image, target_map)
    constraint = checked_constraint(map_fn, logits_fn, image, softmax_tolerance)

    def judge(map_: Array) -> Array:
        return one_minus_cosine(map_, target_map)

    def put_back(candidate: Array, epsilon: Array) -> Array:
        return project_to_ball_and_box(ball, image, candidate, epsilon)

    def search(start: Array, epsilon: Array) -> tuple[Best, Array]:
        return adaptive_search(
            map_fn, logits_fn, constraint, image, start,
            objective=judge, judge=judge, norm=ball, epsilon=epsilon, num_steps=num_steps,
        )  # fmt: skip

    def body(carry: tuple[Array, Array, Array, Array], _: None) -> tuple[tuple, tuple[Array, Array, Array]]:
        low, high, epsilon, nearest = carry
        found, losses = search(put_back(nearest, epsilon), epsilon)
        enough = (1 - found.loss) >= cosine
        # A success may use less than its budget, which gives the tighter bound.
        high = jnp.where(enough, jnp.minimum(high, ball.size(found.image - image)), high)
        low = jnp.where(enough, low, jnp.maximum(low, epsilon))
        # By rounding, a failure may lie above the upper end of the bracket.
        low = jnp.minimum(low, high)
        nearest = jnp.where(enough, found.image, nearest)
        middle = jnp.where(jnp.isfinite(high), (low + high) / 2, low)
        return (low, high, middle, nearest), (epsilon, enough, num_non_finite(losses))

    zero = jnp.zeros((), image.dtype)
    largest = jnp.asarray(largest_epsilon, image.dtype)
    noise = ball.random(key, image.shape, largest / 2).astype(image.dtype)
    start = put_back(image + noise, largest)
    (low, high, _, nearest), (tried, reached, non_finite) = jax.lax.scan(
        body, (zero, zero + jnp.inf, largest, start), None, length=num_bisections + 1
    )
    clean_cosine = 1 - judge(map_fn(image))
    at_start = (clean_cosine >= cosine) & constraint.label_kept(logits_fn(image))
    found = jnp.isfinite(high) & ~at_start
    result = jnp.where(found, nearest, image)
    info = SmallestBudgetInfo(
        success=found | at_start,
        epsilon=jnp.where(at_start, 0.0, high),
        failed_epsilon=jnp.where(at_start, 0.0, low),
        cosine=1 - judge(map_fn(result)),
        label_kept=constraint.label_kept(logits_fn(result)),
        tried=tried,
        reached=reached,
        num_non_finite=jnp.sum(non_finite),
    )
    return result, info
