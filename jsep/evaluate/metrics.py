"""The map metrics by name."""

from collections.abc import Callable

import jax.numpy as jnp

from jsep.evaluate.concentration import LossSplit, effective_pixels, entropy, gini, split_loss
from jsep.evaluate.distances import (
    cosine_similarity,
    earth_movers_distance,
    explanation_loss,
    pearson,
    relative_reduction,
    scale_free_loss,
    ssim,
    unit_l2_distance,
)
from jsep.evaluate.ranks import kendall, spearman, top_k_intersection, top_k_near
from jsep.types import Array

PAIR_METRICS: dict[str, Callable[[Array, Array], Array]] = {
    "explanation_loss": explanation_loss,
    "scale_free_loss": scale_free_loss,
    "unit_l2_distance": unit_l2_distance,
    "earth_movers_distance": earth_movers_distance,
    "cosine_similarity": cosine_similarity,
    "pearson": pearson,
    "ssim": ssim,
    "spearman": spearman,
    "kendall": kendall,
    "top_k_intersection": lambda map_a, map_b: top_k_intersection(map_a, map_b, max(1, jnp.size(map_a) // 10)),
    "top_k_near": lambda map_a, map_b: top_k_near(map_a, map_b, max(1, jnp.size(map_a) // 10)),
}
"""Functions of two (H, W) maps; the top-k ones use k = a tenth of the pixels. Those in DISTANCES fall with
similarity."""

DISTANCES = ("explanation_loss", "scale_free_loss", "unit_l2_distance", "earth_movers_distance")
"""The pair metrics that are 0 for equal maps; the others are 1 for equal maps."""

MAP_METRICS: dict[str, Callable[[Array], Array]] = {
    "effective_pixels": effective_pixels,
    "gini": gini,
    "entropy": entropy,
}
"""Functions of one (H, W) map that measure its concentration."""

__all__ = [
    "DISTANCES",
    "MAP_METRICS",
    "PAIR_METRICS",
    "LossSplit",
    "cosine_similarity",
    "earth_movers_distance",
    "effective_pixels",
    "entropy",
    "explanation_loss",
    "gini",
    "kendall",
    "pearson",
    "relative_reduction",
    "scale_free_loss",
    "spearman",
    "split_loss",
    "ssim",
    "top_k_intersection",
    "top_k_near",
    "unit_l2_distance",
]
