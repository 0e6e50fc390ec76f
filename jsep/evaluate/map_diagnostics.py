"""Cheap diagnostics of a model's maps without an attack: concentration, distance between images, noise sensitivity."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep import explain
from jsep.checks import (
    InputError,
    as_images,
    check_count,
    check_output,
    check_positive,
    is_probability,
    refuse_probabilities,
)
from jsep.evaluate.concentration import effective_pixels
from jsep.evaluate.distances import explanation_loss, scale_free_loss
from jsep.evaluate.metric import TRAINING, minor, percent, register
from jsep.evaluate.model_arguments import takes_logits_fn
from jsep.evaluate.stability import neighbours
from jsep.numerics import norm
from jsep.types import Array, Key, MapFn, ModelFn, PyTree


def _map_fn(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    image: Array,
    method: str,
    map_config: explain.MapConfig,
    options: explain.Options,
) -> MapFn:
    """The map function for the class predicted on `image`."""
    logits_fn = functools.partial(model_fn, variables)
    predicted = jnp.argmax(logits_fn(image))
    return explain.make_map_fn(method, logits_fn, predicted, map_config=map_config, key=key, **dict(options))


@functools.partial(jax.jit, static_argnames=("model_fn", "method", "map_config", "options"))
def _probe(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    images: Array,
    method: str,
    map_config: explain.MapConfig,
    options: explain.Options,
) -> tuple[Array, Array, Array]:
    probable = jax.vmap(lambda z: is_probability(model_fn(variables, z)))(images)
    maps = jax.vmap(lambda z: _map_fn(key, model_fn, variables, z, method, map_config, options)(z))(images)
    losses = jax.vmap(explanation_loss)(maps, jnp.roll(maps, 1, axis=0))
    return jnp.mean(losses), jnp.mean(jax.vmap(effective_pixels)(maps)), probable


def _checked(images: Any, model_fn: ModelFn, variables: PyTree) -> np.ndarray:
    images = as_images(images)
    image = jax.ShapeDtypeStruct(images.shape[1:], images.dtype)
    check_output(jax.eval_shape(model_fn, variables, image), "model_fn")
    return images


@takes_logits_fn
def map_diagnostics(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    images: np.ndarray,
    *,
    method: str = "gradient_x_input",
    options: explain.Options = (),
    map_config: explain.MapConfig | None = None,
) -> dict[str, float]:
    """Mean explanation loss between the maps of different images, and mean effective pixels, over a few images.

    Every image is compared with the next one, the last with the first; the explained class is the predicted one.
    Args: key: for an explanation method that samples; model_fn, variables: as in `classification`; images: (P, H, W, C)
      float in [0, 1], P >= 2, all in memory at once; method, options, map_config: the explanation.
    Returns: {"probe_explanation_loss", "probe_effective_pixels"}, means over the images.
    Raises: InputError for fewer than two images or invalid ones, or an unknown method.
    """
    images = _checked(images, model_fn, variables)
    if len(images) < 2:
        raise InputError(f"a probe needs at least 2 images to compare, got {len(images)}")
    found = _probe(key, model_fn, variables, images, method, map_config or explain.MapConfig(), options)
    loss, pixels, probable = jax.device_get(found)
    refuse_probabilities(probable)
    return {"probe_explanation_loss": float(loss), "probe_effective_pixels": float(pixels)}


@functools.partial(
    jax.jit, static_argnames=("model_fn", "method", "map_config", "options", "num_samples", "chunk_size")
)
def _under_noise(
    keys: Array,
    model_fn: ModelFn,
    variables: PyTree,
    images: Array,
    radius: Any,
    *,
    method: str,
    map_config: explain.MapConfig,
    options: explain.Options,
    num_samples: int,
    chunk_size: int,
) -> tuple[Array, Array, Array]:
    def one(inputs: tuple[Key, Array]) -> tuple[Array, Array, Array]:
        key, image = inputs
        method_key, noise_key = jax.random.split(key)
        map_fn = _map_fn(method_key, model_fn, variables, image, method, map_config, options)
        own = map_fn(image)
        size = norm(own)
        others = jax.vmap(map_fn)(neighbours(noise_key, image, radius=radius, num_samples=num_samples))
        changes = jax.vmap(lambda other: norm(other - own))(others)
        scaled = jax.vmap(lambda other: scale_free_loss(other, own))(others)
        probable = is_probability(model_fn(variables, image))
        return jnp.mean(changes) / jnp.where(size == 0, 1.0, size), jnp.mean(scaled), probable

    return jax.lax.map(one, (keys, images), batch_size=chunk_size)


@takes_logits_fn
def noise_sensitivity(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    images: np.ndarray,
    *,
    method: str = "gradient_x_input",
    options: explain.Options = (),
    map_config: explain.MapConfig | None = None,
    radius: float = 0.1,
    num_samples: int = 8,
    chunk_size: int = 64,
) -> dict[str, float]:
    """The mean change of the map under uniform noise on the image.

    "noise_sensitivity": mean |I(x + z) - I(x)| / |I(x)| over noise samples and images (Euclidean norms over the map),
    which does not depend on the scale of the maps; "noise_scale_free_loss": mean N^2 MSE(I(x + z), I(x)), the SEP term
    in scale-free units. The explained class is that predicted for x; x + z is clipped to [0, 1].
    Args: key; model_fn, variables: as in `classification`; images: (P, H, W, C) float in [0, 1]; radius: of the noise,
      pixel units; method, options, map_config: the explanation; num_samples: noise samples for each image; chunk_size:
      images in memory at once.
    Raises: InputError for invalid images, an unknown method or a count < 1.
    Reference: Yeh et al. 2019, definition 3, with the mean in place of the maximum.
    """
    images = _checked(images, model_fn, variables)
    check_positive("radius", radius, allow_zero=True)
    check_count("num_samples", num_samples)
    check_count("chunk_size", chunk_size)
    relative, scaled, probable = jax.device_get(
        _under_noise(
            jax.random.split(key, len(images)),
            model_fn,
            variables,
            images,
            radius,
            method=method,
            map_config=map_config or explain.MapConfig(),
            options=options,
            num_samples=num_samples,
            chunk_size=min(chunk_size, len(images)),
        )
    )
    refuse_probabilities(probable)
    return {"noise_sensitivity": float(relative.mean()), "noise_scale_free_loss": float(scaled.mean())}


register(
    percent("noise_sensitivity", "map change under noise", TRAINING,
        "Mean Euclidean change of the map under uniform noise on the image, as a share of the size of the "
        "map: how much the map moves without an attack.", -1),
    minor("noise_scale_free_loss", "N²·MSE under noise", TRAINING,
        "Squared change of the map under uniform noise, N²·MSE."),
)  # fmt: skip
