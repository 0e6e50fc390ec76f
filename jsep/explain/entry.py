"""The input handling shared by all explanation methods: checks, and computation in float32."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from jsep.checks import InputError, as_image, at_label, check_image, check_label, check_output
from jsep.compiled import call, compiled
from jsep.numerics import in_single_precision, is_half
from jsep.types import Array, Key, LogitsFn

Saliency = TypeVar("Saliency", bound=Callable[..., Any])


def score(logits_fn: LogitsFn, image: Array, label: Array) -> Array:
    """The explained scalar: the logit of class `label`; NaN for a traced label outside 0 .. K-1.

    Raises: InputError if the image is not (H, W, C) floating point, the output is not logits (K,) of two or more
    classes, or the label is not one integer in 0 .. K-1.
    """
    check_image(image)
    logits = logits_fn(image)
    check_output(logits)
    check_label(label, logits.shape[0])
    return at_label(logits, label)


def explanation_method(method: Saliency) -> Saliency:
    """Decorates (logits_fn, image, label, *, key=None, **options) -> saliency with the input handling of all methods.

    Image, label and output are checked; concrete values (outside of jit and vmap) also for NaN and for probabilities,
    which takes one more evaluation of the model. An image of half precision is explained in float32, and the saliency
    is cast to its dtype.
    """

    @compiled
    @functools.wraps(method)
    def run(logits_fn: LogitsFn, image: Array, label: Array, *, key: Key | None = None, **options: Any) -> Any:
        if not is_half(image.dtype):
            return method(logits_fn, image, label, key=key, **options)
        dtype = image.dtype
        wide_fn = in_single_precision(logits_fn, image)
        found = method(wide_fn, image.astype(jnp.float32), label, key=key, **options)
        return jax.tree.map(lambda x: x.astype(dtype), found)

    @functools.wraps(method)
    def checked(logits_fn: LogitsFn, image: Array, label: Array, *, key: Key | None = None, **options: Any) -> Any:
        image = as_image(image, in_box=False)
        if not isinstance(image, jax.core.Tracer):
            _check_values(logits_fn, image, label)
        return run(logits_fn, image, label, key=key, **options)

    return cast(Saliency, checked)


def _check_values(logits_fn: LogitsFn, image: Array, label: Array) -> None:
    logits = call(logits_fn, image)
    check_output(logits)
    check_label(label, logits.shape[0])
    if not isinstance(logits, jax.core.Tracer) and not np.all(np.isfinite(np.asarray(logits))):
        raise InputError("logits_fn gives values that are not finite at the image: look at the model's variables")
