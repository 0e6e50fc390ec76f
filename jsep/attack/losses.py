"""Losses of the logits that attacks on predictions ascend, and the objectives of the image made of them."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jsep.checks import InputError
from jsep.types import Array, LogitsFn, Objective

Loss = Callable[[Array, Array], Array]
"""(logits (K,), label ()) -> scalar, larger the less the logits favour the label."""

_SMALL = 1e-12  # keeps a quotient of equal logits finite


def _need_classes(loss: str, logits: Array, minimum: int) -> None:
    num_classes = logits.shape[-1]
    if num_classes < minimum:
        raise InputError(
            f"the {loss} loss needs at least {minimum} classes, and the model has {num_classes}; use the margin loss"
        )


def _best_other(logits: Array, label: Array) -> Array:
    return jnp.max(jnp.where(jnp.arange(logits.shape[-1]) == label, -jnp.inf, logits))


def _cross_entropy(logits: Array, label: Array) -> Array:
    return -jax.nn.log_softmax(logits)[label]


def _margin(logits: Array, label: Array) -> Array:
    return _best_other(logits, label) - logits[label]


def _dlr(logits: Array, label: Array) -> Array:
    _need_classes("DLR", logits, 3)
    first, _, third = jax.lax.top_k(logits, 3)[0]
    return _margin(logits, label) / (first - third + _SMALL)


LOSSES: dict[str, Loss] = {"cross_entropy": _cross_entropy, "margin": _margin, "dlr": _dlr}
"""name -> loss of the logits and the label."""


def targeted_margin_loss(target: Array) -> Loss:
    """z_target - z_label: positive when `target` has overtaken the label."""
    return lambda logits, label: logits[target] - logits[label]


def targeted_dlr_loss(target: Array) -> Loss:
    """(z_target - z_label) / (z_(1) - (z_(3) + z_(4)) / 2), z_(i) the i-th largest logit; at least 4 classes."""

    def loss(logits: Array, label: Array) -> Array:
        _need_classes("targeted DLR", logits, 4)
        first, _, third, fourth = jax.lax.top_k(logits, 4)[0]
        return (logits[target] - logits[label]) / (first - (third + fourth) / 2 + _SMALL)

    return loss


@dataclasses.dataclass(frozen=True, eq=False)
class PredictionObjective:
    """The objective image -> loss(f(image), label), which also says whether the image is misclassified.

    logits_fn: image -> logits (K,); label: () the class that the attack leads away from; loss: (logits (K,), label) ->
    scalar, such as one of `LOSSES`.
    """

    logits_fn: LogitsFn
    label: Array
    loss: Loss

    def __call__(self, image: Array) -> Array:
        """() the loss, ascended by attacks."""
        return self.loss(self.logits_fn(image), self.label)

    def with_success(self, image: Array) -> tuple[Array, Array]:
        """(() the loss, () bool whether the image is misclassified), from one evaluation of the model."""
        logits = self.logits_fn(image)
        return self.loss(logits, self.label), jnp.argmax(logits) != self.label


def is_success(objective: Objective, image: Array, adversarial: Array) -> Array:
    """() bool: what `success` means in the info of an attack that ascends `objective` from `image`.

    With a `PredictionObjective`, or any other objective that has its method `with_success`: that method's answer for
    `adversarial`, whether it is misclassified. Otherwise: whether the objective is higher than at `image`.
    """
    with_success = getattr(objective, "with_success", None)
    return objective(adversarial) > objective(image) if with_success is None else with_success(adversarial)[1]


def cross_entropy(logits_fn: LogitsFn, label: Array) -> PredictionObjective:
    """The objective image -> -log softmax(f(image))_label, in nats."""
    return PredictionObjective(logits_fn, label, _cross_entropy)


def margin(logits_fn: LogitsFn, label: Array) -> PredictionObjective:
    """The objective image -> max_{k != label} z_k - z_label: positive exactly where the image is misclassified.

    Reference: Carlini and Wagner 2017, loss f_6 without its bound.
    """
    return PredictionObjective(logits_fn, label, _margin)


def dlr(logits_fn: LogitsFn, label: Array) -> PredictionObjective:
    """The objective image -> (max_{k != label} z_k - z_label) / (z_(1) - z_(3)), z_(i) the i-th largest logit.

    It does not change when the logits are shifted or scaled, so confidence alone does not make its gradient vanish.
    Raises: InputError for fewer than 3 classes.
    Reference: Croce and Hein 2020, equation 6.
    """
    return PredictionObjective(logits_fn, label, _dlr)


def targeted_dlr(logits_fn: LogitsFn, label: Array, target: Array) -> PredictionObjective:
    """The objective image -> (z_target - z_label) / (z_(1) - (z_(3) + z_(4)) / 2).

    Raises: InputError for fewer than 4 classes.
    Reference: Croce and Hein 2020, equation 7.
    """
    return PredictionObjective(logits_fn, label, targeted_dlr_loss(target))
