"""From a raw saliency to an explanation map: channel reduction and normalisation."""

import dataclasses

import jax
import jax.numpy as jnp

from jsep.checks import InputError, check_choice
from jsep.numerics import absolute, norm, to_single
from jsep.types import Array

REDUCTIONS = ("abs_sum", "sum", "max", "norm")
"""Reductions of the channels of a saliency to one value."""

NORMALIZATIONS = ("l1", "l2", "max", "none")
"""Norms by which a map is divided."""

ON_ZERO = ("uniform", "error")


def _check_values(saliency: Array, normalize: str, on_zero: str) -> None:
    """The checks that need concrete values."""
    if isinstance(saliency, jax.core.Tracer):
        return
    if not bool(jnp.all(jnp.isfinite(saliency))):
        raise InputError("saliency has values that are not finite: look at the model's parameters and at the image")
    if on_zero == "error" and normalize != "none" and not bool(jnp.any(saliency != 0)):
        raise InputError(
            f"saliency is zero everywhere, which no {normalize} normalisation scales; pass on_zero='uniform' for the "
            "uniform map"
        )


def explanation_map(
    saliency: Array, *, reduce: str = "abs_sum", normalize: str = "l1", on_zero: str = "uniform"
) -> Array:
    """The explanation map I of a saliency s: I = r / ||r||, with r the reduction of s over its channels.

    >>> import jax.numpy as jnp
    >>> from jsep import explain
    >>> explain.explanation_map(jnp.array([[[1.0], [-3.0]]])).tolist()
    [[0.25, 0.75]]

    Args:
      saliency: (H, W, C), raw and signed.
      reduce: "abs_sum" (sum_c |s_c|, used in the paper and by Dombrowski et al.), "sum" (signed), "max" (max_c |s_c|)
        or "norm" (Euclidean over the channels).
      normalize: "l1" (sum |I| = 1; with "abs_sum" the map is non-negative and sums to 1), "l2", "max" or "none".
      on_zero: result for a saliency that is zero everywhere: "uniform", the uniform map of the chosen norm, or "error".

    Returns: (H, W). Under jit no value can raise: a zero saliency then gives the uniform map whatever `on_zero` is, and
      a saliency with NaN a map of NaN, at which training and evaluation stop.
    Raises: InputError for an unknown reduction, normalisation or `on_zero`, a saliency that is not (H, W, C) or not
      finite, or a zero one with on_zero="error".
    Reference: Dombrowski et al. 2019, section 2; PAPER Definition 1 compares two such maps.
    """
    check_choice("channel reduction", reduce, REDUCTIONS)
    check_choice("map normalisation", normalize, NORMALIZATIONS)
    check_choice("on_zero", on_zero, ON_ZERO)
    saliency = jnp.asarray(saliency)
    if saliency.ndim != 3 or 0 in saliency.shape:
        raise InputError(f"saliency must be (H, W, C), got shape {saliency.shape}; for a batch use jax.vmap")
    if not jnp.issubdtype(saliency.dtype, jnp.floating):
        raise InputError(f"saliency must be floating point, got dtype {saliency.dtype}")
    _check_values(saliency, normalize, on_zero)
    return _map(to_single(saliency), reduce, normalize).astype(saliency.dtype)


def _map(saliency: Array, reduce: str, normalize: str) -> Array:
    if reduce == "abs_sum":
        reduced = jnp.sum(absolute(saliency), axis=-1)
    elif reduce == "sum":
        reduced = jnp.sum(saliency, axis=-1)
    elif reduce == "max":
        reduced = jnp.max(absolute(saliency), axis=-1)
    else:
        reduced = norm(saliency, axis=-1)
    if normalize == "none":
        return reduced
    uniform = jnp.ones_like(reduced)
    if normalize == "l1":
        total, total_uniform = jnp.sum(absolute(reduced)), reduced.size
    elif normalize == "l2":
        total, total_uniform = norm(reduced), reduced.size**0.5
    else:
        total, total_uniform = jnp.max(absolute(reduced)), 1
    is_zero = total == 0
    # Both branches of where are differentiated, so the divisor must be non-zero in the branch not taken.
    return jnp.where(is_zero, uniform / total_uniform, reduced / jnp.where(is_zero, 1.0, total))


@dataclasses.dataclass(frozen=True)
class MapConfig:
    """The settings of `explanation_map` as one value, recorded with every result, since conclusions depend on them.

    reduce, normalize, on_zero: see `explanation_map`.
    Raises: InputError for an unknown choice.
    """

    reduce: str = "abs_sum"
    normalize: str = "l1"
    on_zero: str = "uniform"

    def __post_init__(self) -> None:
        check_choice("channel reduction", self.reduce, REDUCTIONS)
        check_choice("map normalisation", self.normalize, NORMALIZATIONS)
        check_choice("on_zero", self.on_zero, ON_ZERO)

    def __call__(self, saliency: Array) -> Array:
        """saliency (H, W, C) -> map (H, W)."""
        return explanation_map(saliency, reduce=self.reduce, normalize=self.normalize, on_zero=self.on_zero)
