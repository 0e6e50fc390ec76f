"""Any `logits_fn` as a list of steps that can be run forwards, and backwards by rules other than differentiation.

`trace` reads the function's jaxpr: calls are inlined, values that do not depend on the image are computed at once, and
each elementwise non-linearity (ReLU, softplus, GELU, ..., from a library or written by hand) becomes one step called
"activation". Guided backpropagation, deconvnet, LRP, Grad-CAM and the attention methods work on that list, so that the
model needs no hooks and no special layers.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jsep.checks import InputError
from jsep.jaxprs import bind_fn
from jsep.noting import need_constants
from jsep.types import Array

INLINED = {
    "jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint",
    "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin",
}  # fmt: skip
"""Calls that are inlined."""
# Calls with these names count as one operation: see `jsep.models.cpu`.
_WHOLE = {"strided_conv2d", "depthwise_conv2d"}
CUSTOM = {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"}
"""Calls with a custom derivative: kept whole if they are elementwise."""

_AFFINE = {"add", "sub", "mul", "div", "neg", "convert_element_type", "copy", "stop_gradient"}
ELEMENTWISE = _AFFINE | {
    "abs", "add_any", "and", "cbrt", "ceil", "clamp", "cos", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1",
    "floor", "ge", "gt", "integer_pow", "is_finite", "jsep_log1p", "le", "log", "log1p", "logistic", "lt",
    "max", "min", "ne", "not", "or", "pow", "round", "rsqrt", "select_n", "sign", "sin", "sqrt", "square",
    "tanh", "xor",
}  # fmt: skip
"""Elementwise primitives."""

SHAPE_STEPS = frozenset({"reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "copy"})
"""Steps that only rearrange values (a broadcast may repeat them)."""


@dataclasses.dataclass(frozen=True)
class Var:
    """A variable of the program: an intermediate value that depends on the image."""

    index: int
    shape: tuple[int, ...]
    dtype: Any

    @property
    def is_float(self) -> bool:
        return jnp.issubdtype(self.dtype, jnp.floating)


Operand = Any
"""A Var, or a constant array if the value does not depend on the image."""


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One operation of a program.

    name: that of the primitive, or "activation" for a whole elementwise non-linearity.
    operands: its inputs (Var or constant); outputs: its outputs.
    bind: operands' values -> outputs' values. params: those of the primitive.
    inside: names of all primitives in it. equation: of the jaxpr; None for a merged step, whose steps are its parts.
    """

    name: str
    operands: tuple[Operand, ...]
    outputs: tuple[Var, ...]
    bind: Callable[..., Sequence[Array]]
    params: dict[str, Any]
    inside: frozenset[str]
    equation: Any = dataclasses.field(default=None, kw_only=True)
    parts: tuple["Step", ...] = dataclasses.field(default=(), kw_only=True)

    @property
    def inputs(self) -> tuple[Var, ...]:
        """The operands that depend on the image, without duplicates."""
        return tuple(dict.fromkeys(operand for operand in self.operands if isinstance(operand, Var)))

    def __call__(self, *values: Array) -> tuple[Array, ...]:
        """Values of `inputs` -> values of `outputs`."""
        by_var = dict(zip(self.inputs, values, strict=True))
        return tuple(self.bind(*(by_var[o] if isinstance(o, Var) else o for o in self.operands)))


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """The steps from the image to the logits that depend on the image, in order."""

    input: Var
    output: Var
    steps: tuple[Step, ...]

    def run(self, values: dict[Var, Array], add: dict[Var, Array] | None = None) -> dict[Var, Array]:
        """All values computed from the given ones; an entry of `add` is added to the value of its variable."""
        values = dict(values)
        for step in self.steps:
            if all(var in values for var in step.inputs):
                outputs = step(*(values[var] for var in step.inputs))
                for var, value in zip(step.outputs, outputs, strict=True):
                    values[var] = value + add[var] if add and var in add else value
        return values

    def uses(self) -> dict[Var, int]:
        """The number of steps that read each value; being the program's output counts as one more."""
        count = {self.output: 1}
        for step in self.steps:
            for var in step.inputs:
                count[var] = count.get(var, 0) + 1
        return count


def trace(fn: Callable[[Array], Array], image: Array) -> Program:
    """The steps of `fn` for images of this shape and dtype, with elementwise non-linearities merged.

    Raises: InputError if the output does not depend on the image.
    """
    need_constants()
    closed = jax.make_jaxpr(fn)(image)
    reader = _Reader()
    start = reader.new_var(jax.ShapeDtypeStruct(jnp.shape(image), jnp.result_type(image)))
    (end,) = reader.read(closed.jaxpr, closed.consts, [start])
    if not isinstance(end, Var):
        raise InputError("the logits do not depend on the image: there is nothing to explain")
    return _merge_activations(Program(start, end, tuple(reader.steps)))


class _Reader:
    """Reads a jaxpr into steps; constants are evaluated immediately."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._num_vars = 0

    def new_var(self, aval: Any) -> Var:
        self._num_vars += 1
        return Var(self._num_vars, tuple(aval.shape), aval.dtype)

    def read(self, jaxpr: Any, consts: Sequence[Any], operands: Sequence[Operand]) -> list[Operand]:
        env: dict[Any, Operand] = dict(zip(jaxpr.constvars, consts, strict=True))
        env.update(zip(jaxpr.invars, operands, strict=True))

        def value(atom: Any) -> Operand:
            aval: Any = atom.aval
            return np.asarray(atom.val, aval.dtype) if isinstance(atom, core.Literal) else env[atom]

        for eqn in jaxpr.eqns:
            outputs = self._read_equation(eqn, [value(atom) for atom in eqn.invars])
            env.update(zip(eqn.outvars, outputs, strict=True))
        return [value(atom) for atom in jaxpr.outvars]

    def _read_equation(self, eqn: Any, operands: list[Operand]) -> Sequence[Operand]:
        name = eqn.params["name"] if eqn.params.get("name") in _WHOLE else eqn.primitive.name
        variables = [operand for operand in operands if isinstance(operand, Var)]
        if not variables:
            if any(isinstance(operand, jax.core.Tracer) for operand in operands):
                return bind_fn(eqn)(*operands)
            with jax.ensure_compile_time_eval():  # inside jit a constant would become unknown
                return bind_fn(eqn)(*operands)
        inside = frozenset(_names(eqn))
        keep_whole = (
            name in CUSTOM and inside <= ELEMENTWISE and {r.shape for r in variables} == {eqn.outvars[0].aval.shape}
        )
        if name in INLINED and not keep_whole:
            body, consts = body_of(eqn)
            return self.read(body, consts, operands)
        outputs = tuple(self.new_var(var.aval) for var in eqn.outvars)
        self.steps.append(Step(name, tuple(operands), outputs, bind_fn(eqn), dict(eqn.params), inside, equation=eqn))
        return outputs


def body_of(eqn: Any) -> tuple[Any, Sequence[Any]]:
    """(jaxpr, constants) of a call. Raises: InputError if it has none."""
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if key in eqn.params:
            body = eqn.params[key]
            return (body.jaxpr, body.consts) if hasattr(body, "consts") else (body, ())
    raise InputError(f"the call {eqn.primitive.name!r} in the model has no body that can be read: write it out")


def _names(eqn: Any) -> Iterable[str]:
    """The primitives of an equation; for an inlined call those of its body."""
    if eqn.primitive.name in INLINED:
        for inner in body_of(eqn)[0].eqns:
            yield from _names(inner)
    else:
        yield eqn.primitive.name


def is_affine(step: Step) -> bool:
    """Whether the step is elementwise and affine in its only input, which has the shape of its output."""
    if step.name not in _AFFINE or len([o for o in step.operands if isinstance(o, Var)]) != 1:
        return False
    divides_by_input = step.name == "div" and not isinstance(step.operands[0], Var)
    return not divides_by_input and step.inputs[0].shape == step.outputs[0].shape


def is_scaling(step: Step) -> bool:
    """Whether the step multiplies by one constant number."""
    constants = [operand for operand in step.operands if not isinstance(operand, Var)]
    return is_affine(step) and step.name in ("mul", "div") and all(np.size(c) == 1 for c in constants)


def _is_elementwise(step: Step) -> bool:
    shape = step.outputs[0].shape
    return step.inside <= ELEMENTWISE and all(var.shape == shape for var in step.inputs)


def _merge_activations(program: Program) -> Program:
    """Merges every elementwise region with one entry, one exit and a non-linearity into a single step."""
    # value -> the value that it is an elementwise function of.
    entry: dict[Var, Var] = {}
    regions: dict[Var, list[Step]] = {}
    for step in program.steps:
        roots = {entry.get(var, var) for var in step.inputs}
        if _is_elementwise(step) and len(roots) == 1:
            root = roots.pop()
            regions.setdefault(root, []).append(step)
            entry.update(dict.fromkeys(step.outputs, root))
    readers: dict[Var, list[Step | None]] = {program.output: [None]}
    for step in program.steps:
        for var in step.inputs:
            readers.setdefault(var, []).append(step)

    replaced: dict[Step, Step] = {}  # the last step of a region -> the merged one
    dropped: set[Step] = set()
    for steps in regions.values():
        core_steps = _peel(steps, readers)
        while steps and not core_steps:
            # A scaled copy beside the activation, as of a residual connection, hides that one value leaves the region.
            kept = [step for step in steps if not (is_affine(step) and _leaves(step, steps, readers))]
            steps = kept if len(kept) < len(steps) else []
            core_steps = _peel(steps, readers)
        if core_steps:
            replaced[core_steps[-1]] = as_one("activation", core_steps)
            dropped.update(core_steps)
    merged = [replaced.get(step, step) for step in program.steps if step in replaced or step not in dropped]
    return Program(program.input, program.output, tuple(merged))


def _leaves(step: Step, region: list[Step], readers: dict[Var, list[Step | None]]) -> bool:
    """Whether no step of the region reads the outputs of this one."""
    return not any(reader in region for var in step.outputs for reader in readers.get(var, []))


def _peel(region: list[Step], readers: dict[Var, list[Step | None]]) -> list[Step]:
    """The steps of a region without the affine ones before and after its non-linearity, which belong to layers.

    Products with one number stay: softplus(beta * x) / beta is one activation. Empty if nothing is non-linear or if
    more than one value leaves the region.
    """

    def read_once_by(first: Step, second: Step) -> bool:
        return readers.get(first.outputs[0], []) == [second]

    steps = list(region)
    # Dropped only if no later step of the region reads the value before it.
    while len(steps) > 1 and is_affine(steps[0]) and not any(steps[0].inputs[0] in s.inputs for s in steps[1:]):
        steps.pop(0)
    while steps and is_affine(steps[-1]):
        inputs = steps[-1].inputs
        if len(steps) > 1 and not (steps[-2].outputs == inputs and read_once_by(steps[-2], steps[-1])):
            break
        steps.pop()
    if not steps:
        return []
    low, high = region.index(steps[0]), region.index(steps[-1]) + 1
    while low > 0 and is_scaling(region[low - 1]):
        low -= 1
    while high < len(region) and is_scaling(region[high]):
        high += 1
    steps = region[low:high]
    inside = set(steps)
    exits = [
        var for step in steps for var in step.outputs if any(reader not in inside for reader in readers.get(var, []))
    ]
    entries = {var for step in steps for var in step.inputs} - {var for step in steps for var in step.outputs}
    return steps if exits == list(steps[-1].outputs) and len(entries) == 1 else []


def as_one(name: str, steps: Sequence[Step]) -> Step:
    """Merges steps with one input and one output overall into one step called `name`."""
    made = {var for step in steps for var in step.outputs}
    (start,) = {var for step in steps for var in step.inputs} - made

    def bind(value: Array) -> Sequence[Array]:
        values = {start: value}
        for step in steps:
            values.update(zip(step.outputs, step(*(values[var] for var in step.inputs)), strict=True))
        return [values[var] for var in steps[-1].outputs]

    inside = frozenset().union(*(step.inside for step in steps))
    return Step(name, (start,), steps[-1].outputs, bind, {}, inside, parts=tuple(steps))


BackwardRule = Callable[[Step, Sequence[Array], Sequence[Array], Sequence[Array]], Sequence[Array | None]]
"""(step, values of its inputs, values of its outputs, relevance of its outputs) -> relevance of its inputs, None for an
input treated as a constant. With `vjp_rule` the relevance is the gradient."""


def backpropagate(program: Program, values: dict[Var, Array], at_output: Array, rule: BackwardRule) -> Array:
    """A backward pass by `rule` in place of differentiation: the relevance `at_output` is propagated step by step to
    the image; relevance that reaches a variable by several paths is summed.

    Args: values: from `Program.run`; at_output: in the shape of the output. Returns: in the shape of the image.
    """
    back: dict[Var, Array] = {program.output: at_output}
    for step in reversed(program.steps):
        if not any(var in back for var in step.outputs):
            continue
        at_outputs = [back.pop(var) if var in back else jnp.zeros(var.shape, var.dtype) for var in step.outputs]
        inputs = [values[var] for var in step.inputs]
        at_inputs = rule(step, inputs, [values[var] for var in step.outputs], at_outputs)
        for var, value in zip(step.inputs, at_inputs, strict=True):
            if var.is_float and value is not None:
                back[var] = back[var] + value if var in back else value
    return back.get(program.input, jnp.zeros(program.input.shape, program.input.dtype))


def vjp_rule(step: Step, inputs: Sequence[Array], outputs: Sequence[Array], back: Sequence[Array]) -> Sequence[Array]:
    """The rule of ordinary differentiation: the vector-Jacobian product of the step."""
    floats = [i for i, var in enumerate(step.inputs) if var.is_float]
    kept = [i for i, var in enumerate(step.outputs) if var.is_float]

    def of_floats(*values: Array) -> list[Array]:
        full = list(inputs)
        for i, value in zip(floats, values, strict=True):
            full[i] = value
        out = step(*full)
        return [out[i] for i in kept]

    _, pull = jax.vjp(of_floats, *(inputs[i] for i in floats))
    found = dict(zip(floats, pull([back[i] for i in kept]), strict=True))
    return [found.get(i, inputs[i]) for i in range(len(inputs))]
