"""log(1 + x) for x in [0, 1], three times as fast on CPU as XLA's log1p."""

import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching

from jsep.models.cpu.platform import lower_by_platform
from jsep.types import Array

_RATIO = (
    1.0, -0.49999493, 0.33319098, -0.24842982, 0.19106007, -0.13663244, 0.07822593, -0.029505227, 0.0052326913
)  # fmt: skip
"""Minimax polynomial of log(1 + x) / x on [0, 1], coefficients from x^0 up; largest relative error 6e-8."""

_log1p_p = Primitive("jsep_log1p")


def log1p_of_small(x: Array) -> Array:
    """log(1 + x) for x in [0, 1], exact up to rounding."""
    return _log1p_p.bind(x)


def _on_cpu(x: Array) -> Array:
    if x.dtype != jnp.float32:
        return jnp.log1p(x)
    # In x, since a series in x / (2 + x) takes 1.5 times as long: XLA writes the quotient to memory because it is used
    # twice.
    ratio = jnp.float32(_RATIO[-1])
    for coefficient in reversed(_RATIO[:-1]):
        ratio = ratio * x + jnp.float32(coefficient)
    return ratio * x


_log1p_p.def_abstract_eval(lambda x: x)
lower_by_platform(_log1p_p, (_on_cpu, jnp.log1p), ())
batching.defvectorized(_log1p_p)
ad.defjvp(_log1p_p, lambda tangent, x: tangent / (1 + x))
