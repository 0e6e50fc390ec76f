"""A parameter-free ensemble of targeted attacks on an explanation, and its automatic warnings."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep.attack.entry import attack_method
from jsep.attack.explanation_black_box import evolution_search, random_search
from jsep.attack.explanation_search import DIRECTIONS, Best, OnStep, adaptive_search
from jsep.attack.explanation_terms import MAP_LOSSES, checked_constraint
from jsep.attack.explanation_warnings import ExplanationWarnings, has_no_second_derivative, warnings_of_pair
from jsep.attack.losses import num_non_finite
from jsep.attack.norms import norm_by_name, project_to_ball_and_box
from jsep.checks import InputError, check_choice, check_count
from jsep.map_checks import check_map_fn
from jsep.types import Array, Key, LogitsFn, MapFn


class WhiteBoxMember(NamedTuple):
    """One adaptive search. loss: of `MAP_LOSSES`; direction: of `DIRECTIONS`; start: "clean", "random" or "best" (the
    best image of the previous members)."""

    loss: str
    direction: str
    start: str


WHITE_BOX_MEMBERS: dict[str, WhiteBoxMember] = {
    "mse": WhiteBoxMember("mse", "steepest", "clean"),
    "mse_proportional": WhiteBoxMember("mse", "proportional", "clean"),
    "mse_continued": WhiteBoxMember("mse", "proportional", "best"),
    "mse_random": WhiteBoxMember("mse", "steepest", "random"),
    "cosine": WhiteBoxMember("cosine", "steepest", "clean"),
    "kl": WhiteBoxMember("kl", "steepest", "random"),
    "mse_last": WhiteBoxMember("mse", "proportional", "best"),
}
"""name -> member, in the order of execution; `BLACK_BOX_MEMBERS` follow."""

BLACK_BOX_MEMBERS = ("random_search", "evolution")
"""Derivative-free searches, in the order of execution."""

QUERIES_A_STEP = 20
"""Queries in one step of the evolution strategy: ten pairs of samples."""

AUTO_EXPLANATION_VERSIONS: dict[str, tuple[int, int]] = {"fast": (3, 1), "standard": (7, 2)}
"""version -> (number of white-box members, number of black-box members), taken from the start of each list.

A longer version runs the members of a shorter one with the same keys, so it never ends with a higher loss.
"""

_STARTS = ("clean", "random", "best")


class AutoExplanationInfo(NamedTuple):
    """The record of a run of `auto_explanation_attack`.

    losses: (white-box members, num_steps) the explanation loss of every iterate.
    member_losses: (members,) the lowest loss that each member found on images that keep the output, inf for none; in
      the order of `auto_explanation_members`.
    loss_start, loss_end: () the explanation loss of the clean and of the returned image.
    label_kept: () bool; softmax_change: () largest change of a softmax entry.
    success: () bool, the returned image keeps the output and has a lower explanation loss than the clean one.
    failed: () bool, the clean image's loss is not finite, and the clean image is returned.
    distance: () norm of the perturbation, at most the budget.
    warnings: ExplanationWarnings.
    num_non_finite: () int, number of iterates and queries with a non-finite map, output or gradient.
    """

    losses: Array
    member_losses: Array
    loss_start: Array
    loss_end: Array
    label_kept: Array
    softmax_change: Array
    success: Array
    failed: Array
    distance: Array
    warnings: ExplanationWarnings
    num_non_finite: Array


def auto_explanation_members(version: str = "standard") -> tuple[str, ...]:
    """The members of a version, in the order of `AutoExplanationInfo.member_losses`."""
    check_choice("version", version, AUTO_EXPLANATION_VERSIONS)
    num_white, num_black = AUTO_EXPLANATION_VERSIONS[version]
    return (*list(WHITE_BOX_MEMBERS)[:num_white], *BLACK_BOX_MEMBERS[:num_black])


def num_search_steps(version: str = "standard", num_steps: int = 100, num_queries: int = 600) -> int:
    """The number of steps that one attack, or one `jax.vmap` of attacks together, reports to `on_step`."""
    check_choice("version", version, AUTO_EXPLANATION_VERSIONS)
    check_count("num_steps", num_steps, minimum=0)
    check_count("num_queries", num_queries, minimum=0)
    num_white, num_black = AUTO_EXPLANATION_VERSIONS[version]
    return num_white * num_steps + sum((num_queries, num_queries // QUERIES_A_STEP)[:num_black])


@attack_method
def auto_explanation_attack(
    key: Key,
    map_fn: MapFn,
    logits_fn: LogitsFn,
    image: Array,
    target_map: Array,
    *,
    epsilon: Any,
    norm: str = "linf",
    version: str = "standard",
    softmax_tolerance: Any = None,
    start: Array | None = None,
    num_steps: int = 100,
    num_queries: int = 600,
    on_step: OnStep | None = None,
) -> tuple[Array, AutoExplanationInfo]:
    """An ensemble of attacks: the lowest mean((I(z) - target)^2) found in the ball with the output kept.

    There is no step size, output weight or learning rate to choose. White-box members run `adaptive_search` with
    different losses, directions and starts; all iterates are compared by the explanation loss. Black-box members start
    at the clean image and come last: if they find a lower loss, the gradient is misleading.

    A stronger setting never ends with a higher loss: a longer version contains the shorter one, and a larger budget
    includes the result of a smaller one that is passed as `start`.

    Args:
      key, map_fn, logits_fn, image, target_map: as `attack_explanation`.
      epsilon: radius of the ball in pixel units; for an unbounded attack under linf pass 1.0, the whole box [0, 1].
      norm: "linf" or "l2".
      version: "fast" (three white-box members, one black-box member) or "standard" (seven and two).
      softmax_tolerance: the largest change of a softmax entry; None: only the predicted class is kept.
      start: (H, W, C) a further candidate, such as the result for a smaller budget.
      num_steps: gradient steps of a white-box member; num_queries: of a black-box member. The defaults belong to the
        versions; smaller values are for trials.
      on_step: called on the host from inside the compiled loops with the number of steps just made; under `jax.vmap`
        once for all pairs.

    Returns: (adversarial (H, W, C), AutoExplanationInfo). One pair; batch with `jax.vmap`.
    Raises: InputError for a map, budget, image or model that does not fit, if their values are concrete.
    References: Croce & Hein 2020 (the ensemble for predictions); Dombrowski et al. 2019 (the objective).
    """
    check_choice("version", version, AUTO_EXPLANATION_VERSIONS)
    ball = norm_by_name(norm)
    check_count("num_steps", num_steps)
    check_count("num_queries", num_queries, minimum=QUERIES_A_STEP)
    if start is not None and jnp.shape(start) != image.shape:
        raise InputError(f"start must have the shape of the image, {image.shape}, got {jnp.shape(start)}")
    check_map_fn(map_fn, image, target_map)
    constraint = checked_constraint(map_fn, logits_fn, image, softmax_tolerance)
    num_white, num_black = AUTO_EXPLANATION_VERSIONS[version]
    members = list(WHITE_BOX_MEMBERS.values())[:num_white]
    losses_fns, directions = list(MAP_LOSSES.values()), list(DIRECTIONS.values())

    def judge(map_: Array) -> Array:
        return jnp.mean((map_ - target_map) ** 2)

    clean_map = map_fn(image)
    loss_start = judge(clean_map)
    failed = ~jnp.isfinite(loss_start)
    best = Best(image, jnp.where(failed, jnp.inf, loss_start))
    if start is not None:
        begun = project_to_ball_and_box(ball, image, jnp.asarray(start, image.dtype), epsilon)
        best = best.with_visited(begun, judge(map_fn(begun)), constraint.holds(logits_fn(begun)))

    def run_member(best: Best, member: tuple[Array, Array, Array, Key]) -> tuple[Best, tuple[Array, Array]]:
        which_loss, which_direction, which_start, key = member
        noise = ball.random(key, image.shape, epsilon).astype(image.dtype)
        random = project_to_ball_and_box(ball, image, image + noise, epsilon)
        found, losses = adaptive_search(
            map_fn, logits_fn, constraint, image, jax.lax.select_n(which_start, image, random, best.image),
            # A single search is compiled for all members; their differences are selected at run time.
            objective=lambda map_: jax.lax.switch(which_loss, losses_fns, map_, target_map),
            direction=lambda norm, gradient: jax.lax.switch(
                which_direction, [lambda g, d=d: d(norm, g) for d in directions], gradient
            ),
            judge=judge, norm=ball, epsilon=epsilon, num_steps=num_steps, on_step=on_step,
        )  # fmt: skip
        return best.with_visited(found.image, found.loss, jnp.bool_(True)), (found.loss, losses)

    keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(num_white))
    table = (
        jnp.array([list(MAP_LOSSES).index(member.loss) for member in members]),
        jnp.array([list(DIRECTIONS).index(member.direction) for member in members]),
        jnp.array([_STARTS.index(member.start) for member in members]),
        keys,
    )
    best, (white_losses, losses) = jax.lax.scan(run_member, best, table)

    # Independent of the white-box members, including the key: a fair comparison, and versions stay nested.
    black_key = jax.random.fold_in(key, 1000)
    settings = {"judge": judge, "norm": ball, "epsilon": epsilon, "on_step": on_step}
    black_losses, non_finite = [], num_non_finite(losses)
    for index, name in enumerate(BLACK_BOX_MEMBERS[:num_black]):
        search = random_search if name == "random_search" else evolution_search
        length = num_queries if name == "random_search" else num_queries // QUERIES_A_STEP
        found, _, skipped = search(
            jax.random.fold_in(black_key, index),
            map_fn,
            logits_fn,
            constraint,
            image,
            image,
            num_steps=length,
            **settings,
        )
        best = best.with_visited(found.image, found.loss, jnp.bool_(True))
        black_losses.append(found.loss)
        non_finite = non_finite + skipped

    adversarial = best.image
    map_, logits = map_fn(adversarial), logits_fn(adversarial)
    loss_end = judge(map_)
    distance = ball.size(adversarial - image)
    info = AutoExplanationInfo(
        losses=losses,
        member_losses=jnp.concatenate([white_losses, jnp.stack(black_losses)]),
        loss_start=loss_start,
        loss_end=loss_end,
        label_kept=constraint.label_kept(logits),
        softmax_change=constraint.softmax_change(logits),
        success=(loss_end < loss_start) & (distance > 0),  # not a difference by rounding between two programs
        failed=failed,
        distance=distance,
        warnings=warnings_of_pair(
            loss_start=loss_start,
            white_box_loss=jnp.min(white_losses),
            black_box_loss=jnp.min(jnp.stack(black_losses)),
            white_box_losses=losses,
            from_clean_losses=losses[np.array([member.start == "clean" for member in members])],
            maps=(clean_map, target_map, map_),
            no_second_derivative=has_no_second_derivative(
                jax.random.fold_in(key, 2000), logits_fn, image, constraint.label
            ),
            has_budget=jnp.asarray(epsilon) > 0,
        ),
        num_non_finite=non_finite,
    )
    return adversarial, info
