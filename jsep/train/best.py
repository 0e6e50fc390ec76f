"""Selection of the best epoch: robust overfitting makes the last epoch of adversarial training rarely the best."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from jsep.train.checkpoint import Checkpoints
from jsep.types import Array, PyTree

SCORE = "validation_robust_accuracy"
"""The key of the validation record whose value selects the best state."""


class Best(NamedTuple):
    """The variables with the highest validation score so far, and the epoch () and score () of that validation."""

    variables: PyTree
    epoch: Array
    score: Array


class BestCheckpoint:
    """Keeps the validated variables with the highest score, the earliest in case of ties, in separate `checkpoints`.

    A resumed run may find a best state from an epoch that it is about to repeat. This does not change the result: the
    repeated epoch is identical, so its score again exceeds those of all earlier epochs.
    """

    def __init__(self, checkpoints: Checkpoints, *, score: str = SCORE) -> None:
        self._checkpoints = checkpoints
        self._name = score
        self._best: float | None = None

    def begin(self, variables: PyTree) -> None:
        """Reads the best score of an interrupted run. Args: variables: of the structure that `offer` will get."""
        found = self.restore(variables)
        self._best = None if found is None else float(found.score)

    def offer(self, epoch: int, step: int, variables: PyTree, record: Mapping[str, Any]) -> bool:
        """Saves the variables if their record has the highest score so far; returns whether they were saved."""
        if self._name not in record:
            return False
        score = float(jnp.float32(record[self._name]))
        if not math.isfinite(score) or (self._best is not None and not score > self._best):
            return False
        self._best = score
        self._checkpoints.save(step, Best(variables, jnp.int32(epoch), jnp.float32(score)))
        return True

    def restore(self, like: PyTree, *, allow_older: bool = True) -> Best | None:
        """The best state, or None if there is no intact one. Args: like: variables of the same structure; allow_older:
        as `Checkpoints.restore`."""
        return self._checkpoints.restore(Best(like, jnp.int32(0), jnp.float32(0)), allow_older=allow_older)
