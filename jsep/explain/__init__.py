"""Explanations of a classifier: saliency (H, W, C) by method, map (H, W) by `explanation_map`.

All functions take one image; batch them with `jax.vmap`. A new method is one function and one line in `METHODS`.
"""

import dataclasses
from collections.abc import Callable

from jsep.checks import check_choice
from jsep.explain.gradient import gradient, gradient_alone, gradient_x_input, image_times_gradient, score
from jsep.explain.maps import NORMALIZATIONS, REDUCTIONS, MapConfig, absolute, explanation_map
from jsep.types import Array, LogitsFn, MapFn, SaliencyFn

__all__ = [
    "METHODS",
    "NORMALIZATIONS",
    "REDUCTIONS",
    "MapConfig",
    "Method",
    "absolute",
    "explanation_map",
    "gradient",
    "gradient_x_input",
    "make_map_fn",
    "method",
    "score",
]


@dataclasses.dataclass(frozen=True)
class Method:
    """An explanation method.

    saliency: (logits_fn, image, label) -> saliency (H, W, C).
    from_gradient: (image, input gradient) -> the same saliency, where it depends on nothing else; it lets the SEP
      regulariser differentiate by the directional-derivative identity. None otherwise.
    """

    saliency: SaliencyFn
    from_gradient: Callable[[Array, Array], Array] | None = None


METHODS: dict[str, Method] = {
    "gradient": Method(gradient, gradient_alone),
    "gradient_x_input": Method(gradient_x_input, image_times_gradient),
}
"""name -> Method."""


def method(name: str) -> Method:
    """The method called `name`. Raises InputError that lists the known ones."""
    check_choice("explanation method", name, METHODS)
    return METHODS[name]


def make_map_fn(name: str, logits_fn: LogitsFn, label: Array, *, map_config: MapConfig | None = None) -> MapFn:
    """image (H, W, C) -> map (H, W) of method `name` for the class `label`.

    Raises: InputError for an unknown method; as the method itself when called.
    """
    saliency = method(name).saliency
    to_map = map_config or MapConfig()
    return lambda image: to_map(saliency(logits_fn, image, label))
