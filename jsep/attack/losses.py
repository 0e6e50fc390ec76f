"""Losses of the logits that attacks on predictions maximise, and the objectives of the image made from them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jsep.checks import InputError, at_label, check_label, check_output
from jsep.compiled import depends_on
from jsep.numerics import all_finite
from jsep.types import Array, LogitsFn, Objective

Loss = Callable[[Array, Array], Array]
"""(logits (K,), label ()) -> scalar, larger the less the logits favour the label."""

_SMALL = 1e-12  # keeps a ratio of equal logits finite


def _need_classes(loss: str, logits: Array, minimum: int) -> None:
    num_classes = logits.shape[-1]
    if num_classes < minimum:
        raise InputError(
            f"the {loss} loss needs at least {minimum} classes, and the model has {num_classes}; use the margin loss"
        )


def _best_other(logits: Array, label: Array) -> Array:
    return jnp.max(jnp.where(jnp.arange(logits.shape[-1]) == label, -jnp.inf, logits))


def _cross_entropy(logits: Array, label: Array) -> Array:
    return -at_label(jax.nn.log_softmax(logits), label)


def _margin(logits: Array, label: Array) -> Array:
    return _best_other(logits, label) - at_label(logits, label)


def _dlr(logits: Array, label: Array) -> Array:
    _need_classes("DLR", logits, 3)
    first, _, third = jax.lax.top_k(logits, 3)[0]
    return _margin(logits, label) / (first - third + _SMALL)


LOSSES: dict[str, Loss] = {"cross_entropy": _cross_entropy, "margin": _margin, "dlr": _dlr}
"""name -> loss of the logits and the label."""


depends_on(LOSSES)


def targeted_margin_loss(target: Array) -> Loss:
    """z_target - z_label: positive if `target` has overtaken the label."""

    def loss(logits: Array, label: Array) -> Array:
        check_label(target, logits.shape[-1], "target")
        return at_label(logits, target) - at_label(logits, label)

    return loss


def targeted_dlr_loss(target: Array) -> Loss:
    """(z_target - z_label) / (z_(1) - (z_(3) + z_(4)) / 2), z_(i) the i-th largest logit; at least 4 classes."""

    def loss(logits: Array, label: Array) -> Array:
        _need_classes("targeted DLR", logits, 4)
        check_label(target, logits.shape[-1], "target")
        first, _, third, fourth = jax.lax.top_k(logits, 4)[0]
        return (at_label(logits, target) - at_label(logits, label)) / (first - (third + fourth) / 2 + _SMALL)

    return loss


@dataclasses.dataclass(frozen=True, eq=False)
class PredictionObjective:
    """The objective image -> loss(f(image), label), which can also tell whether the image is misclassified.

    logits_fn: image -> logits (K,); label: () the class to move away from; loss: (logits (K,), label) -> scalar, such
    as one of `LOSSES`. For a traced label outside 0 .. K-1, which cannot raise, the loss is NaN.
    Raises: InputError, when called, for an output that is not logits (K,), or a label that is not one of their classes.
    """

    logits_fn: LogitsFn
    label: Array
    loss: Loss

    def __call__(self, image: Array) -> Array:
        """() the loss, maximised by attacks."""
        return self.loss(self._logits(image), self.label)

    def _logits(self, image: Array) -> Array:
        logits = self.logits_fn(image)
        check_output(logits)
        check_label(self.label, logits.shape[0])
        return logits

    def with_success(self, image: Array) -> tuple[Array, Array]:
        """(() the loss, () bool whether the image is misclassified), from one evaluation of the model."""
        logits = self._logits(image)
        loss = self.loss(logits, self.label)
        return loss, jnp.isfinite(loss) & is_misclassified(logits, self.label)


def is_misclassified(logits: Array, label: Array) -> Array:
    """() bool: the largest logit is not the label's, and all logits are finite."""
    return all_finite(logits) & (jnp.argmax(logits) != label)


def value_and_gradient(objective: Callable[[Array], Any], image: Array, *, has_aux: bool = False) -> tuple[Any, Array]:
    """(value, gradient) of an objective that an attack maximises; NaN and zeros if either is not finite.

    A step along a non-finite gradient could never return to finite values, and its finite part is meaningless.
    Args: has_aux: the objective returns (value, more), and so does this function.
    Raises: InputError for an objective that is not one real number.
    """

    def checked(z: Array) -> Any:
        found = objective(z)
        value = found[0] if has_aux else found
        shape = getattr(value, "shape", None)
        if shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
            got = type(value).__name__ if shape is None else f"{value.dtype} of shape {shape}"
            raise InputError(f"objective must return one real number of shape (), got {got}; reduce it, as by jnp.mean")
        return found

    found, gradient = jax.value_and_grad(checked, has_aux=has_aux)(image)
    value = found[0] if has_aux else found
    is_finite = all_finite(value, gradient)
    value, gradient = jnp.where(is_finite, value, jnp.nan), jnp.where(is_finite, gradient, 0.0)
    return ((value, found[1]) if has_aux else value), gradient


def num_non_finite(values: Array) -> Array:
    """() int: number of non-finite values along an attack."""
    return jnp.sum(~jnp.isfinite(values))


def is_success(objective: Objective, image: Array, adversarial: Array) -> Array:
    """() bool: `success` in the info of an attack that maximises `objective` from `image`.

    For a `PredictionObjective`, or any other objective with its method `with_success`: whether `adversarial` is
    misclassified, by that method. Otherwise: whether the objective is higher than at `image`.
    """
    with_success: Any = getattr(objective, "with_success", None)
    return objective(adversarial) > objective(image) if with_success is None else with_success(adversarial)[1]


def cross_entropy(logits_fn: LogitsFn, label: Array) -> PredictionObjective:
    """The objective image -> -log softmax(f(image))_label, in nats.

    >>> import jax.numpy as jnp
    >>> from jsep import attack
    >>> loss = attack.cross_entropy(lambda image: jnp.zeros(4), label=1)
    >>> round(float(loss(jnp.zeros((2, 2, 1)))), 3)  # log 4
    1.386
    """
    return PredictionObjective(logits_fn, label, _cross_entropy)


def margin(logits_fn: LogitsFn, label: Array) -> PredictionObjective:
    """The objective image -> max_{k != label} z_k - z_label: positive if and only if the image is misclassified.

    Reference: Carlini and Wagner 2017, loss f_6 without its bound.
    """
    return PredictionObjective(logits_fn, label, _margin)


def dlr(logits_fn: LogitsFn, label: Array) -> PredictionObjective:
    """The objective image -> (max_{k != label} z_k - z_label) / (z_(1) - z_(3)), z_(i) the i-th largest logit.

    Invariant to shifts and scaling of the logits, so that confidence alone does not make its gradient vanish.
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
