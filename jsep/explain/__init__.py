"""Explanations of a classifier: a saliency (H, W, C) or (H, W, 1) by method, and its map (H, W) by `explanation_map`.

Every method is a function (logits_fn, image, label, *, key=None, ...) of one image; batch it with `jax.vmap`. A new
method is a function and a line in `METHODS`.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from jsep.arguments import explain_failures
from jsep.checks import InputError, check_choice
from jsep.compiled import depends_on
from jsep.explain.attention import attention_relevance, attention_rollout
from jsep.explain.cam import grad_cam, score_cam
from jsep.explain.entry import explanation_method
from jsep.explain.gradient import gradient, gradient_alone, gradient_x_input, image_times_gradient
from jsep.explain.guided import deconvnet, guided_backprop
from jsep.explain.integrated import integrated_gradients
from jsep.explain.lime import lime
from jsep.explain.lrp import lrp
from jsep.explain.maps import NORMALIZATIONS, REDUCTIONS, MapConfig, explanation_map
from jsep.explain.masking import occlusion, rise
from jsep.explain.sampling import check_key
from jsep.explain.smooth import smooth_grad, smooth_grad_squared, var_grad
from jsep.numerics import absolute
from jsep.types import Array, Key, LogitsFn, MapFn

__all__ = [
    "METHODS",
    "NORMALIZATIONS",
    "REDUCTIONS",
    "MapConfig",
    "Method",
    "Options",
    "absolute",
    "attention_relevance",
    "attention_rollout",
    "check_differentiable",
    "check_options",
    "deconvnet",
    "explanation_map",
    "explanation_method",
    "grad_cam",
    "gradient",
    "gradient_x_input",
    "guided_backprop",
    "integrated_gradients",
    "lime",
    "lrp",
    "make_map_fn",
    "method",
    "occlusion",
    "option_kinds",
    "rise",
    "score_cam",
    "smooth_grad",
    "smooth_grad_squared",
    "var_grad",
]


@dataclasses.dataclass(frozen=True)
class Method:
    """An explanation method.

    saliency: (logits_fn, image, label, *, key=None, **options) -> saliency (H, W, C), or (H, W, 1) for a method that
      explains pixels rather than channels.
    from_gradient: (image, input gradient) -> the same saliency, for a method that is a function of these two alone,
      which the SEP regulariser differentiates by directional derivatives. None for other methods.
    draws: whether it samples and needs the key; other methods ignore it.
    differentiable: whether it has derivatives with respect to the image and the parameters.
    needs: required of the model: "feature maps", "attention", or "" for any model.
    title: its name as people write it, for tables and figures; "" for that of the registry.
    """

    saliency: Callable[..., Array]
    from_gradient: Callable[[Array, Array], Array] | None = None
    draws: bool = False
    differentiable: bool = True
    needs: str = ""
    title: str = ""


METHODS: dict[str, Method] = {
    "gradient": Method(gradient, gradient_alone, title="Gradient"),
    "gradient_x_input": Method(gradient_x_input, image_times_gradient, title="Gradient x Input"),
    "integrated_gradients": Method(integrated_gradients, title="Integrated Gradients"),
    "smooth_grad": Method(smooth_grad, draws=True, title="SmoothGrad"),
    "smooth_grad_squared": Method(smooth_grad_squared, draws=True, title="SmoothGrad squared"),
    "var_grad": Method(var_grad, draws=True, title="VarGrad"),
    "guided_backprop": Method(guided_backprop, title="Guided Backprop"),
    "guided_backprop_relu": Method(functools.partial(guided_backprop, variant="relu"), title="Guided Backprop, ReLU"),
    "guided_backprop_captum": Method(
        functools.partial(guided_backprop, variant="captum"), title="Guided Backprop, Captum"
    ),
    "deconvnet": Method(deconvnet, title="DeconvNet"),
    "lrp_epsilon": Method(lrp, title="LRP epsilon"),
    "lrp_gamma": Method(functools.partial(lrp, composite="gamma"), title="LRP gamma"),
    "lrp_z_plus": Method(functools.partial(lrp, composite="z_plus"), title="LRP z-plus"),
    "lrp_epsilon_plus_flat": Method(
        functools.partial(lrp, composite="epsilon_plus_flat"), title="LRP epsilon-plus-flat"
    ),
    "lrp_epsilon_gamma": Method(functools.partial(lrp, composite="epsilon_gamma"), title="LRP epsilon-gamma"),
    "grad_cam": Method(grad_cam, needs="feature maps", title="Grad-CAM"),
    "score_cam": Method(score_cam, needs="feature maps", title="Score-CAM"),
    "occlusion": Method(occlusion, title="Occlusion"),
    "rise": Method(rise, draws=True, differentiable=False, title="RISE"),
    "lime": Method(lime, draws=True, differentiable=False, title="LIME"),
    "attention_rollout": Method(attention_rollout, needs="attention", title="Attention rollout"),
    "attention_relevance": Method(attention_relevance, needs="attention", title="Attention relevance"),
}
"""name -> Method."""

depends_on(METHODS)


def method(name: str) -> Method:
    """The method called `name`.

    Raises: InputError for an unknown name.
    """
    check_choice("explanation method", name, METHODS)
    return METHODS[name]


Options = tuple[tuple[str, Any], ...]
"""Options of a method as a hashable value: ((name, value), ...)."""


def option_kinds(name: str) -> dict[str, Any]:
    """The options of method `name` that can be set by a number or a string -> int, float, bool or str, Any for either.

    Raises: InputError for an unknown method.
    """
    saliency = method(name).saliency
    bound = saliency.keywords if isinstance(saliency, functools.partial) else {}
    return {
        parameter.name: parameter.annotation
        for parameter in inspect.signature(saliency).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
        and parameter.name not in bound
        and parameter.annotation in (int, float, bool, str, Any)
        # Such an option makes the method return more than a saliency.
        and not parameter.name.startswith("return_")
    }


def check_options(name: str, options: Iterable[tuple[str, Any]]) -> None:
    """Raises InputError if method `name` is unknown or lacks an option with one of these names.

    The values are checked when the method is called.
    """
    known = inspect.signature(method(name).saliency).parameters
    names = [other for other, parameter in known.items() if parameter.kind is parameter.KEYWORD_ONLY]
    given = list(options)
    if not all(isinstance(each, tuple | list) and len(each) == 2 for each in given):
        raise InputError(f"options must be pairs (name, value), got {given!r}")
    for option, _ in given:
        if not names:
            raise InputError(f"explanation method {name!r} has no options, got {option!r}")
        check_choice(f"option of explanation method {name!r}", option, names)


def check_differentiable(name: str) -> None:
    """Raises InputError if method `name` is unknown or not differentiable, and so cannot be attacked or regularised
    directly."""
    if not method(name).differentiable:
        others = ", ".join(other for other, entry in METHODS.items() if entry.differentiable)
        raise InputError(
            f"explanation method {name!r} has no derivative: attack another one and evaluate {name!r} on the result; "
            f"differentiable: {others}"
        )


def make_map_fn(
    name: str,
    logits_fn: LogitsFn,
    label: Array,
    *,
    map_config: MapConfig | None = None,
    key: Key | None = None,
    **options: Any,
) -> MapFn:
    """image (H, W, C) -> map (H, W) of method `name` for the class `label`.

    >>> import jax.numpy as jnp
    >>> from jsep import explain
    >>> map_fn = explain.make_map_fn("gradient_x_input", lambda image: jnp.stack([image.sum(), 0.0]), 0)
    >>> map_fn(jnp.array([[[0.25], [0.75]]])).tolist()
    [[0.25, 0.75]]

    Args: map_config: how the saliency becomes a map, default: `MapConfig()`; key: for a method that samples, used at
      every call, so that the map is a deterministic function of the image, which an attack can descend; ignored by
      others. options: further keyword arguments of the method.
    Raises: InputError for an unknown method or a missing key; as the method itself when called.
    """
    chosen = method(name)
    to_map = map_config or MapConfig()
    if chosen.draws:
        check_key(key, name)
    return lambda image: to_map(chosen.saliency(logits_fn, image, label, key=key, **options))


explain_failures(__all__, globals())
