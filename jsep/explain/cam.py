"""Class activation maps: Grad-CAM and Score-CAM on the last feature maps of any model."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jsep.checks import InputError, at_label
from jsep.explain.entry import explanation_method, score
from jsep.explain.layers import CONVOLUTIONS
from jsep.explain.masking import masked
from jsep.explain.program import SHAPE_STEPS, Program, Var, trace
from jsep.explain.sampling import map_in_chunks
from jsep.types import Array, Key, LogitsFn

Split = tuple[Callable[[Array], Array], Callable[[Array], Array]]
"""(image -> feature maps (h, w, F), feature maps -> logits (K,))."""


def split_at_last_features(logits_fn: LogitsFn, image: Array) -> Split:
    """The model split at its last feature maps: logits_fn(image) = head(features(image)).

    The feature maps are the last value of shape (h, w, F) or (1, h, w, F), h and w above 1 (with the channels on the
    axis of the last convolution's), through which every path from the image to the logits passes: after the last
    activation, before pooling.
    Returns: (image -> features (h, w, F), features -> logits (K,)).
    Raises: InputError if there are none; pass your own `split` to Grad-CAM then.
    """
    image = jnp.asarray(image)
    program = trace(logits_fn, image)
    cut, channel_axis = _last_features(program)

    def features(image: Array) -> Array:
        value = program.run({program.input: image})[cut]
        return jnp.moveaxis(value.reshape(value.shape[-3:]), channel_axis, -1)

    def head(features: Array) -> Array:
        value = jnp.moveaxis(features, -1, channel_axis).reshape(cut.shape)
        return program.run({cut: value})[program.output]

    return features, head


def _last_features(program: Program) -> tuple[Var, int]:
    """The last value that qualifies as feature maps, and its channel axis among its last three axes."""
    last_use = {program.output: len(program.steps)}
    for index, step in enumerate(program.steps):
        last_use.update(dict.fromkeys(step.inputs, index))
    found: tuple[Var, int] | None = None
    alive = {program.input}
    channel_axis = -1
    for index, step in enumerate(program.steps):
        alive = {var for var in alive | set(step.outputs) if last_use.get(var, -1) > index}
        numbers = step.params.get("dimension_numbers")
        if step.name in CONVOLUTIONS:
            channel_axis = numbers.out_spec[1] - len(numbers.out_spec) if numbers is not None else -1
        elif step.name == "transpose":
            order = step.params["permutation"]
            if len(order) >= -channel_axis:
                channel_axis = order.index(channel_axis + len(order)) - len(order)
        (var, *more) = step.outputs
        if more or alive != {var} or step.name in SHAPE_STEPS or not var.is_float:
            continue
        is_map = len(var.shape) == 3 or (len(var.shape) == 4 and var.shape[0] == 1)
        sides = [side for axis, side in zip((-3, -2, -1), var.shape[-3:], strict=False) if axis != channel_axis]
        if is_map and min(sides) > 1:
            found = var, channel_axis
    if found is None:
        raise InputError(
            "the model has no feature maps (h, w, F) that its logits depend on alone: pass "
            "split=(image -> features (h, w, F), features -> logits)"
        )
    return found


def _enlarged(low: Array, shape: tuple[int, ...]) -> Array:
    return jax.image.resize(low, (*shape[:2], low.shape[-1]), "bilinear")


@explanation_method
def grad_cam(
    logits_fn: LogitsFn, image: Array, label: Array, *, key: Key | None = None, split: Split | None = None
) -> Array:
    """Grad-CAM: the positive part of the feature maps weighted by the mean gradient of the logit, resized to the image.

        s = resize(max(sum_f alpha_f A_f, 0)),    alpha_f = mean_ij d f_label / d A_ijf

    Args: logits_fn, image, label, key: as `gradient`; split: of the model, default: `split_at_last_features`.
    Returns: (H, W, 1), non-negative; differentiable in the image and the parameters.
    Raises: InputError as in `score`, or for a model without feature maps.
    Reference: Selvaraju et al. 2017, equations 1 and 2.
    """
    features_fn, head_fn = split or split_at_last_features(logits_fn, image)
    features = features_fn(image)
    weights = jnp.mean(jax.grad(lambda a: at_label(head_fn(a), label))(features), axis=(0, 1))
    return _enlarged(jnp.maximum(features @ weights, 0)[..., None], image.shape).astype(image.dtype)


@explanation_method
def score_cam(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    *,
    key: Key | None = None,
    split: Split | None = None,
    chunk_size: int = 64,
) -> Array:
    """Score-CAM: the feature maps, each weighted by the logit of the image masked with it.

        s = max(sum_f alpha_f A_f, 0),    alpha = softmax_f(f_label(x * M_f)),    M_f = A_f upsampled, scaled to [0, 1]

    A constant feature map masks everything (M_f = 0).
    Args: logits_fn, image, label, key: as `gradient`; split: as `grad_cam`; chunk_size: masked images in memory at
      once.
    Returns: (H, W, 1), non-negative; differentiable in the image and the parameters.
    Raises: as `grad_cam`.
    Reference: Wang et al. 2020, algorithm 1.
    """
    features_fn, _ = split or split_at_last_features(logits_fn, image)
    features = jnp.moveaxis(_enlarged(features_fn(image), image.shape), -1, 0)
    low = jnp.min(features, axis=(1, 2), keepdims=True)
    spread = jnp.max(features, axis=(1, 2), keepdims=True) - low
    masks = jnp.where(spread > 0, (features - low) / jnp.where(spread > 0, spread, 1), 0)
    scores = map_in_chunks(lambda mask: score(logits_fn, masked(image, mask, 0.0), label), masks, chunk_size)
    return jnp.maximum(jnp.tensordot(jax.nn.softmax(scores), features, 1), 0)[..., None].astype(image.dtype)
