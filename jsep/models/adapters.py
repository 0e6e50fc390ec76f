"""Adapters from batched classifiers of other libraries to functions of one image."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jsep.checks import InputError, check_image
from jsep.types import Array


@dataclasses.dataclass(frozen=True)
class _OneImage:
    """The function of one image; instances with equal fields are equal, so that jit caches hit."""

    batch_fn: Callable[..., Any]
    channels_first: bool

    def __call__(self, *arguments: Any) -> Array:
        *variables, image = arguments
        check_image(image)
        images = jnp.asarray(image)[None]
        logits = self.batch_fn(*variables, jnp.moveaxis(images, -1, 1) if self.channels_first else images)
        shape = getattr(logits, "shape", None)
        if shape is None:
            raise InputError(
                f"batch_fn must return logits (B, K) alone, got {type(logits).__name__}; pick them out of it, as by "
                "lambda images: model(images).logits"
            )
        if len(shape) != 2 or shape[0] != 1:
            raise InputError(f"batch_fn must return logits (B, K), here (1, K), got shape {shape}")
        return logits[0]


def from_batch_fn(batch_fn: Callable[..., Any], *, channels_first: bool = False) -> Callable[..., Array]:
    """Converts a classifier of batches into a function of one image, the form used throughout jsep.

    >>> import jax.numpy as jnp
    >>> from jsep import models
    >>> logits_fn = models.from_batch_fn(lambda images: images.reshape(len(images), -1) @ jnp.ones((4, 3)))
    >>> logits_fn(jnp.ones((2, 2, 1))).tolist()
    [4.0, 4.0, 4.0]

    Args:
      batch_fn: images (B, H, W, C) in [0, 1] -> logits (B, K), in evaluation mode, or (variables, images) -> logits.
      channels_first: whether `batch_fn` expects images (B, C, H, W).

    Returns: image (H, W, C) -> logits (K,), a `LogitsFn`; or (variables, image) -> logits, a `ModelFn`.
    Raises: InputError, when called, for an input that is not one image or an output that is not (1, K).
    """
    return _OneImage(batch_fn, channels_first)
