"""The networks by name."""

import functools
from collections.abc import Callable

from jsep.checks import InputError, check_choice, check_count, check_positive
from jsep.models.convnet import ConvNet
from jsep.models.layers import ACTIVATIONS, Classifier
from jsep.models.mobilenet import MobileNetV2
from jsep.models.resnet import ResNet
from jsep.models.vit import ViT
from jsep.models.wide_resnet import WideResNet

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

    >>> import jax, jax.numpy as jnp
    >>> from jsep import models
    >>> model = models.create("convnet", num_classes=10, input_shape=(8, 8, 1))
    >>> variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    >>> jax.eval_shape(model.apply, variables, jnp.zeros((5, 8, 8, 1))).shape
    (5, 10)

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
