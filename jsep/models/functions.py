"""Functions of one image, or of a batch, from a network."""

import functools
import math
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep.checks import InputError
from jsep.memory import check_memory
from jsep.models.functional import Functional, Network
from jsep.models.layers import Classifier
from jsep.types import Array, Key, LogitsFn, ModelFn, PyTree


def init(key: Key, model: Network, input_shape: tuple[int, int, int]) -> PyTree:
    """Initial variables {"params": ..., "batch_stats": ...} in float32; without "batch_stats" if the model has none.

    Jitted, because op-by-op initialisation of a deep network compiles hundreds of small programs.
    """
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise InputError(f"input_shape must be (H, W, C), got {input_shape}")
    input_shape = tuple(input_shape)  # type: ignore[assignment]
    shapes = jax.eval_shape(functools.partial(_init, model=model, input_shape=input_shape), key)
    check_memory("the parameters of the model", sum(math.prod(each.shape) * 4.0 for each in jax.tree.leaves(shapes)))
    return _init(key, model, input_shape)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _init(key: Key, model: Network, input_shape: tuple[int, int, int]) -> PyTree:
    if isinstance(model, Functional):
        return model.variables(key, input_shape)
    variables = model.init(key, jnp.zeros((1, *input_shape)))
    return {name: variables[name] for name in ("params", "batch_stats") if name in variables}


def _one_image(model: Network, variables: PyTree, image: Array, softplus_beta: Any = None) -> Array:
    if isinstance(model, Functional):
        if softplus_beta is not None:
            raise InputError(f"{model} has no softplus_beta: attack it without beta growth")
        return model.outputs(variables, image[None], train=False)[0][0]
    if softplus_beta is not None:
        model = model.clone(softplus_beta=softplus_beta)
    return model.apply(variables, image[None])[0]


@functools.cache
def model_fn(model: Network) -> ModelFn:
    """(variables, image (H, W, C)) -> logits (K,), batch normalisation in evaluation mode.

    The variables are an argument, so that jitted callers do not embed them as constants; equal models return the same
    function object, so that jit caches hit. An optional third argument `softplus_beta` replaces the model's own (for
    attacks with beta growth).
    """
    return functools.partial(_one_image, model)


def logits_fn(model: Network, variables: PyTree) -> LogitsFn:
    """image (H, W, C) -> logits (K,), batch normalisation in evaluation mode."""
    return functools.partial(model_fn(model), variables)


def split_variables(logits_fn: LogitsFn) -> tuple[ModelFn, PyTree]:
    """(model_fn, variables) of a logits_fn made by `wrap` or `logits_fn`, with model_fn(variables, image) -> logits.

    With these the variables are arguments of compiled programs instead of constants in them. Any other function has no
    variables: ((None, image) -> logits, None), equal for the same function.
    """
    if isinstance(logits_fn, functools.partial) and len(logits_fn.args) == 1 and not logits_fn.keywords:
        is_static = isinstance(logits_fn.func, Hashable)  # as a static argument of jax.jit
        leaves = jax.tree.leaves(logits_fn.args[0])
        if is_static and leaves and all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves):
            return logits_fn.func, logits_fn.args[0]
    return _WithoutVariables(logits_fn), None


class _WithoutVariables:
    """A logits_fn as (variables, image) -> logits; equal for the identical function, so that jit caches hit."""

    def __init__(self, logits_fn: LogitsFn) -> None:
        self._logits_fn = logits_fn

    def __call__(self, variables: PyTree, image: Array) -> Array:
        return self._logits_fn(image)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _WithoutVariables) and self._logits_fn is other._logits_fn

    def __hash__(self) -> int:
        return id(self._logits_fn)


@functools.cache
def batch_fn(model: Network) -> Callable[..., tuple[Array, PyTree]]:
    """(variables, images (B, H, W, C), train=) -> (logits (B, K), batch statistics, updated if `train`; {} if none)."""

    if isinstance(model, Functional):
        return model.outputs

    def apply(variables: PyTree, images: Array, *, train: bool) -> tuple[Array, PyTree]:
        output, updated = model.apply(variables, images, train=train, mutable=["batch_stats"] if train else [])
        return output, updated.get("batch_stats", variables.get("batch_stats", {}))

    return apply


@functools.cache
def features_fn(model: Classifier) -> ModelFn:
    """(variables, image (H, W, C)) -> penultimate features (F,), the input of the linear head."""

    def features(variables: PyTree, image: Array) -> Array:
        _, kept = model.apply(variables, image[None], mutable=["intermediates"])
        return kept["intermediates"]["features"][0][0]

    return features


@functools.cache
def attention_fn(model: Classifier) -> ModelFn:
    """(variables, image (H, W, C)) -> attention maps (L layers, heads, T, T) of a vision transformer; rows sum to 1.

    Raises: InputError for a model without attention.
    """

    def attention(variables: PyTree, image: Array) -> Array:
        _, kept = model.apply(variables, image[None], mutable=["intermediates"])
        if "attention" not in kept["intermediates"]:
            raise InputError(f"{type(model).__name__} has no attention maps; vit_tiny has")
        return jnp.stack([maps[0] for maps in kept["intermediates"]["attention"]])

    return attention
