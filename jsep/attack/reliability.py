"""Automatic checks of `auto_attack`: signs that a robust accuracy is overestimated."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jsep.attack.losses import cross_entropy, margin
from jsep.types import Array, LogitsFn

_SAME_LOGITS = 1e-4  # tolerance for logits divided by their norm, between two evaluations of the same images
_SAME_SUM = 1e-5  # tolerance for the sum of probabilities
_SQUARE_GAIN = 0.002  # fraction of the images that random search may break after the other attacks
_FLAT_SHARE = 0.05  # fraction of the attacked images whose loss may fail to rise


@dataclasses.dataclass(frozen=True)
class ReliabilityCheck:
    """One automatic check of `auto_attack`.

    name; raised: whether it found a sign that the robust accuracy is overestimated; sentence: what it found, with
    numbers.
    """

    name: str
    raised: bool
    sentence: str


def is_probability(logits: np.ndarray) -> bool:
    """Whether every row of (B, K) is non-negative and sums to 1, as after a softmax."""
    return bool(
        np.all(logits >= -_SAME_SUM) and np.all(np.abs(np.sum(logits, axis=-1, dtype=np.float64) - 1) < _SAME_SUM)
    )


def probabilities(logits: np.ndarray) -> ReliabilityCheck:
    """Checks for probabilities: a softmax makes the gradients vanish where the model is confident."""
    if is_probability(logits):
        return ReliabilityCheck(
            "probabilities",
            True,
            "The outputs are non-negative and sum to 1: they look like probabilities, whose losses have vanishing "
            "gradients; attack the logits.",
        )
    return ReliabilityCheck("probabilities", False, "The outputs are not a probability distribution.")


def randomised(outputs: Sequence[np.ndarray]) -> ReliabilityCheck:
    """Checks for random outputs, from logits (B, K) of the same images evaluated at least twice."""
    scaled = [logits / (np.linalg.norm(logits, axis=-1, keepdims=True) + 1e-12) for logits in outputs]
    difference = max(float(np.linalg.norm(scaled[0] - other, axis=-1).max()) for other in scaled[1:])
    changed = max(int(np.sum(outputs[0].argmax(-1) != other.argmax(-1))) for other in outputs[1:])
    raised = changed > 0 or difference > _SAME_LOGITS
    if raised:
        sentence = (
            f"The same images gave other outputs when evaluated again (difference {difference:.2g} of unit logits, "
            f"{changed} predictions changed): the model draws, and attacks must average over its draws."
        )
    else:
        sentence = "The same images gave the same outputs when evaluated again."
    return ReliabilityCheck("randomised", raised, sentence)


def gradient_sizes(logits_fn: LogitsFn, image: Array, label: Array) -> Array:
    """(2,) the largest entries of the gradients of the cross-entropy and of the margin at `image`."""
    return jnp.stack(
        [jnp.max(jnp.abs(jax.grad(objective(logits_fn, label))(image))) for objective in (cross_entropy, margin)]
    )


def zero_gradients(sizes: np.ndarray) -> ReliabilityCheck:
    """Checks for zero gradients, from the `gradient_sizes` (B, 2) of the correctly classified images."""
    zeros = np.sum(sizes == 0, axis=0) if len(sizes) else np.zeros(2, int)
    sentence = (
        f"The gradient is exactly zero at {zeros[0]} (cross-entropy) and {zeros[1]} (margin) of {len(sizes)} images"
    )
    raised = bool(zeros.max() > 0)
    return ReliabilityCheck(
        "zero_gradients", raised, sentence + (": attacks by that loss do not move there." if raised else ".")
    )


def square_beats_white_box(before: float, after: float) -> ReliabilityCheck:
    """Checks whether random search, which runs last, breaks further images, from both robust accuracies."""
    gain = before - after
    raised = gain > _SQUARE_GAIN
    sentence = f"Random search without gradients lowered the robust accuracy by {100 * max(gain, 0):.2f} points"
    if raised:
        sentence += " after the white-box attacks: their gradients mislead, and more queries may lower it further."
    return ReliabilityCheck("square_beats_white_box", raised, sentence if raised else sentence + ".")


def loss_not_rising(objectives: np.ndarray) -> ReliabilityCheck:
    """Checks whether the loss rises, from the best objectives (B, num_steps + 1) of images that stayed robust."""
    if objectives.shape[0] == 0 or objectives.shape[1] < 2:
        return ReliabilityCheck("loss_not_rising", False, "No image withstood the attack whose loss is looked at.")
    flat = int(np.sum(~(objectives[:, -1] > objectives[:, 0])))
    raised = flat > _FLAT_SHARE * len(objectives)
    sentence = f"The loss never rose above its start at {flat} of {len(objectives)} images that withstood APGD"
    return ReliabilityCheck(
        "loss_not_rising", raised, sentence + (": its gradients lead nowhere there." if raised else ".")
    )


def few_classes(num_classes: int, num_targets: int) -> ReliabilityCheck:
    """Checks for too few classes: targeted attacks need other classes, the targeted DLR loss at least 4 in all."""
    possible = min(num_targets, num_classes - 1)
    sentence = f"{possible} target classes were attacked"
    if possible < num_targets:
        sentence += f" instead of {num_targets}, all that a model of {num_classes} classes has"
    raised = num_classes < 4
    if raised:
        sentence += "; the targeted DLR loss needs 4 classes, so APGD-T ascended the targeted margin instead"
    return ReliabilityCheck("few_classes", raised, sentence + ".")


def not_finite(num_images: int, total: int) -> ReliabilityCheck:
    """Reports the number of images, above 0, where an attack ended at non-finite logits and none succeeded."""
    return ReliabilityCheck(
        "not_finite",
        True,
        f"The logits were not finite at the end of an attack on {num_images} of {total} images that no other attack "
        "broke: they count as robust without being so.",
    )
