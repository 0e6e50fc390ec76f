"""Explanations of vision transformers by their attention maps, which are found in any JAX model."""

import math

import jax
import jax.numpy as jnp

from jsep.checks import InputError
from jsep.explain.entry import explanation_method, score
from jsep.explain.program import SHAPE_STEPS, Program, Step, Var, trace
from jsep.types import Array, Key, LogitsFn


def softmax_outputs(program: Program) -> list[Var]:
    """The outputs of softmaxes, exp(a) / sum(exp(a)), in order."""
    made_by: dict[Var, Step] = {var: step for step in program.steps for var in step.outputs}

    def source(var: Var) -> Var:
        """The variable before reshapes, broadcasts and changes of dtype (softmaxes of half precision have them)."""
        while var in made_by and made_by[var].name in SHAPE_STEPS | {"convert_element_type"}:
            var = made_by[var].inputs[0]
        return var

    def is_sum_of(var: Var, exponential: Var) -> bool:
        step = made_by.get(source(var))
        return step is not None and step.name == "reduce_sum" and source(step.inputs[0]) == exponential

    found = []
    for step in program.steps:
        if step.name != "div" or len(step.inputs) != 2:
            continue
        above, below = step.inputs
        is_exponential = above in made_by and made_by[above].inside <= {"exp"}
        if is_exponential and is_sum_of(below, above):
            found.append(step.outputs[0])
    return found


def _attention_outputs(program: Program) -> list[Var]:
    """The softmaxes over keys, of shape (..., T, T), in order."""
    found = [var for var in softmax_outputs(program) if len(var.shape) >= 2 and var.shape[-1] == var.shape[-2] > 1]
    if not found:
        raise InputError(
            "the model has no attention maps (a softmax over T keys for T queries): attention methods explain vision "
            "transformers; use gradient_x_input, guided_backprop or lrp_epsilon here"
        )
    return found


def attention_maps(logits_fn: LogitsFn, image: Array) -> list[Array]:
    """The attention maps of every layer, (heads, T, T) each, rows summing to 1.

    Raises: InputError for a model without attention.
    """
    image = jnp.asarray(image)
    program = trace(logits_fn, image)
    values = program.run({program.input: image})
    return [_by_head(values[var]) for var in _attention_outputs(program)]


def _by_head(attention: Array) -> Array:
    return attention.reshape(-1, *attention.shape[-2:])


def _as_image(relevance: Array, shape: tuple[int, ...]) -> Array:
    """Relevance (T, T) of tokens for tokens -> (H, W, 1): the class token's row, without one the mean of all rows."""
    num_tokens = len(relevance)
    height, width, _ = shape
    for has_class_token in (False, True):
        num_patches = num_tokens - has_class_token
        rows = math.isqrt(num_patches * height // width)
        if rows > 0 and num_patches % rows == 0 and rows * width == num_patches // rows * height:
            row = relevance[0, 1:] if has_class_token else jnp.mean(relevance, axis=0)
            low = row.reshape(rows, -1, 1)
            return jax.image.resize(low, (height, width, 1), "bilinear").astype(relevance.dtype)
    raise InputError(
        f"attention over {num_tokens} tokens is no grid of patches, with or without one class token before it, "
        f"of an image of {height}x{width}"
    )


@explanation_method
def attention_rollout(logits_fn: LogitsFn, image: Array, label: Array, *, key: Key | None = None) -> Array:
    """Attention rollout: the product over layers of A' = (A + I) / 2, A the mean attention of the heads.

    It does not depend on the label.
    Args: logits_fn: any JAX vision transformer (attention maps are found in its jaxpr); image, label, key: as
      `gradient`.
    Returns: (H, W, 1), non-negative, of the class token (or the mean token), enlarged bilinearly from the patches;
      differentiable in the image and the parameters.
    Raises: InputError as in `score`, or for a model without attention.
    Reference: Abnar and Zuidema 2020, section 3.
    """
    score(logits_fn, image, label)
    maps = attention_maps(logits_fn, image)
    rollout = jnp.eye(maps[0].shape[-1], dtype=maps[0].dtype)
    for attention in maps:
        rollout = (jnp.mean(attention, axis=0) + jnp.eye(len(rollout), dtype=rollout.dtype)) / 2 @ rollout
    return _as_image(rollout, jnp.shape(image))


@explanation_method
def attention_relevance(logits_fn: LogitsFn, image: Array, label: Array, *, key: Key | None = None) -> Array:
    """Gradient-weighted attention relevance: R <- R + mean_h(max(dA * A, 0)) R over the layers, from R = I.

    dA is the gradient of the logit of `label` in the attention map A.
    Args, Returns, Raises: as `attention_rollout`, and it depends on the label.
    Reference: Chefer et al. 2021 (generic attention explainability), equations 5 and 6.
    """
    image = jnp.asarray(image)
    program = trace(lambda z: score(logits_fn, z, label), image)
    variables = _attention_outputs(program)

    def of_offsets(offsets: list[Array]) -> tuple[Array, list[Array]]:
        values = program.run({program.input: image}, add=dict(zip(variables, offsets, strict=True)))
        return values[program.output], [values[var] for var in variables]

    zeros = [jnp.zeros(var.shape, var.dtype) for var in variables]
    gradients, maps = jax.grad(of_offsets, has_aux=True)(zeros)
    relevance = jnp.eye(variables[0].shape[-1], dtype=variables[0].dtype)
    for attention, gradient in zip(maps, gradients, strict=True):
        weighted = jnp.mean(_by_head(jnp.maximum(gradient * attention, 0)), axis=0)
        relevance = relevance + weighted @ relevance
    return _as_image(relevance, image.shape)
