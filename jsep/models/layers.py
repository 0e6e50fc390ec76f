"""Components shared by all models: activations, input normalisation, convolutions, the linear head."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jsep.checks import check_choice
from jsep.models.convolution import conv2d
from jsep.models.cpu.log1p import log1p_of_small
from jsep.types import Array

ACTIVATIONS = ("softplus", "relu", "gelu")
"""Activation functions of the models; "softplus" has a sharpness beta."""

BATCH_NORM_MOMENTUM = 0.9
"""Decay of the running statistics of batch normalisation per training step."""


@jax.custom_jvp
def _softplus(x: Array) -> Array:
    return jnp.maximum(x, 0) + log1p_of_small(jnp.exp(-jnp.abs(x)))


@_softplus.defjvp
def _softplus_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # Higher derivatives follow from the logistic function; those of jax.nn.softplus go through logaddexp, whose second
    # and third derivatives cost several times as much.
    (x,), (tangent,) = primals, tangents
    return _softplus(x), jax.lax.logistic(x) * tangent


def softplus(x: Array, beta: float | Array) -> Array:
    """log(1 + exp(beta * x)) / beta, a smooth ReLU with non-zero second derivative that tends to ReLU as beta grows.

    Args: x: any shape, float; beta: > 0, a number or a traced scalar (the attack's beta growth). Returns: as x.
    Reference: Dombrowski et al. 2019, section 4.
    """
    return _softplus(beta * x) / beta


def activation_fn(name: str, softplus_beta: float | Array) -> Callable[[Array], Array]:
    """The activation called `name`. Raises InputError for an unknown name."""
    check_choice("activation", name, ACTIVATIONS)
    if name == "relu":
        return jax.nn.relu
    if name == "gelu":
        return functools.partial(jax.nn.gelu, approximate=False)
    return lambda x: softplus(x, softplus_beta)


def _plus_laid_out(y: Array, bias: Array) -> Array:
    """y (B, H, W, F) + bias (F,), the bias first repeated for all pixels of an image."""
    # By concatenation, which XLA hoists out of a loop with constant weights; it does not hoist a broadcast.
    _, height, width, _ = y.shape
    laid_out = jnp.concatenate([jnp.concatenate([bias] * width)] * height)
    return (y.reshape(len(y), -1) + laid_out).reshape(y.shape)


class Conv(nn.Module):
    """A `size` x `size` convolution with zero padding `size` // 2, He-initialised; see `convolution.conv2d`.

    is_flattened: whether the result is flattened next. XLA on CPU then loops over the flat index and cannot vectorise
    an activation after a per-channel bias, so the bias is repeated for all pixels.
    """

    features: int
    size: int = 3
    strides: int = 1
    use_bias: bool = False
    is_flattened: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        y = conv2d(x, kernel, strides=self.strides, padding=self.size // 2)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return _plus_laid_out(y, bias) if self.is_flattened else y + bias


class DepthwiseConv(nn.Module):
    """A 3x3 depthwise convolution, He-initialised."""

    strides: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = self.param("kernel", nn.initializers.he_normal(), (3, 3, 1, x.shape[-1]))
        return conv2d(x, kernel, strides=self.strides, padding=1, groups=x.shape[-1])


class Classifier(nn.Module):
    """The base class of all models and their common fields.

    num_classes: K; activation: one of ACTIVATIONS; softplus_beta: sharpness of the softplus; mean, std: per-channel
    input normalisation, part of the model so that attacks work on pixels in [0, 1].
    """

    num_classes: int
    activation: str = "softplus"
    softplus_beta: float | Array = 10.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def act(self, x: Array) -> Array:
        """The activation of the model."""
        return activation_fn(self.activation, self.softplus_beta)(x)

    def normalize(self, images: Array) -> Array:
        """(images - mean) / std, per channel."""
        return (images - jnp.asarray(self.mean, images.dtype)) / jnp.asarray(self.std, images.dtype)

    def head(self, features: Array) -> Array:
        """The linear head, features (B, F) -> logits (B, K); stores the features for `models.features_fn`."""
        self.sow("intermediates", "features", features)
        return nn.Dense(self.num_classes, name="head")(features)
