"""Flax classifiers of (B, H, W, C) images in [0, 1], and functions of one image made from them.

A new model is one file with a `Classifier` and one line in `MODELS`. The rest of the library does not depend on Flax:
any function image -> logits (Equinox, Haiku, hand-written) can replace `logits_fn(model, variables)`;
`from_batch_fn` makes one from a function of batches.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jsep.arguments import explain_failures
from jsep.checks import InputError, check_choice, check_count, check_positive
from jsep.memory import check_memory
from jsep.models.adapters import from_batch_fn
from jsep.models.convnet import ConvNet
from jsep.models.layers import ACTIVATIONS, BATCH_NORM_MOMENTUM, Classifier
from jsep.models.mobilenet import MobileNetV2
from jsep.models.resnet import ResNet
from jsep.models.torch_weights import import_torch
from jsep.models.vit import ViT
from jsep.models.weights import load_weights, save_weights
from jsep.models.wide_resnet import WideResNet
from jsep.types import Array, Key, LogitsFn, ModelFn, PyTree

__all__ = [
    "ACTIVATIONS",
    "BATCH_NORM_MOMENTUM",
    "MODELS",
    "Classifier",
    "ConvNet",
    "MobileNetV2",
    "ResNet",
    "ViT",
    "WideResNet",
    "attention_fn",
    "batch_fn",
    "create",
    "features_fn",
    "from_batch_fn",
    "import_torch",
    "init",
    "load_weights",
    "logits_fn",
    "model_fn",
    "save_weights",
    "with_activation",
]

MODELS: dict[str, Callable[..., Classifier]] = {
    "convnet": ConvNet,
    "resnet18": functools.partial(ResNet, stage_sizes=(2, 2, 2, 2)),
    "wrn_16_2": functools.partial(WideResNet, depth=16, widen=2),
    "wrn_28_10": functools.partial(WideResNet, depth=28, widen=10),
    "wrn_34_10": functools.partial(WideResNet, depth=34, widen=10),
    "mobilenet_v2": MobileNetV2,
    "vit_micro": functools.partial(ViT, width=64, depth=4, num_heads=2),
    "vit_tiny": ViT,
}
"""name -> constructor taking the fields of `Classifier`."""


def create(
    name: str,
    *,
    num_classes: int,
    input_shape: tuple[int, int, int],
    activation: str = "softplus",
    softplus_beta: float = 10.0,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Classifier:
    """A Flax classifier of (B, H, W, C) images, without parameters (see `init`).

    Args:
      name: a key of `MODELS`.
      num_classes: K.
      input_shape: (H, W, C) of one image; only used to check `mean` and `std`.
      activation: "softplus" (the paper's, twice differentiable), "relu" or "gelu" (exact).
      softplus_beta: sharpness of the softplus, > 0.
      mean, std: per-channel input normalisation inside the model; None for no normalisation.

    Raises: InputError for an unknown model or activation, or an invalid count or shape.
    """
    check_choice("model", name, MODELS)
    check_choice("activation", activation, ACTIVATIONS)
    check_count("num_classes", num_classes, minimum=2)
    check_positive("softplus_beta", softplus_beta)
    if len(input_shape) != 3:
        raise InputError(f"input_shape must be (H, W, C) of one image, got {input_shape}")
    for what, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != input_shape[-1]:
            raise InputError(f"{what} needs one value for each of the {input_shape[-1]} channels, got {values}")
    return MODELS[name](
        num_classes=num_classes,
        activation=activation,
        softplus_beta=softplus_beta,
        mean=tuple(mean) if mean is not None else (0.0,),
        std=tuple(std) if std is not None else (1.0,),
    )


def with_activation(model: Classifier, activation: str, *, softplus_beta: float | None = None) -> Classifier:
    """The same model with another activation; it takes the same variables, without retraining.

    Args: activation: one of `ACTIVATIONS`; softplus_beta: sharpness of the softplus, > 0; None keeps the model's.
    Raises: InputError for an unknown activation or a sharpness <= 0.
    """
    check_choice("activation", activation, ACTIVATIONS)
    beta = model.softplus_beta if softplus_beta is None else softplus_beta
    check_positive("softplus_beta", beta)
    return model.clone(activation=activation, softplus_beta=beta)


def init(key: Key, model: Classifier, input_shape: tuple[int, int, int]) -> PyTree:
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
def _init(key: Key, model: Classifier, input_shape: tuple[int, int, int]) -> PyTree:
    variables = model.init(key, jnp.zeros((1, *input_shape)))
    return {name: variables[name] for name in ("params", "batch_stats") if name in variables}


def _one_image(model: Classifier, variables: PyTree, image: Array, softplus_beta: Any = None) -> Array:
    if softplus_beta is not None:
        model = model.clone(softplus_beta=softplus_beta)
    return model.apply(variables, image[None])[0]


@functools.cache
def model_fn(model: Classifier) -> ModelFn:
    """(variables, image (H, W, C)) -> logits (K,), batch normalisation in evaluation mode.

    The variables are an argument, so that jitted callers do not embed them as constants; equal models return the same
    function object, so that jit caches hit. An optional third argument `softplus_beta` replaces the model's own (for
    attacks with beta growth).
    """
    return functools.partial(_one_image, model)


def logits_fn(model: Classifier, variables: PyTree) -> LogitsFn:
    """image (H, W, C) -> logits (K,), batch normalisation in evaluation mode."""
    return functools.partial(model_fn(model), variables)


@functools.cache
def batch_fn(model: Classifier) -> Callable[..., tuple[Array, PyTree]]:
    """(variables, images (B, H, W, C), train=) -> (logits (B, K), batch statistics, updated if `train`; {} if none)."""

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


explain_failures(__all__, globals())
