"""The types of the library's interfaces: plain functions of one image.

Shape letters used in every docstring: B batch, H height, W width, C channels, K classes, P pairs.
An *image* is (H, W, C) float32 in [0, 1]; *logits* are (K,); a *saliency* is (H, W, C), raw and signed;
a *map* is (H, W), processed from a saliency. N = H * W is the number of pixels of a map.
"""

from collections.abc import Callable
from typing import Any

import jax

Array = jax.Array
"""A JAX array, concrete or traced."""

Key = jax.Array
"""A PRNG key: the first argument of every random function, and the keyword `key` of explanation methods."""

PyTree = Any
"""Nested containers with arrays at their leaves, such as the variables of a model."""

LogitsFn = Callable[[Array], Array]
"""image (H, W, C) -> logits (K,)."""

ModelFn = Callable[[PyTree, Array], Array]
"""(variables, image (H, W, C)) -> logits (K,): a LogitsFn that takes its parameters as an argument, so that jit does
not embed them as constants."""

Objective = Callable[[Array], Array]
"""image (H, W, C) -> scalar; attacks maximise it, landscapes plot it."""

SaliencyFn = Callable[[LogitsFn, Array, Array], Array]
"""(logits_fn, image (H, W, C), label ()) -> saliency (H, W, C), or (H, W, 1) for methods that score whole pixels; the
type of every explanation method. `key` and the options of the method are keyword arguments."""

MapFn = Callable[[Array], Array]
"""image (H, W, C) -> map (H, W) of a fixed label."""
