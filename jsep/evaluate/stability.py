"""Stability: the change of an explanation near an image; functions of one image and its neighbours."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jsep.checks import InputError, as_image, check_count, check_output, check_pixels, check_positive
from jsep.compiled import call, compiled
from jsep.map_checks import as_map, floating
from jsep.memory import check_memory
from jsep.numerics import norm
from jsep.types import Array, Key, LogitsFn, MapFn, Objective


def neighbours(key: Key, image: Array, *, radius: float, num_samples: int) -> Array:
    """Images drawn uniformly from the linf ball of `radius` around `image`, clipped to [0, 1].

    Args: key; image (H, W, C); radius: pixel units, >= 0; num_samples: M >= 1. Returns: (M, H, W, C).
    Raises: InputError for a setting out of range or an invalid image.
    """
    image = as_image(image)
    check_positive("radius", radius, allow_zero=True)
    check_count("num_samples", num_samples)
    check_memory(f"{num_samples} neighbours of {image.shape}", float(num_samples) * image.nbytes)
    noise = jax.random.uniform(key, (num_samples, *image.shape), image.dtype, -radius, radius)
    return jnp.clip(image + noise, 0.0, 1.0)


def _check_near(image: Array, near: Array) -> tuple[Array, Array]:
    """Both as arrays. Raises InputError unless `near` holds one or more finite images of the image's shape."""
    image, near = as_image(image), jnp.asarray(near)
    if near.ndim != 4 or near.shape[1:] != image.shape or len(near) == 0:
        raise InputError(f"near must be neighbours (M, H, W, C) of the image {image.shape}, got shape {near.shape}")
    check_pixels(near, "near", in_box=False)
    return image, near


def max_sensitivity(map_fn: MapFn, image: Array, near: Array, *, chunk_size: int = 64) -> Array:
    """max over the neighbours x' of |I(x') - I(x)| / |I(x)|, L2 norms over the map.

    Args: map_fn: image -> map (H, W) for a fixed class; image (H, W, C); near: (M, H, W, C), see `neighbours`;
      chunk_size: neighbours in memory at once.
    Returns: () >= 0; where I(x) is zero the divisor is 1, as in captum.
    Raises: InputError for a count < 1.
    Reference: Yeh et al. 2019, definition 3. Equal to captum's `sensitivity_max` for explanations passed as tuples (for
      a plain (1, 1, H, W) tensor captum 0.9.0 is too large by sqrt(M)), and to Quantus's MaxSensitivity without its
      division of every map by its largest value (0.0647 instead of 0.0637 in a test).
    """
    check_count("chunk_size", chunk_size)
    image, near = _check_near(image, near)
    own = as_map(call(map_fn, image), "the map of map_fn")
    return _largest_change(map_fn, own, near, chunk_size)


@compiled
def _largest_change(map_fn: MapFn, own: Array, near: Array, chunk_size: int) -> Array:
    size = norm(own)
    changes = jax.lax.map(lambda z: norm(map_fn(z) - own), near, batch_size=min(chunk_size, len(near)))
    return jnp.max(changes) / jnp.where(size == 0, 1.0, size)


class RelativeStability(NamedTuple):
    """The result of `relative_stability`.

    to_input (RIS), to_output (ROS), to_representation (RRS): () >= 0, lower is more stable; NaN if no neighbour keeps
      the predicted class.
    num_kept: () the number of neighbours that keep it; the others are left out.
    """

    to_input: Array
    to_output: Array
    to_representation: Array
    num_kept: Array


def relative_stability(
    map_fn: MapFn,
    logits_fn: LogitsFn,
    features_fn: Objective,
    image: Array,
    near: Array,
    *,
    minimum: float = 1e-6,
    chunk_size: int = 64,
) -> RelativeStability:
    """The largest relative change of the explanation per change of the input, the output or the representation.

    With e the map, h the logits, L the features and x' the neighbours with the same predicted class,

        RIS = max |(e(x) - e(x')) / e(x)| / max(|(x - x') / x|, minimum)
        ROS = max |(e(x) - e(x')) / e(x)| / max(|h(x) - h(x')|, minimum)
        RRS = max |(e(x) - e(x')) / e(x)| / max(|(L(x) - L(x')) / L(x)|, minimum)

    with L2 norms and elementwise division, by `minimum` where the divisor is 0. This division, part of the definition,
    is its weakness: one black pixel that changes by 0.01 makes |(x - x') / x| 10^4, so that images with many zeros
    have a RIS near 0 whatever the explanation does, and pixels where the map is nearly 0 dominate the numerator.
    Compare models on the same images only, and prefer `max_sensitivity`.

    Args: map_fn: image -> map (H, W) for a fixed class; features_fn: image -> features (F,), such as
      functools.partial(models.features_fn(model), variables); image (H, W, C); near: (M, H, W, C), see `neighbours`;
      minimum: > 0; chunk_size: neighbours in memory at once.
    Raises: InputError for a setting out of range.
    Reference: Agarwal et al. 2022, equations 2, 3 and 5. Quantus 0.6 gives NaN if any neighbour changes its class,
      since it takes `np.max` over values marked NaN; here such neighbours are left out.
    """
    check_positive("minimum", minimum)
    check_count("chunk_size", chunk_size)
    image, near = _check_near(image, near)
    check_output(call(logits_fn, image))
    return _relative_stability(map_fn, logits_fn, features_fn, image, near, minimum, chunk_size)


@compiled
def _relative_stability(
    map_fn: MapFn, logits_fn: LogitsFn, features_fn: Objective, image: Array, near: Array, minimum: Any, chunk_size: int
) -> RelativeStability:
    def relative(of: Array, change: Array) -> Array:
        return norm(change / jnp.where(of == 0, minimum, of))

    own_map, own_features = as_map(map_fn(image), "the map of map_fn"), floating(features_fn(image), "features_fn")
    own_logits = logits_fn(image)

    def one(neighbour: Array) -> tuple[Array, Array, Array, Array]:
        logits = logits_fn(neighbour)
        change = relative(own_map, own_map - map_fn(neighbour))
        divisors = (
            relative(image, image - neighbour),
            norm(own_logits - logits),
            relative(own_features, own_features - features_fn(neighbour)),
        )
        ratios = [change / jnp.maximum(divisor, minimum) for divisor in divisors]
        return ratios[0], ratios[1], ratios[2], jnp.argmax(logits) == jnp.argmax(own_logits)

    *ratios, kept = jax.lax.map(one, near, batch_size=min(chunk_size, len(near)))
    largest = [jnp.where(kept.any(), jnp.max(jnp.where(kept, ratio, 0.0)), jnp.nan) for ratio in ratios]
    return RelativeStability(largest[0], largest[1], largest[2], jnp.sum(kept))
