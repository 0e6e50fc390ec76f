"""The exponential moving average of parameters and batch statistics."""

import math

import jax
import jax.numpy as jnp

from jsep.checks import InputError, check_number
from jsep.types import Array, PyTree


def moving_average(decay: float, average: PyTree, values: PyTree, step: Array) -> PyTree:
    """The bias-corrected exponential moving average a_t, from the previous average a_(t-1) and the new values v_t.

        a_t = sum_(i = 1..t) d^(t - i) v_i (1 - d) / (1 - d^t) = a_(t-1) + (1 - d) / (1 - d^t) (v_t - a_(t-1)),

    whose weights sum to 1 from the first step on, so that the initial values do not enter.

    Args: decay: d in (0, 1); average, values: a_(t-1) and v_t, pytrees of float arrays of the same structure; step: (),
      t >= 1.
    Returns: a_t.
    Raises: InputError for trees of different structure, or a decay or step out of range.
    """
    check_number("decay", decay, 0.0, 1.0)
    if str(jax.tree.structure(average)) != str(jax.tree.structure(values)):
        raise InputError("average and values must have the same structure")
    if not jnp.issubdtype(step.dtype, jnp.integer):
        raise InputError(f"step must be a whole number, got dtype {step.dtype}")
    check_number("step", step, 1, 2**31 - 1)
    count = step.astype(jnp.float32)
    # expm1 avoids the cancellation of 1 - d^t in float32 for d near 1.
    rate = (1 - decay) / -jnp.expm1(count * math.log(decay))
    return jax.tree.map(lambda old, new: old + (rate * (new - old)).astype(old.dtype), average, values)
