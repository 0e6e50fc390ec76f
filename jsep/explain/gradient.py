"""Saliencies that are functions of the image and of the input gradient alone."""

import jax

from jsep.explain.entry import explanation_method, score
from jsep.types import Array, Key, LogitsFn


@explanation_method
def gradient(logits_fn: LogitsFn, image: Array, label: Array, *, key: Key | None = None) -> Array:
    """The input gradient g = d f_label / d x.

    >>> import jax.numpy as jnp
    >>> from jsep import explain
    >>> explain.gradient(lambda image: jnp.stack([image.sum(), 2 * image.sum()]), jnp.ones((1, 2, 1)), 1).tolist()
    [[[2.0], [2.0]]]

    Args: logits_fn: image -> logits (K,); image: (H, W, C) float in [0, 1]; label: () integer in 0 .. K-1; key: unused,
      as in every method that does not sample.
    Returns: (H, W, C), signed, in logits per unit of pixel value; differentiable in the image and the parameters.
    Raises: InputError as in `score`.
    Reference: Simonyan et al. 2014.
    """
    return jax.grad(lambda z: score(logits_fn, z, label))(image)


@explanation_method
def gradient_x_input(logits_fn: LogitsFn, image: Array, label: Array, *, key: Key | None = None) -> Array:
    """x * d f_label / d x, elementwise.

    >>> import jax.numpy as jnp
    >>> from jsep import explain
    >>> image = jnp.array([[[0.5], [1.0]]])
    >>> explain.gradient_x_input(lambda image: jnp.stack([image.sum(), 2 * image.sum()]), image, 1).tolist()
    [[[1.0], [2.0]]]

    Args, Returns, Raises: as `gradient`; the unit is logits.
    Reference: Shrikumar et al. 2017.
    """
    return image_times_gradient(image, gradient(logits_fn, image, label))


def gradient_alone(image: Array, input_gradient: Array) -> Array:
    """`gradient` as a function of the image and its input gradient."""
    return input_gradient


def image_times_gradient(image: Array, input_gradient: Array) -> Array:
    """`gradient_x_input` as a function of the image and its input gradient."""
    return image * input_gradient
