"""The 2-D convolutions in the code of any model, computed by those of this package.

In a compiled loop, as of an attack or of training, XLA computes few layouts of a convolution fast on CPU: one of 4
images with the channels first took 20 to 40 times as long there as outside, and with the channels last the gradient in
the images 3 times and the one in the weights 10 to 15 times. The convolutions of `jsep.models.cpu` take the same time
in both, at every order of derivative, and are those of `jax.lax` on other platforms.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from jsep.jaxprs import bind_fn
from jsep.models import cpu
from jsep.types import Array

_CONV = "conv_general_dilated"
_LARGEST_DILATED = 7
"""Entries a side of a dilated kernel that is computed as one with zeros between its entries."""

_CALLS = {"jit", "pjit", "closed_call", "remat", "remat2", "checkpoint", "scan", "while", "cond"}
"""Calls whose bodies are read; those with a derivative of their own are left as they are."""


def with_own_convolutions(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), where its 2-D convolutions are `conv2d`'s if a program is being traced.

    A convolution is left as it is if it is grouped (but not depthwise), transposed or of unequal strides, if its
    dilated kernel has more than 7 entries a side, or if it asks for a precision.
    Args: args: trees of arrays. Returns: what the function returns, a tree of arrays.
    """
    leaves = jax.tree.leaves(args)
    if not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return function(*args)
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    if not _has_convolution(closed.jaxpr):
        outputs = core.jaxpr_as_fun(closed)(*leaves)
    else:
        outputs = _evaluate(closed.jaxpr, closed.consts, leaves)
    return jax.tree.unflatten(jax.tree.structure(shapes), outputs)


def _bodies(value: Any) -> list[Any]:
    """The jaxprs in a parameter of an equation."""
    leaves = value if isinstance(value, tuple | list) else [value]
    return [leaf for leaf in leaves if isinstance(leaf, core.Jaxpr | core.ClosedJaxpr)]


def _has_convolution(jaxpr: Any) -> bool:
    return any(_is_convolution(equation) or _is_call_of_one(equation) for equation in jaxpr.eqns)


def _is_convolution(equation: Any) -> bool:
    return equation.primitive.name == _CONV


def _is_call_of_one(equation: Any) -> bool:
    bodies = [body for value in equation.params.values() for body in _bodies(value)]
    return equation.primitive.name in _CALLS and any(_has_convolution(getattr(body, "jaxpr", body)) for body in bodies)


def _evaluate(jaxpr: Any, constants: Sequence[Any], operands: Sequence[Any]) -> list[Any]:
    values: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *operands), strict=True))

    def value(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for equation in jaxpr.eqns:
        given = [value(atom) for atom in equation.invars]
        if _is_convolution(equation) and _is_supported(equation):
            outputs: Sequence[Any] = [_conv2d(given[0], given[1], equation.params)]
        else:
            outputs = bind_fn(_with_own_bodies(equation) if _is_call_of_one(equation) else equation)(*given)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _with_own_bodies(equation: Any) -> Any:
    """The call with the convolutions of its bodies replaced."""

    def replaced(body: Any) -> Any:
        if not _bodies(body):
            return body
        closed = body if isinstance(body, core.ClosedJaxpr) else core.ClosedJaxpr(body, ())
        shapes = [jax.ShapeDtypeStruct(each.shape, each.dtype, weak_type=each.weak_type) for each in closed.in_avals]
        own = jax.make_jaxpr(lambda *given: _evaluate(closed.jaxpr, closed.consts, given))(*shapes)
        if isinstance(body, core.ClosedJaxpr):
            return own
        return body if own.consts else own.jaxpr

    params = {
        name: type(value)(replaced(each) for each in value) if isinstance(value, tuple | list) else replaced(value)
        for name, value in equation.params.items()
    }
    return equation.replace(params=params)


def _is_supported(equation: Any) -> bool:
    images, kernel = (atom.aval for atom in equation.invars)
    params = equation.params
    numbers, dilation = params["dimension_numbers"], params["rhs_dilation"]
    if len(images.shape) != 4 or params["batch_group_count"] != 1 or set(params["lhs_dilation"]) != {1}:
        return False
    has_precision = params["precision"] not in (None, (jax.lax.Precision.DEFAULT,) * 2)
    is_mixed = images.dtype != kernel.dtype or params["preferred_element_type"] not in (None, images.dtype)
    channels, groups = images.shape[numbers.lhs_spec[1]], params["feature_group_count"]
    features = kernel.shape[numbers.rhs_spec[0]]
    is_ordinary = groups == 1 or groups == channels == features
    sides = [kernel.shape[axis] for axis in numbers.rhs_spec[2:]]
    dilated = [(side - 1) * factor + 1 for side, factor in zip(sides, dilation, strict=True)]
    is_dense = set(dilation) == {1} or max(dilated) <= _LARGEST_DILATED
    is_even = len(set(params["window_strides"])) == 1
    return is_ordinary and is_dense and is_even and not has_precision and not is_mixed


def _conv2d(images: Array, kernel: Array, params: dict[str, Any]) -> Array:
    numbers = params["dimension_numbers"]
    batch, channel, *rows_columns = numbers.lhs_spec
    feature, entry, *sides = numbers.rhs_spec
    images = jnp.transpose(images, (batch, *rows_columns, channel))
    kernel = jnp.transpose(kernel, (*sides, entry, feature))
    if set(params["rhs_dilation"]) != {1}:
        gaps = [(0, 0, factor - 1) for factor in params["rhs_dilation"]]
        kernel = jax.lax.pad(kernel, jnp.zeros((), kernel.dtype), (*gaps, (0, 0, 0), (0, 0, 0)))
    # Negative padding crops; XLA's own convolution reads beyond the image there, on CPU and now and then.
    crops = [(min(int(low), 0), min(int(high), 0), 0) for low, high in params["padding"]]
    if any(low or high for low, high, _ in crops):
        images = jax.lax.pad(images, jnp.zeros((), images.dtype), ((0, 0, 0), *crops, (0, 0, 0)))
    padding = tuple((max(int(low), 0), max(int(high), 0)) for low, high in params["padding"])
    out = cpu.conv2d(
        images, kernel, strides=params["window_strides"][0], padding=padding,  # type: ignore[arg-type]
        groups=params["feature_group_count"],
    )  # fmt: skip
    batch, channel, *rows_columns = numbers.out_spec
    order = {batch: 0, rows_columns[0]: 1, rows_columns[1]: 2, channel: 3}
    return jnp.transpose(out, [order[axis] for axis in range(4)])
