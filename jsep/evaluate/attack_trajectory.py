"""The trajectory of an explanation attack on a few pairs: its iterates and their maps."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep.checks import InputError, check_count
from jsep.data import Dataset
from jsep.evaluate.model_arguments import takes_logits_fn
from jsep.evaluate.robustness import AnyArray, ExplanationAttackConfig, explained_prediction
from jsep.evaluate.selection import PairIndex
from jsep.types import Array, Key, ModelFn, PyTree


class AttackTrajectory(NamedTuple):
    """The iterates of the attack on G pairs at S recorded steps.

    images: (G, S, H, W, C); maps: (G, S, H, W) of those images, for the class predicted on the victim; predicted: (G,
    S) the predicted class of each; losses: (G, S) mean squared difference to the attacked target map.
    """

    images: AnyArray
    maps: AnyArray
    predicted: AnyArray
    losses: AnyArray


def trajectory_steps(num_steps: int, num_snapshots: int) -> tuple[int, ...]:
    """At most `num_snapshots` steps from 0 to `num_steps`, denser at the start, where the image changes most.

    >>> trajectory_steps(300, 6), trajectory_steps(2, 6)
    ((0, 12, 48, 108, 192, 300), (0, 1, 2))
    """
    check_count("num_steps", num_steps, minimum=0)
    check_count("num_snapshots", num_snapshots, minimum=2)
    shares = (index / (num_snapshots - 1) for index in range(num_snapshots))
    return tuple(sorted({round(num_steps * share**2) for share in shares}))


@functools.partial(jax.jit, static_argnames=("model_fn", "config", "steps"))
def _visit(
    keys: Array,
    model_fn: ModelFn,
    variables: PyTree,
    victims: Array,
    targets: Array,
    config: ExplanationAttackConfig,
    steps: tuple[int, ...],
) -> AttackTrajectory:
    logits_fn = functools.partial(model_fn, variables)

    def one(key: Key, victim: Array, target: Array) -> AttackTrajectory:
        target_map = explained_prediction(key, logits_fn, config, config.attacked, target)[1](target)
        map_fn = explained_prediction(key, logits_fn, config, config.attacked, victim)[1]
        problem = config.problem(map_fn, logits_fn, victim, target_map)
        assert config.entry.trajectory is not None  # attack_trajectory has checked it
        visited, losses = config.entry.trajectory.visit(key, problem, config.own_settings, steps)
        shown_fn = explained_prediction(key, logits_fn, config, config.method, victim)[1]
        predicted = jnp.argmax(jax.vmap(logits_fn)(visited), axis=-1)
        return AttackTrajectory(visited, jax.lax.map(shown_fn, visited), predicted, losses)

    return jax.vmap(one)(keys, victims, targets)


@takes_logits_fn
def attack_trajectory(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    dataset: Dataset,
    pairs: PairIndex,
    config: ExplanationAttackConfig,
    *,
    chosen: Sequence[int],
    steps: Sequence[int],
) -> AttackTrajectory:
    """Repeats the attack of `explanation_robustness` on the pairs `chosen`, and records its trajectory.

    Args: key: that passed to `explanation_robustness`, so that the attack is the same; chosen: G indices into `pairs`,
      all in memory at once; steps: S attack steps counted from 0, see `trajectory_steps`.
    Returns: AttackTrajectory.
    Raises: InputError for an attack whose iterates cannot be recorded, or an index or step out of range.
    """
    if config.entry.trajectory is None:
        raise InputError(f"the explanation attack {config.attack!r} has no trajectory; leave it out")
    pairs.check_fits(dataset)
    for place in chosen:
        check_count("chosen", place, minimum=0)
        if place >= len(pairs.victims):
            raise InputError(f"chosen must name pairs in [0, {len(pairs.victims)}), got {place}")
    places = np.array(chosen, int)
    victims, targets = (dataset.as_float(np.asarray(indices)[places]) for indices in (pairs.victims, pairs.targets))
    keys = jax.random.split(key, len(pairs.victims))[places]
    course = _visit(keys, model_fn, variables, victims, targets, config, tuple(steps))
    return AttackTrajectory(*(np.asarray(values) for values in course))
