"""Statistics of a saliency under Gaussian noise on the image."""

from typing import Any

import jax
import jax.numpy as jnp

from jsep.checks import InputError, check_count, check_positive
from jsep.explain.entry import explanation_method
from jsep.explain.gradient import gradient
from jsep.explain.sampling import check_key, map_in_chunks
from jsep.map_checks import floating
from jsep.types import Array, Key, LogitsFn, SaliencyFn


def _noisy(
    method: str,
    key: Key | None,
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    sigma: Any,
    num_samples: int,
    saliency: SaliencyFn,
    chunk_size: int,
) -> Array:
    """Saliencies of noisy images, (num_samples, H, W, C)."""
    checked = check_key(key, method)
    check_positive("sigma", sigma, allow_zero=True)
    check_count("num_samples", num_samples)

    def one(key: Key) -> Array:
        found = saliency(logits_fn, image + sigma * jax.random.normal(key, image.shape, image.dtype), label)
        if floating(found, "saliency").shape[:-1] != image.shape[:2]:
            raise InputError(f"saliency must return (H, W, C) like the image {image.shape}, got {found.shape}")
        return found

    return map_in_chunks(one, jax.random.split(checked, num_samples), chunk_size)


@explanation_method
def smooth_grad(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    *,
    key: Key | None = None,
    sigma: Any = 0.1,
    num_samples: int = 32,
    saliency: SaliencyFn = gradient,
    chunk_size: int = 8,
) -> Array:
    """The mean saliency under noise, E s(x + sigma zeta), zeta ~ N(0, 1).

    Args:
      logits_fn, image, label: as `gradient`.
      key: for the noise; required. The same key gives the same noise, so that the saliency is a deterministic function
        of the image, which an attack can descend.
      sigma: standard deviation of the noise, pixel units, >= 0. Noisy images are not clipped.
      num_samples: number of noisy images.
      saliency: the saliency that is averaged.
      chunk_size: noisy images in memory at once.

    Returns: as `saliency`; differentiable in the image and the parameters.
    Raises: InputError as in `score`, without a key, or for a count or sigma out of range.
    Reference: Smilkov et al. 2017.
    """
    return jnp.mean(
        _noisy("smooth_grad", key, logits_fn, image, label, sigma, num_samples, saliency, chunk_size), axis=0
    )


@explanation_method
def smooth_grad_squared(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    *,
    key: Key | None = None,
    sigma: Any = 0.1,
    num_samples: int = 32,
    saliency: SaliencyFn = gradient,
    chunk_size: int = 8,
) -> Array:
    """The mean squared saliency under noise, E s(x + sigma zeta)^2.

    Args, Returns, Raises: as `smooth_grad`; non-negative. Reference: Hooker et al. 2019.
    """
    return jnp.mean(
        _noisy("smooth_grad_squared", key, logits_fn, image, label, sigma, num_samples, saliency, chunk_size) ** 2,
        axis=0,
    )


@explanation_method
def var_grad(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    *,
    key: Key | None = None,
    sigma: Any = 0.1,
    num_samples: int = 32,
    saliency: SaliencyFn = gradient,
    chunk_size: int = 8,
) -> Array:
    """The variance of the saliency under noise, E (s - E s)^2, over the samples drawn (divisor num_samples).

    Args, Returns, Raises: as `smooth_grad`; non-negative. Reference: Adebayo et al. 2018, appendix.
    """
    return jnp.var(_noisy("var_grad", key, logits_fn, image, label, sigma, num_samples, saliency, chunk_size), axis=0)
