"""Activations of a traced model, recognised by their values rather than by name."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from jsep.explain.program import ELEMENTWISE, INLINED, SHAPE_STEPS, Program, Step, Var, body_of, is_affine

_SIZES = (1 / 16, 1 / 4, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
"""Distances from 0 at which an elementwise function is evaluated, on both sides."""

_TRACED = 0.3  # in place of a traced parameter, such as the slope of a leaky ReLU or a softplus beta
_LESS = 0.9  # upper limit on the mean slope of the weaker side over that of the stronger one
_BELOW = -0.3  # lower limit on the same ratio: SiLU and GELU decrease a little before they vanish
_GROWTH = 20.0  # limit on the growth of the mean slope over a fourfold distance: exp grows faster, x^2 fourfold


@dataclasses.dataclass(frozen=True)
class Rectifier:
    """An activation that passes one side of its input more than the other: ReLU, softplus, GELU, SiLU, ELU, ...

    sign: -1 if it passes the negative side, as max(-x, 0) does, else 1; is_relu: whether it is exactly max(x, 0).
    """

    sign: int
    is_relu: bool


@dataclasses.dataclass(frozen=True)
class Activations:
    """The elementwise non-linearities of a model.

    rectifiers: step -> Rectifier; unrecognised: those that are neither rectifiers nor monotone and alike on both sides
    (tanh, logistic), such as |x| or sin(x); guided backpropagation has no rule for them.
    """

    rectifiers: dict[Step, Rectifier]
    unrecognised: tuple[Step, ...]


def find_activations(program: Program) -> Activations:
    """The activations of a program; normalising functions (a variance before its root, a softmax) do not count."""
    followers: dict[Var, list[Step]] = {}
    for step in program.steps:
        for var in step.inputs:
            followers.setdefault(var, []).append(step)
    found: dict[Step, Rectifier] = {}
    unrecognised = []
    for step in program.steps:
        if not _is_candidate(step) or _ends_in(step, followers, ("rsqrt", "sqrt")):
            continue
        values = _values(step)
        rectifier = None if values is None else _as_rectifier(values)
        if rectifier is not None:
            found[step] = rectifier
        elif (values is None or not _is_monotone(values)) and not _ends_in(step, followers, _SUMS):
            unrecognised.append(step)
    return Activations(found, tuple(unrecognised))


def _is_candidate(step: Step) -> bool:
    """A non-linear elementwise function of one floating-point value."""
    if len(step.inputs) != 1 or len(step.outputs) != 1 or is_affine(step):
        return False
    (source,), (result,) = step.inputs, step.outputs
    is_elementwise = step.inside <= ELEMENTWISE and source.shape == result.shape
    return is_elementwise and source.is_float and result.is_float


_SUMS = ("reduce_sum", "rsqrt", "sqrt")


def _ends_in(step: Step, followers: dict[Var, list[Step]], ends_of: tuple[str, ...]) -> bool:
    """Whether every path from its output reaches one of `ends_of` through elementwise and shape steps."""

    def ends(after: Step) -> bool:
        if set(ends_of) & after.inside:
            return True
        return (after.name in SHAPE_STEPS or after.inside <= ELEMENTWISE) and _ends_in(after, followers, ends_of)

    after = followers.get(step.outputs[0], [])
    return bool(after) and all(ends(each) for each in after)


def _values(step: Step) -> np.ndarray | None:
    """The function at -1024 .. 0 .. 1024, float64; None if it cannot be evaluated."""
    points = np.array([*(-size for size in reversed(_SIZES)), 0.0, *_SIZES])
    start = step.inputs[0]
    try:
        with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
            env: dict[Var, Any] = {start: points.astype(start.dtype)}
            for part in step.parts or (step,):
                operands = [env[o] if isinstance(o, Var) else _alike(o, len(points)) for o in part.operands]
                env.update(zip(part.outputs, _bind(part.equation, operands), strict=True))
            return np.asarray(env[step.outputs[0]], np.float64)
    except Exception:  # primitives of other libraries may raise anything at shapes other than traced
        return None


def _alike(constant: Any, length: int) -> Any:
    """One entry of a constant, repeated; `_TRACED` in place of a traced one."""
    dtype = np.result_type(constant)
    if isinstance(constant, jax.core.Tracer):
        return np.full(length, _TRACED, dtype)
    return np.full(length, np.ravel(np.asarray(constant))[0], dtype)


def _bind(equation: Any, operands: Sequence[Any]) -> Sequence[Any]:
    """Evaluates an elementwise equation at values of another shape than it was traced with."""
    if equation.primitive.name not in INLINED:
        found = equation.primitive.bind(*operands, **equation.params)
        return found if equation.primitive.multiple_results else [found]
    jaxpr, consts = body_of(equation)
    length = max(len(operand) for operand in operands)
    env = dict(zip(jaxpr.constvars, (_alike(const, length) for const in consts), strict=True))
    env.update(zip(jaxpr.invars, operands, strict=True))

    def value(atom: Any) -> Any:
        aval: Any = atom.aval
        return _alike(np.asarray(atom.val, aval.dtype), length) if isinstance(atom, core.Literal) else env[atom]

    for inner in jaxpr.eqns:
        env.update(zip(inner.outvars, _bind(inner, [value(atom) for atom in inner.invars]), strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _finite_sides(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(distances, mean slopes from 0 to each of them, mean slopes from minus each to 0), as far as both are finite."""
    middle = len(_SIZES)
    above, below = values[middle + 1 :], values[:middle][::-1]
    usable = np.cumprod(np.isfinite(above) & np.isfinite(below) & np.isfinite(values[middle])).astype(bool)
    sizes = np.array(_SIZES)[usable]
    return sizes, (above[usable] - values[middle]) / sizes, (values[middle] - below[usable]) / sizes


def _as_rectifier(values: np.ndarray) -> Rectifier | None:
    sizes, above, below = _finite_sides(values)
    if len(sizes) == 0:
        return None
    for sign, strong, weak in ((1, above, below), (-1, -below, -above)):
        grows = np.any(np.abs(strong[1:]) > _GROWTH * np.abs(strong[:-1])) if len(strong) > 1 else False
        one_sided = (strong > 0) & (weak < _LESS * strong) & (weak >= _BELOW * strong)
        # A decreasing function is tested as the reflected rectifier, with opposite slopes.
        if not grows and np.any(one_sided) and np.all(weak >= _BELOW * np.abs(strong) - 1e-6):
            points = np.concatenate([-sizes[::-1], [0.0], sizes])
            middle = len(_SIZES)
            known = values[middle - len(sizes) : middle + len(sizes) + 1]
            return Rectifier(sign, bool(np.allclose(known, np.maximum(points, 0), rtol=1e-6, atol=0)))
    return None


def _is_monotone(values: np.ndarray) -> bool:
    """Whether the finite values are monotone; a root or a logarithm is finite on one side only."""
    steps = np.diff(values[np.isfinite(values)])
    return bool(np.all(steps >= 0) or np.all(steps <= 0))
