"""Guided backpropagation and deconvnet: the gradient with a modified backward rule at the activations."""

import warnings
from collections.abc import Callable, Sequence

import jax.numpy as jnp

from jsep.checks import InputError, check_choice
from jsep.explain.activations import Rectifier, find_activations
from jsep.explain.entry import explanation_method, score
from jsep.explain.program import Step, backpropagate, trace, vjp_rule
from jsep.types import Array, Key, LogitsFn

# Control flow and callbacks hide activations from the backward rule.
_UNREADABLE = {"scan", "while", "cond", "pure_callback", "io_callback", "ffi_call"}

Backward = Callable[[Array, Array, Array, Rectifier], Array]
"""(relevance at the output, derivative, activation applied to the relevance, Rectifier) -> relevance at the input."""


def _guided_relu(back: Array, derivative: Array, activated: Array, kind: Rectifier) -> Array:
    return jnp.maximum(back, 0) * derivative


def _guided_dombrowski(back: Array, derivative: Array, activated: Array, kind: Rectifier) -> Array:
    return activated * derivative


def _guided_captum(back: Array, derivative: Array, activated: Array, kind: Rectifier) -> Array:
    return (jnp.maximum(back, 0) if kind.is_relu else back) * derivative


def _deconvnet(back: Array, derivative: Array, activated: Array, kind: Rectifier) -> Array:
    return kind.sign * jnp.maximum(back, 0)


GUIDED_VARIANTS: dict[str, Backward] = {
    "relu": _guided_relu,
    "dombrowski": _guided_dombrowski,
    "captum": _guided_captum,
}
"""variant -> how an activation propagates relevance backwards."""


@explanation_method
def guided_backprop(
    logits_fn: LogitsFn, image: Array, label: Array, *, key: Key | None = None, variant: str = "dombrowski"
) -> Array:
    """The input gradient, with only its positive part propagated back through every activation a(z).

    The gradient's rule R_in = R a'(z) is replaced, by `variant`, with
      "relu":       max(R, 0) a'(z), the rule of Springenberg et al. on a ReLU network;
      "dombrowski": a(R) a'(z), equal to "relu" on a ReLU network and smooth on a softplus one;
      "captum":     "relu" at exact ReLUs and the plain gradient at every other activation, as captum computes it (its
                    hooks see only `nn.ReLU`): on a softplus network it is the gradient.

    `logits_fn` may be any JAX function: activations are found in its jaxpr by their values, however they are written:
    an elementwise function that passes one side of its input more than the other (ReLU, leaky ReLU, softplus, GELU,
    SiLU, ELU, ...). Monotone functions alike on both sides (logistic, tanh) are differentiated as usual, and so are all
    others (|x|, sin x), with a warning that names them.
    Args, Returns: as `gradient`. With "relu" the derivative in the image jumps where R changes its sign; "dombrowski"
    on a smooth network is smooth.
    Raises: InputError as in `score`, for an unknown variant, or a model that contains a loop or branch.
    Reference: Springenberg et al. 2015, section 3; Dombrowski et al. 2019, appendix (softplus rule).
    """
    check_choice("variant of guided backpropagation", variant, GUIDED_VARIANTS)
    return _backward(logits_fn, image, label, GUIDED_VARIANTS[variant])


@explanation_method
def deconvnet(logits_fn: LogitsFn, image: Array, label: Array, *, key: Key | None = None) -> Array:
    """The input gradient with a ReLU of the backward signal in place of each activation's derivative: R_in = max(R, 0).

    Args, Returns, Raises: as `guided_backprop`. Reference: Zeiler and Fergus 2014, section 2.1.
    """
    return _backward(logits_fn, image, label, _deconvnet)


def _backward(logits_fn: LogitsFn, image: Array, label: Array, backward: Backward) -> Array:
    program = trace(lambda z: score(logits_fn, z, label), image)
    activations = find_activations(program)
    gated = activations.rectifiers
    if activations.unrecognised:
        names = sorted({"+".join(sorted(step.inside)) for step in activations.unrecognised})
        warnings.warn(
            f"the model has elementwise non-linearities that pass no side more than the other ({', '.join(names)}): "
            "guided backpropagation and deconvnet take their plain derivative",
            stacklevel=4,
        )
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
        return [backward(back[0], derivative, activated, gated[step])]

    return backpropagate(program, values, jnp.ones((), program.output.dtype), rule)
