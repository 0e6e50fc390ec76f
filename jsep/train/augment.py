"""Random crops and flips of a batch, on the device."""

import jax
import jax.numpy as jnp

from jsep.checks import InputError
from jsep.types import Array, Key

_PAD = 4


def crop_and_flip(key: Key, images: Array) -> Array:
    """Random crops after padding by 4 zero pixels, and horizontal flips with probability 1/2, drawn for each image.

    Args: images: (B, H, W, C). Returns: the same shape and dtype.
    """
    if jnp.ndim(images) != 4:
        raise InputError(f"images must be (B, H, W, C), got shape {jnp.shape(images)}")

    def one(key: Key, image: Array) -> Array:
        crop_key, flip_key = jax.random.split(key)
        height, width, channels = image.shape
        padded = jnp.pad(image, ((_PAD, _PAD), (_PAD, _PAD), (0, 0)))
        row, column = jax.random.randint(crop_key, (2,), 0, 2 * _PAD + 1)
        cropped = jax.lax.dynamic_slice(padded, (row, column, 0), (height, width, channels))
        return jnp.where(jax.random.bernoulli(flip_key), cropped[:, ::-1], cropped)

    return jax.vmap(one)(jax.random.split(key, len(images)), images)
