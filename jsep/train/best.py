"""The best state so far: adversarial training over-fits, and its last epoch is rarely its most robust one."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from jsep.train.checkpoint import Checkpoints
from jsep.types import Array, PyTree

SCORE = "validation_robust_accuracy"
"""The name in a validation record by which the best state is chosen."""


class Best(NamedTuple):
    """The variables with the highest validation score so far; epoch, score: () of that validation."""

    variables: PyTree
    epoch: Array
    score: Array


class BestCheckpoint:
    """Keeps the validated variables with the highest score, the first of equals, in `checkpoints` of their own.

    A resumed run may find a best state of an epoch that it has yet to repeat. That changes nothing: the repeated epoch
    has the same score, and beats every epoch before it as it did then.
    """

    def __init__(self, checkpoints: Checkpoints, *, score: str = SCORE) -> None:
        self._checkpoints = checkpoints
        self._name = score
        self._best: float | None = None

    def begin(self, variables: PyTree) -> None:
        """Reads the score of an earlier part of the run. Args: variables: in the structure of those to come."""
        found = self.restore(variables)
        self._best = None if found is None else float(found.score)

    def offer(self, epoch: int, step: int, variables: PyTree, record: Mapping[str, Any]) -> bool:
        """Saves the variables if their record has the highest score so far; returns whether it did."""
        if self._name not in record:
            return False
        score = float(jnp.float32(record[self._name]))
        if self._best is not None and not score > self._best:
            return False
        self._best = score
        self._checkpoints.save(step, Best(variables, jnp.int32(epoch), jnp.float32(score)))
        return True

    def restore(self, like: PyTree) -> Best | None:
        """The best state, or None where no readable one was kept. Args: like: variables of its structure."""
        return self._checkpoints.restore(Best(like, jnp.int32(0), jnp.float32(0)))
