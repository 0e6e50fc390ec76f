"""The input handling shared by all attacks on one image: checks, and computation in float32."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp

from jsep.attack.explanation_terms import check_finite_map
from jsep.attack.norms import norm_by_name
from jsep.checks import InputError, as_image, check_epsilon, check_label, check_output
from jsep.compiled import call, compiled
from jsep.numerics import in_single_precision, is_half, to_single
from jsep.types import Array

Attack = TypeVar("Attack", bound=Callable[..., Any])

_FUNCTIONS = ("objective", "map_fn", "logits_fn")
_ARRAYS = ("target_map", "start")


def attack_method(attack: Attack) -> Attack:
    """Decorates an attack on one image, which returns (adversarial image, info), with the shared input handling.

    The image must be (H, W, C), finite and in [0, 1] (rounding beyond is clipped), the budget one finite number, the
    label a class, the output logits. Values are checked if concrete (outside of jit and vmap), which takes one more
    evaluation of the model. An image of half precision is attacked in float32; the adversarial image is cast to its
    dtype and rounded towards the clean image, so that it stays in the ball.
    """
    signature = inspect.signature(attack)

    @compiled
    @functools.wraps(attack)
    def run(*arguments: Any, **keywords: Any) -> Any:
        bound = signature.bind(*arguments, **keywords)
        given = bound.arguments
        image = given["image"]
        if not is_half(image.dtype):
            return attack(*bound.args, **bound.kwargs)
        for name in set(_FUNCTIONS) & set(given):
            if callable(given[name]):
                given[name] = in_single_precision(given[name], image)
        for name in set(_ARRAYS) & set(given):
            given[name] = to_single(given[name])
        given["image"] = image.astype(jnp.float32)
        adversarial, info = attack(*bound.args, **bound.kwargs)
        return _narrowed(adversarial, image), info

    @functools.wraps(attack)
    def checked(*arguments: Any, **keywords: Any) -> Any:
        bound = signature.bind(*arguments, **keywords)
        bound.apply_defaults()
        given = bound.arguments
        norm = given.get("norm", "linf")
        norm_by_name(norm)
        if "epsilon" in given and (given["epsilon"] is not None or not _is_optional(signature, "epsilon")):
            check_epsilon(given["epsilon"], norm)
        image = given["image"] = as_image(given["image"])
        if not isinstance(image, jax.core.Tracer):
            _check_output(given, image)
        return run(*bound.args, **bound.kwargs)

    return cast(Attack, checked)


def _is_optional(signature: inspect.Signature, name: str) -> bool:
    return signature.parameters[name].default is None


def _check_output(given: dict[str, Any], image: Array) -> None:
    """Checks for a concrete image: the model's output there, and the label."""
    if "map_fn" in given:
        map_ = call(given["map_fn"], image)
        if getattr(map_, "ndim", None) != 2 or not jnp.issubdtype(map_.dtype, jnp.floating):
            raise InputError(f"map_fn must map an image to a floating-point map (H, W), got {map_}")
        check_finite_map("map_fn's map of the image", map_)
    objective = given.get("objective")
    logits_fn = given.get("logits_fn", getattr(objective, "logits_fn", None))
    if logits_fn is None:
        return
    logits = call(logits_fn, image)
    check_output(logits)
    label = given.get("label", getattr(objective, "label", None))
    for name, value in (("label", label), ("target", given.get("target"))):
        if value is not None:
            check_label(value, logits.shape[0], name)


def _narrowed(adversarial: Array, image: Array) -> Array:
    """The adversarial image in the clean image's dtype, each pixel rounded towards the clean one."""
    rounded = adversarial.astype(image.dtype)
    wide = image.astype(jnp.float32)
    too_far = jnp.abs(rounded.astype(jnp.float32) - wide) > jnp.abs(adversarial - wide)
    return jnp.where(too_far, jnp.nextafter(rounded, image), rounded)
