"""Operations with one form for CPU and one for other platforms, by the platform that a program is compiled for."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import mlir

from jsep.models.cpu.lax_conv import uses_lax_conv
from jsep.types import Array

Forms = tuple[Callable[..., Array], Callable[..., Array]]
"""One operation as it is computed on CPU, and as it is computed elsewhere."""


def lower_by_platform(primitive: Primitive, forms: Forms, settings: tuple[str, ...]) -> None:
    """Lowers a primitive by the platform that a program is compiled for, which need not be that of this process: to the
    first form for CPU, to the second for others and inside `use_lax_conv`. settings: the names of its parameters."""
    on_cpu, elsewhere = forms

    def chosen(*operands: Array, **given: Any) -> Array:
        return (elsewhere if uses_lax_conv() else on_cpu)(*operands, **given)

    primitive.def_impl(jax.jit(primitive.bind, static_argnames=settings))
    mlir.register_lowering(primitive, mlir.lower_fun(elsewhere, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(chosen, multiple_results=False), platform="cpu")


def mapped_by_platform(forms: Forms, operands: tuple[Array, Array], dims: tuple[Any, Any], **given: Any) -> Array:
    """`jax.vmap` over both operands, in the form of the platform."""
    on_cpu, elsewhere = (jax.vmap(functools.partial(form, **given), in_axes=dims) for form in forms)
    return jax.lax.platform_dependent(*operands, cpu=on_cpu, default=elsewhere)
