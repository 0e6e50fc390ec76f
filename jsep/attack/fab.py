"""FAB: a minimal perturbation that changes the prediction, by projections onto linearised decision boundaries."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jsep.attack.entry import attack_method
from jsep.attack.losses import is_misclassified, value_and_gradient
from jsep.attack.norms import norm_by_name
from jsep.checks import at_label, check_count, check_label, check_output, check_positive
from jsep.types import Array, LogitsFn

_SMALL = 1e-8  # added to the length of a projection, so that the ratio of two lengths is defined


class FabInfo(NamedTuple):
    """The record of a run of `fab`.

    success: () bool, the returned image is misclassified; distance: () norm of its perturbation, inf without success.
      num_steps: () int, steps made; num_non_finite: () int, number of iterates with non-finite logits or gradient, from
      which the next step leads back towards the clean image.
    """

    success: Array
    distance: Array
    num_steps: Array
    num_non_finite: Array


class _State(NamedTuple):
    step: Array
    image: Array
    best: Array
    distance: Array
    num_non_finite: Array


@attack_method
def fab(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    target: Array,
    *,
    norm: str = "linf",
    num_steps: int = 100,
    stop_within: Any = None,
    alpha_max: float = 0.1,
    eta: float = 1.05,
    beta: float = 0.9,
) -> tuple[Array, FabInfo]:
    """FAB: the nearest misclassified image across the decision boundary between `label` and `target`; no budget.

    With d(z) the smallest step (inside the box) from z to the boundary linearised at x, the next iterate is
    (1 - a)(x + eta d(x)) + a (x_0 + eta d(x_0)), clipped, with a = min(|d(x)| / (|d(x)| + |d(x_0)|), alpha_max): close
    to the boundary, and biased towards the clean image x_0. A misclassified iterate is kept if it is the nearest so
    far, and the search continues from x_0 + beta (x - x_0).

    Args:
      logits_fn: image -> logits (K,); image: (H, W, C) float in [0, 1].
      label, target: classes; any misclassified image counts, `target` only selects the boundary.
      norm: of the distance, "linf" or "l2".
      num_steps: >= 0.
      stop_within: stop at a misclassified image within this distance; None for all steps.
      alpha_max, eta, beta: largest bias towards the clean image, overshoot, backward step.

    Returns: (the nearest misclassified image (H, W, C), or `image` if there is none, FabInfo). One image; batch with
      `jax.vmap`.
    Raises: InputError for a norm, count or image out of range.
    Reference: Croce and Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack".
    """
    ball = norm_by_name(norm)
    check_count("num_steps", num_steps, minimum=0)
    for name, value in (("alpha_max", alpha_max), ("eta", eta), ("beta", beta)):
        check_positive(name, value, allow_zero=True)
    if stop_within is not None:
        check_positive("stop_within", stop_within, allow_zero=True)
    radius = -jnp.inf if stop_within is None else stop_within

    def difference(candidate: Array) -> Array:
        logits = logits_fn(candidate)
        check_output(logits)
        check_label(label, logits.shape[0])
        check_label(target, logits.shape[0], "target")
        return at_label(logits, target) - at_label(logits, label)

    def step(state: _State) -> _State:
        value, normal = value_and_gradient(difference, state.image)
        is_finite = jnp.isfinite(value)
        value = jnp.where(is_finite, value, 0.0)  # with a zero gradient: the step leads back towards the clean image
        # On the linearised boundary the difference is 0: <normal, z + d - x> = -value.
        here = ball.to_hyperplane(state.image, normal, -value)
        back = ball.to_hyperplane(image, normal, -value - jnp.vdot(normal, image - state.image))
        lengths = jnp.maximum(ball.size(here), _SMALL), jnp.maximum(ball.size(back), _SMALL)
        pull = jnp.minimum(lengths[0] / (lengths[0] + lengths[1]), alpha_max)
        moved = jnp.clip((1 - pull) * (state.image + eta * here) + pull * (image + eta * back), 0.0, 1.0)

        found = is_misclassified(logits_fn(moved), label)
        distance = ball.size(moved - image)
        nearer = found & (distance < state.distance)
        return _State(
            step=state.step + 1,
            image=jnp.where(found, image + beta * (moved - image), moved),
            best=jnp.where(nearer, moved, state.best),
            distance=jnp.where(nearer, distance, state.distance),
            num_non_finite=state.num_non_finite + ~is_finite,
        )

    wrong_already = is_misclassified(logits_fn(image), label)
    final = jax.lax.while_loop(
        lambda state: (state.step < num_steps) & (state.distance > radius) & (state.distance > 0),
        step,
        _State(jnp.int32(0), image, image, jnp.where(wrong_already, 0.0, jnp.inf).astype(image.dtype), jnp.int32(0)),
    )
    return final.best, FabInfo(jnp.isfinite(final.distance), final.distance, final.step, final.num_non_finite)
