"""Guided backpropagation and deconvnet: the gradient, with another rule at the activations."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from jsep.checks import InputError, check_choice
from jsep.explain.entry import explanation_method, score
from jsep.explain.program import SHAPE_STEPS, Program, Step, backpropagate, is_affine, trace, vjp_rule
from jsep.types import Array, Key, LogitsFn

# What an activation that lets one side through is made of; exp, sqrt, division ... alone belong to normalisations.
_RECTIFYING = {"max", "clamp", "select_n", "erf", "erfc", "log1p"}
_SELF_GATING = {"logistic", "tanh"}
# Loops and branches hide activations from a rule that would have to change them.
_UNREADABLE = {"scan", "while", "cond", "pure_callback", "io_callback", "ffi_call"}

Backward = Callable[[Array, Array, Array, bool], Array]
"""(relevance at the output, derivative, activation of the relevance, is it a ReLU) -> relevance at the input."""


def _guided_relu(back: Array, derivative: Array, activated: Array, is_relu: bool) -> Array:
    return jnp.maximum(back, 0) * derivative


def _guided_dombrowski(back: Array, derivative: Array, activated: Array, is_relu: bool) -> Array:
    return activated * derivative


def _guided_captum(back: Array, derivative: Array, activated: Array, is_relu: bool) -> Array:
    return (jnp.maximum(back, 0) if is_relu else back) * derivative


def _deconvnet(back: Array, derivative: Array, activated: Array, is_relu: bool) -> Array:
    return jnp.maximum(back, 0)


GUIDED_VARIANTS: dict[str, Backward] = {
    "relu": _guided_relu,
    "dombrowski": _guided_dombrowski,
    "captum": _guided_captum,
}
"""variant -> what an activation hands back of the relevance that reaches it."""


@explanation_method
def guided_backprop(
    logits_fn: LogitsFn, image: Array, label: Array, *, key: Key | None = None, variant: str = "dombrowski"
) -> Array:
    """The input gradient, with only its positive part propagated back through every activation a(z).

    The gradient's rule R_in = R a'(z) becomes, by `variant`,
      "relu":       max(R, 0) a'(z), Springenberg et al.'s on a ReLU network;
      "dombrowski": a(R) a'(z), the same on a ReLU network and smooth on a softplus one;
      "captum":     "relu" at exact ReLUs and the plain gradient at every other activation, which is what captum
                    computes (its hooks see only `nn.ReLU`): on a softplus network it is the gradient.

    `logits_fn` may be any JAX function: activations are found in its jaxpr (ReLU, leaky ReLU, softplus, GELU, SiLU, ...
    of a library or written out); logistic and tanh alone are differentiated as usual.
    Args, Returns: as `gradient`. With "relu" the derivative in the image jumps where R changes its sign; "dombrowski"
    on a smooth network is smooth.
    Raises: InputError as in `score`, for an unknown variant, or a model with a loop or branch inside.
    Reference: Springenberg et al. 2015, section 3; Dombrowski et al. 2019, appendix (softplus rule).
    """
    check_choice("variant of guided backpropagation", variant, GUIDED_VARIANTS)
    return _backward(logits_fn, image, label, GUIDED_VARIANTS[variant])


@explanation_method
def deconvnet(logits_fn: LogitsFn, image: Array, label: Array, *, key: Key | None = None) -> Array:
    """The input gradient with a ReLU of the backward signal in place of every activation's derivative: R_in = max(R,
    0).

    Args, Returns, Raises: as `guided_backprop`. Reference: Zeiler and Fergus 2014, section 2.1.
    """
    return _backward(logits_fn, image, label, _deconvnet)


def _backward(logits_fn: LogitsFn, image: Array, label: Array, backward: Backward) -> Array:
    program = trace(lambda z: score(logits_fn, z, label), image)
    gated = rectifiers(program)
    values = program.run({program.input: image})

    def rule(step: Step, inputs: Sequence[Array], outputs: Sequence[Array], back: Sequence[Array]) -> Sequence[Array]:
        if step.name in _UNREADABLE:
            raise InputError(
                f"guided backpropagation cannot look into the primitive {step.name!r} for activations: "
                "write the model without it (a Python loop over the layers)"
            )
        if step not in gated:
            return vjp_rule(step, inputs, outputs, back)
        (derivative,) = vjp_rule(step, inputs, outputs, [jnp.ones_like(back[0])])
        (activated,) = step(back[0])
        return [backward(back[0], derivative, activated, step.inside <= {"max"})]

    return backpropagate(program, values, jnp.ones((), program.output.dtype), rule)


def rectifiers(program: Program) -> set[Step]:
    """The activations that pass positive inputs more than negative ones: ReLU, softplus, GELU, SiLU, ..."""
    followers: dict[int, list[Step]] = {}
    for step in program.steps:
        for var in step.inputs:
            followers.setdefault(var.index, []).append(step)

    def only_divides(step: Step) -> bool:
        """Its values end under a root: max(variance, 0) of a layer normalisation is no activation."""
        after = followers.get(step.outputs[0].index, [])
        return bool(after) and all(
            bool({"rsqrt", "sqrt"} & s.inside) or ((s.name in SHAPE_STEPS or is_affine(s)) and only_divides(s))
            for s in after
        )

    def rectifies(step: Step) -> bool:
        return bool(_RECTIFYING & step.inside) or (bool(_SELF_GATING & step.inside) and "mul" in step.inside)

    return {s for s in program.steps if s.name == "activation" and rectifies(s) and not only_divides(s)}
