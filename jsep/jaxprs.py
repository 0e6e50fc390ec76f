"""Equations of a jaxpr as functions, for the parts that read the code of a model."""

from collections.abc import Callable, Sequence
from typing import Any

from jax.extend import core

from jsep.types import Array


def bind_fn(equation: Any) -> Callable[..., Sequence[Array]]:
    """The equation as a function of its operands, evaluated as a jaxpr of its own, so that JAX supplies what a call
    needs besides its operands."""
    variables = [i for i, atom in enumerate(equation.invars) if not isinstance(atom, core.Literal)]
    first = {equation.invars[i]: i for i in reversed(variables)}
    alone = core.Jaxpr((), list(first), equation.outvars, [equation], equation.effects)
    fn = core.jaxpr_as_fun(core.ClosedJaxpr(alone, ()))

    def bind(*operands: Array) -> Sequence[Array]:
        return fn(*(operands[i] for i in first.values()))

    return bind
