"""The exponential moving average of what is trained."""

import math

import jax
import jax.numpy as jnp

from jsep.types import Array, PyTree


def moving_average(decay: float, average: PyTree, values: PyTree, step: Array) -> PyTree:
    """The average after `step` steps, from the one before and the newest values v_step.

        a_t = sum_(i = 1..t) d^(t - i) v_i (1 - d) / (1 - d^t) = a_(t-1) + (1 - d) / (1 - d^t) (v_t - a_(t-1)),

    the average whose weights sum to 1 from the first step on, so that the initial values never count.

    Args: decay: d in (0, 1); average, values: equal pytrees of float arrays; step: () t >= 1.
    Returns: as `average`.
    """
    count = step.astype(jnp.float32)
    # 1 - d^t without cancellation for d near 1, of which float32 keeps too little.
    rate = (1 - decay) / -jnp.expm1(count * math.log(decay))
    return jax.tree.map(lambda old, new: old + (rate * (new - old)).astype(old.dtype), average, values)
