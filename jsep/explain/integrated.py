"""Integrated gradients."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jsep.checks import as_baseline, check_choice, check_count
from jsep.explain.entry import explanation_method, score
from jsep.explain.gradient import gradient
from jsep.explain.sampling import map_in_chunks
from jsep.types import Array, Key, LogitsFn

QUADRATURES = ("gauss_legendre", "midpoint", "trapezoid")
"""Quadrature rules for the integral along the line from the baseline to the image."""


def nodes_and_weights(quadrature: str, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Points in [0, 1] and weights that sum to 1, both (num_steps,), float64."""
    check_choice("quadrature", quadrature, QUADRATURES)
    if quadrature == "gauss_legendre":
        nodes, weights = np.polynomial.legendre.leggauss(num_steps)
        return (nodes + 1) / 2, weights / 2
    if quadrature == "midpoint":
        return (np.arange(num_steps) + 0.5) / num_steps, np.full(num_steps, 1 / num_steps)
    check_count("num_steps of the trapezoid rule", num_steps, minimum=2)
    weights = np.full(num_steps, 1 / (num_steps - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, num_steps), weights


@explanation_method
def integrated_gradients(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    *,
    key: Key | None = None,
    baseline: Any = 0.0,
    num_steps: int = 32,
    quadrature: str = "gauss_legendre",
    chunk_size: int = 8,
    return_gap: bool = False,
) -> Any:
    """Integrated gradients: (x - b) times the mean input gradient on the straight line from the baseline b to x.

    >>> import jax.numpy as jnp
    >>> from jsep import explain
    >>> square = lambda image: jnp.stack([image.sum() ** 2, 0.0])
    >>> float(explain.integrated_gradients(square, jnp.ones((1, 2, 1)), 0).sum())  # the logit: completeness
    4.0

        s = (x - b) * int_0^1 grad f_label(b + t (x - b)) dt,    sum(s) = f_label(x) - f_label(b) up to quadrature

    Args:
      logits_fn, image, label, key: as `gradient`.
      baseline: a number or an array that broadcasts to the image, pixel units.
      num_steps: gradients on the line.
      quadrature: "gauss_legendre", "midpoint" or "trapezoid".
      chunk_size: gradients in memory at once.
      return_gap: also return the completeness gap.

    Returns: (H, W, C), signed, in logits; with `return_gap` also sum(s) - (f_label(x) - f_label(b)), (). Differentiable
      in the image, the baseline and the parameters.
    Raises: InputError as in `score`, for an unknown quadrature, a count below 1 or a baseline of the wrong shape.
    Reference: Sundararajan et al. 2017, equations 1 and 3 and proposition 1.
    """
    check_count("num_steps", num_steps)
    nodes, weights = nodes_and_weights(quadrature, num_steps)
    baseline = as_baseline(baseline, image)
    way = image - baseline
    gradients = map_in_chunks(
        lambda t: gradient(logits_fn, baseline + t * way, label), jnp.asarray(nodes, image.dtype), chunk_size
    )
    saliency = way * jnp.tensordot(jnp.asarray(weights, image.dtype), gradients, 1)
    if not return_gap:
        return saliency
    difference = score(logits_fn, image, label) - score(logits_fn, jnp.broadcast_to(baseline, image.shape), label)
    return saliency, jnp.sum(saliency) - difference
