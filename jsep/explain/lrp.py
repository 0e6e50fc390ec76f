"""Layer-wise relevance propagation on any JAX function."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from jsep.checks import InputError, check_choice, check_positive
from jsep.explain.attention import softmax_outputs
from jsep.explain.entry import explanation_method, score
from jsep.explain.layers import Layer, join_layers
from jsep.explain.program import (
    CUSTOM,
    SHAPE_STEPS,
    BackwardRule,
    Program,
    Step,
    Var,
    backpropagate,
    is_affine,
    trace,
    vjp_rule,
)
from jsep.types import Array, Key, LogitsFn

LRP_COMPOSITES: dict[str, tuple[str, str, str]] = {
    "epsilon": ("epsilon", "epsilon", "epsilon"),
    "gamma": ("gamma", "gamma", "gamma"),
    "z_plus": ("z_plus", "z_plus", "z_plus"),
    "epsilon_plus_flat": ("flat", "z_plus", "epsilon"),
    "epsilon_gamma": ("epsilon", "gamma", "epsilon"),
}
"""name -> rules of the first convolution or dense layer, of the other convolutions, and of the other dense layers."""


@dataclasses.dataclass(frozen=True)
class LrpConfig:
    """The propagation rule of each layer.

    composite: a key of `LRP_COMPOSITES`; epsilon: the stabiliser, added to every denominator with the denominator's
    sign, > 0; gamma: weight of the positive parts in the gamma rule, > 0.
    """

    composite: str = "epsilon"
    epsilon: float = 1e-6
    gamma: float = 0.25

    def __post_init__(self) -> None:
        check_choice("LRP composite", self.composite, LRP_COMPOSITES)
        check_positive("epsilon", self.epsilon)
        check_positive("gamma", self.gamma)


@explanation_method
def lrp(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    *,
    key: Key | None = None,
    composite: str = "epsilon",
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    rules: Mapping[str, BackwardRule] | None = None,
) -> Array:
    """Layer-wise relevance propagation: the logit of `label`, redistributed layer by layer to the pixels.

    A layer z = W x + b passes relevance to its inputs in proportion to their contributions, R_i = x_i sum_j w_ij R_j /
    z_j, modified by the rule:
      "epsilon": z_j + epsilon sign(z_j) as the denominator;
      "gamma":   W + gamma max(W, 0) in place of W (min for negative inputs, and both exchanged where z_j < 0);
      "z_plus":  only positive products x_i w_ij and positive biases, in numerator and denominator;
      "flat":    the same relevance for every input in the receptive field.
    Batch normalisation is folded into the layer before it. Relevance passes unchanged through activations and through
    elementwise scaling or shifts, goes to the maximum in max-pooling, and is split in proportion to the terms of a sum.
    In transformers attention maps count as constant weights (rule "epsilon"), and so does the divisor of a layer
    normalisation: relevance goes to the values, not to queries and keys.

    Args:
      logits_fn: any JAX function of one image; the layers are found in its jaxpr.
      image, label, key: as `gradient`.
      composite: a key of `LRP_COMPOSITES`, which gives the rule of each layer.
      epsilon, gamma: as in `LrpConfig`.
      rules: primitive name -> `explain.program.BackwardRule` (step, values of its inputs, values of its outputs,
        relevance of its outputs) -> relevance of its inputs; they replace or extend the built-in ones.

    Returns: (H, W, C), signed, in logits. Its sum is the logit minus the part absorbed by biases ("epsilon", "gamma",
      as epsilon -> 0), and exactly the logit without biases. Differentiable in the image and the parameters.
    Raises: InputError as in `score`, for a softmax or log-softmax of the logits, or for a primitive without a rule
      (named in the message).
    Reference: Bach et al. 2015; Montavon et al. 2019, section 10.2 (rules); Kohlbrenner et al. 2020 (composites); Ali
      et al. 2022, section 4 (transformers).
    """
    config = LrpConfig(composite, epsilon, gamma)
    traced = trace(lambda z: score(logits_fn, z, label), image)
    _check_no_softmax_head(traced)
    program, weights = join_layers(traced), _weighting_variables(traced)
    values = program.run({program.input: image})
    layers = [step for step in program.steps if isinstance(step, Layer)]
    first, convolution, dense = LRP_COMPOSITES[config.composite]
    own_rules = dict(rules or {})

    def rule(
        step: Step, inputs: Sequence[Array], outputs: Sequence[Array], back: Sequence[Array]
    ) -> Sequence[Array | None]:
        if step.name in own_rules:
            return own_rules[step.name](step, inputs, outputs, back)
        if isinstance(step, Layer):
            name = first if step is layers[0] else convolution if step.is_convolution else dense
            return [_LAYER_RULES[name](step, inputs[0], back[0], config)]
        if step.name in _PRODUCTS and len(step.inputs) == 2:
            is_weight = [weights.get(var, math.inf) < math.prod(step.outputs[0].shape) for var in step.inputs]
            if sum(is_weight) == 1 and not (step.name == "div" and is_weight[0]):
                return _weighted_values(step, inputs, back[0], is_weight.index(False), config)
        if step.name in _RULES:
            return _RULES[step.name](step, inputs, outputs, back, config)
        # Several activations of one value are steps of their own, not joined into one called "activation".
        if is_affine(step) or step.name == "activation" or (step.name in CUSTOM and len(step.inputs) == 1):
            return [back[0].astype(inputs[0].dtype)]
        raise InputError(
            f"LRP has no rule for the primitive {step.name!r} of {len(step.inputs)} values that depend on the image: "
            f"pass rules={{{step.name!r}: rule}} with rule(step, inputs, outputs, relevances) -> relevances of inputs"
        )

    return backpropagate(program, values, values[program.output], rule)


def _check_no_softmax_head(program: Program) -> None:
    """Raises InputError for logits that are a softmax, or computed with a logarithm of a sum of exponentials.

    Every rule would pass part of the relevance to the normalising sum, where it would be lost.
    """
    made_by = {var: step for step in program.steps for var in step.outputs}

    def behind(var: Var) -> Step | None:
        """The step that made the value, skipping steps that reshape it or combine it with constants only."""
        step = made_by.get(var)
        while step is not None and (step.name in _ARRANGING or is_affine(step)):
            step = made_by.get(step.inputs[0])
        return step

    softmaxes = set(softmax_outputs(program))

    def is_softmax(step: Step | None) -> bool:
        return step is not None and bool(softmaxes & set(step.outputs))

    def sums_exponentials(step: Step | None) -> bool:
        if step is None or step.name != "reduce_sum":
            return is_softmax(step)
        source = behind(step.inputs[0])
        return source is not None and bool(source.inside & {"exp", "exp2"})

    is_head = is_softmax(behind(program.output))
    if is_head or any(step.inside & {"log"} and sums_exponentials(behind(step.inputs[0])) for step in program.steps):
        raise InputError(
            "LRP redistributes logits, and has no rule for a softmax or log-softmax (a logarithm of a sum of "
            "exponentials) of them: take it out of the model"
        )


_ARRANGING = SHAPE_STEPS | {"slice", "dynamic_slice", "gather"}

_PRODUCTS = ("dot_general", "mul", "div")


def _weighting_variables(program: Program) -> dict[Var, float]:
    """Attention maps, roots, and variables computed from these alone -> the size of the array under the root (0 for
    attention maps). It tells roots of variances, constant weights, from activations, as large as what they multiply."""
    found = dict.fromkeys(softmax_outputs(program), 0.0)
    for step in program.steps:
        if all(var in found for var in step.inputs):
            found.update(dict.fromkeys(step.outputs, max(found[var] for var in step.inputs)))
        elif step.inside & {"rsqrt", "sqrt"}:
            found.update(dict.fromkeys(step.outputs, float(math.prod(step.inputs[0].shape))))
    return found


def _weighted_values(
    step: Step, inputs: Sequence[Array], relevance: Array, which: int, config: LrpConfig
) -> Sequence[Array | None]:
    """The product of values (input `which`) and weights: all relevance goes to the values."""

    def apply(x: Array) -> Array:
        return step(*(x if i == which else weight for i, weight in enumerate(inputs)))[0]

    if step.name == "dot_general":
        z, pull = jax.vjp(apply, inputs[which])
        passed = inputs[which] * pull(relevance / _stabilised(z, config.epsilon))[0]
    else:
        passed = relevance  # elementwise scaling
    return [passed.astype(x.dtype) if i == which else None for i, x in enumerate(inputs)]


def _stabilised(z: Array, epsilon: float) -> Array:
    return z + jnp.where(z < 0, -epsilon, epsilon).astype(z.dtype)


def _epsilon_rule(layer: Layer, x: Array, relevance: Array, config: LrpConfig) -> Array:
    z, pull = jax.vjp(layer.apply, x)
    return x * pull(relevance / _stabilised(z, config.epsilon))[0]


def _gamma_rule(layer: Layer, x: Array, relevance: Array, config: LrpConfig) -> Array:
    positive, negative = jnp.maximum(x, 0), jnp.minimum(x, 0)

    def above(x: Array) -> Array:
        return layer.apply(x) + config.gamma * layer.apply(x, sign=1)

    def below(x: Array) -> Array:
        return layer.apply(x) + config.gamma * layer.apply(x, sign=-1)

    def without_bias(fn: Callable[[Array], Array], x: Array) -> Array:
        return fn(x) - fn(jnp.zeros_like(x))

    def share(first: Callable[[Array], Array], second: Callable[[Array], Array], where: Array) -> Array:
        z = first(positive) + without_bias(second, negative)
        part = jnp.where(where, relevance, 0) / _stabilised(z, config.epsilon)
        return positive * jax.vjp(first, positive)[1](part)[0] + negative * jax.vjp(second, negative)[1](part)[0]

    z = layer.apply(x)
    return share(above, below, z > 0) + share(below, above, z < 0)


def _z_plus_rule(layer: Layer, x: Array, relevance: Array, config: LrpConfig) -> Array:
    positive, negative = jnp.maximum(x, 0), jnp.minimum(x, 0)
    z_first, pull_first = jax.vjp(lambda x: layer.apply(x, sign=1), positive)
    z_second, pull_second = jax.vjp(lambda x: layer.apply(x, sign=-1, bias=False), negative)
    part = relevance / _stabilised(z_first + z_second, config.epsilon)
    return positive * pull_first(part)[0] + negative * pull_second(part)[0]


def _flat_rule(layer: Layer, x: Array, relevance: Array, config: LrpConfig) -> Array:
    reach, pull = jax.vjp(layer.apply_ones, jnp.ones_like(x))
    return pull(relevance / _stabilised(reach, config.epsilon))[0]


_LAYER_RULES = {"epsilon": _epsilon_rule, "gamma": _gamma_rule, "z_plus": _z_plus_rule, "flat": _flat_rule}


def _arrange(step: Step, inputs: Sequence[Array], outputs: Sequence[Array], back: Sequence[Array], config: LrpConfig):
    """Relevance goes to the entry that the value came from: reshapes, slices, maxima."""
    return vjp_rule(step, inputs, outputs, back)


def _in_proportion(
    step: Step, inputs: Sequence[Array], outputs: Sequence[Array], back: Sequence[Array], config: LrpConfig
) -> Sequence[Array]:
    """Sums of values: every term gets relevance in proportion to its value."""
    parts = vjp_rule(step, inputs, outputs, [back[0] / _stabilised(outputs[0], config.epsilon)])
    return [x * part for x, part in zip(inputs, parts, strict=True)]


def _add(step: Step, inputs: Sequence[Array], outputs: Sequence[Array], back: Sequence[Array], config: LrpConfig):
    return [back[0].astype(inputs[0].dtype)] if is_affine(step) else _in_proportion(step, inputs, outputs, back, config)


_RULES = {
    **dict.fromkeys(
        (*SHAPE_STEPS, "slice", "dynamic_slice", "concatenate", "pad", "rev", "gather", "select_and_gather_add",
         "reduce_max", "reduce_window_max", "split", "stack", "unstack"),
        _arrange,
    ),
    "mean": _in_proportion,
    **dict.fromkeys(("add", "sub", "add_any"), _add),
}  # fmt: skip
