"""Convolutions and dense layers of a traced program, each with the batch normalisation and bias that follow it."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jsep.explain.program import SHAPE_STEPS, Program, Step, Var, as_one, is_affine, is_scaling
from jsep.types import Array

CONVOLUTIONS = frozenset({"conv_general_dilated", "jsep_conv2d", "strided_conv2d", "depthwise_conv2d"})
"""Primitives, and calls kept whole by `trace`, that convolve images with a kernel."""

SUMS = frozenset({"reduce_sum", "reduce_window_sum", "cumsum"})


@dataclasses.dataclass(frozen=True, eq=False)
class Layer(Step):
    """z = s (W x) + t: a product with constant weights W and the elementwise affine steps (s, t) after it.

    product: the convolution or dot product; tail: the affine and shape steps after it, in order.
    """

    product: Step
    tail: tuple[Step, ...]

    @property
    def is_convolution(self) -> bool:
        return self.product.name in CONVOLUTIONS

    def apply(self, x: Array, *, sign: int = 0, bias: bool = True) -> Array:
        """z; for `sign` 1 (-1) with only the positive (negative) parts of the folded weights s W and of the bias t."""
        if sign == 0:
            return self._through(self._product(x, lambda w: w))
        part, other = (jnp.maximum, jnp.minimum) if sign > 0 else (jnp.minimum, jnp.maximum)
        y = jax.eval_shape(lambda x: self._product(x, lambda w: w), x)
        scale = self._scale(y)
        z = self._product(x, lambda w: part(w, 0))
        if scale is not None:
            # A negative scale turns negative weights into positive ones.
            z = jnp.maximum(scale, 0) * z + jnp.minimum(scale, 0) * self._product(x, lambda w: other(w, 0))
        z = self._through(z, only_arrange=True)
        return z + part(self._through(jnp.zeros(y.shape, y.dtype)), 0) if bias else z

    def apply_ones(self, x: Array) -> Array:
        """W x with all weights set to 1, in the shape of z."""
        return self._through(self._product(x, jnp.ones_like), only_arrange=True)

    def _product(self, x: Array, change: Callable[[Array], Array]) -> Array:
        operands = [
            x if isinstance(operand, Var) else change(jnp.asarray(operand)) for operand in self.product.operands
        ]
        return self.product.bind(*operands)[0]

    def _through(self, y: Array, *, only_arrange: bool = False) -> Array:
        for step in self.tail:
            if step.name in SHAPE_STEPS or not only_arrange:
                (y,) = step(y)
        return y

    def _scale(self, y: jax.ShapeDtypeStruct) -> Array | None:
        """s as an array in the shape of W x; None if nothing scales."""
        if all(step.name in SHAPE_STEPS | {"add"} or _subtracts_constant(step) for step in self.tail):
            return None
        z, pull = jax.vjp(self._through, jnp.zeros(y.shape, y.dtype))
        return pull(jnp.ones_like(z))[0]


def _subtracts_constant(step: Step) -> bool:
    return step.name == "sub" and isinstance(step.operands[0], Var)


def _is_product(step: Step) -> bool:
    if step.name not in CONVOLUTIONS and step.name != "dot_general":
        return False
    return len([operand for operand in step.operands if isinstance(operand, Var)]) == 1


def _only_arranges(step: Step) -> bool:
    return step.name in SHAPE_STEPS and np.prod(step.inputs[0].shape) == np.prod(step.outputs[0].shape)


def join_layers(program: Program) -> Program:
    """The program with steps joined into layers.

    Each product with constant weights becomes one `Layer` together with the affine steps after it; each sum followed by
    the division that makes it a mean becomes one step called "mean".
    """
    uses = program.uses()
    reader: dict[Var, Step] = {var: step for step in program.steps for var in step.inputs}

    def follow(step: Step, goes_on: Callable[[Step], bool]) -> list[Step]:
        tail: list[Step] = []
        end = step.outputs[0]
        while uses.get(end, 0) == 1 and end in reader and goes_on(reader[end]):
            tail.append(reader[end])
            end = tail[-1].outputs[0]
        return tail

    joined: dict[Step, Step] = {}
    dropped: set[Step] = set()
    for step in program.steps:
        if _is_product(step):
            tail = follow(step, lambda s: is_affine(s) or _only_arranges(s))
            while tail and (_only_arranges(tail[-1]) or is_scaling(tail[-1])):
                tail.pop()
            one: Step = _as_layer(step, tuple(tail))
        elif step.name in SUMS:
            # A mean that keeps its axes puts them back before it divides.
            tail = follow(step, lambda s: is_scaling(s) or _only_arranges(s))
            while tail and not is_scaling(tail[-1]):
                tail.pop()
            one = as_one("mean", [step, *tail])
        else:
            continue
        joined[[step, *tail][-1]] = one
        dropped.update([step, *tail])
    steps = [joined.get(step, step) for step in program.steps if step in joined or step not in dropped]
    return Program(program.input, program.output, tuple(steps))


def _as_layer(product: Step, tail: tuple[Step, ...]) -> Layer:
    last = tail[-1] if tail else product

    def bind(x: Array) -> Sequence[Array]:
        return [layer.apply(x)]

    inside = frozenset().union(product.inside, *(step.inside for step in tail))
    layer = Layer("layer", product.inputs, last.outputs, bind, {}, inside, product, tail)
    return layer
