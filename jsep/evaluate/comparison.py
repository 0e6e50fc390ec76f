"""All metrics of the maps of attacked pairs, and the decomposition of their explanation losses, by name."""

import functools
from collections.abc import Mapping

import jax
import numpy as np

from jsep.checks import InputError, check_count
from jsep.evaluate.metrics import MAP_METRICS, PAIR_METRICS, split_loss
from jsep.evaluate.robustness import PairResults
from jsep.types import Array

# The rows have these three under names of their own.
_OTHER_METRICS = {
    name: metric
    for name, metric in PAIR_METRICS.items()
    if name not in ("explanation_loss", "scale_free_loss", "cosine_similarity")
}

PER_PAIR = (
    "explanation_loss_start",
    "explanation_loss_end",
    "cosine_end",
    "excess_start",
    "excess_end",
    "effective_pixels",
)
"""Metrics whose value is stored for every pair, for tests over pairs and seeds."""


@functools.partial(jax.jit, static_argnames="chunk_size")
def _compare(victim_maps: Array, target_maps: Array, manipulated_maps: Array, chunk_size: int) -> dict[str, Array]:
    def one(maps: tuple[Array, Array, Array]) -> dict[str, Array]:
        victim, target, manipulated = maps
        found = {}
        for when, map_ in (("start", victim), ("end", manipulated)):
            for name, metric in _OTHER_METRICS.items():
                found[f"{name}_{when}"] = metric(map_, target)
            split = split_loss(map_, target)
            found[f"concentration_{when}"] = split.concentration_a
            found["concentration_target"] = split.concentration_b
            found[f"overlap_{when}"] = split.overlap
            found[f"chance_loss_{when}"] = split.chance
            found[f"excess_{when}"] = split.excess
            for name, measure in MAP_METRICS.items():
                found[f"{name}_{when}"] = measure(map_)
        return found

    return jax.lax.map(one, (victim_maps, target_maps, manipulated_maps), batch_size=min(chunk_size, len(victim_maps)))


def compare_maps(
    victim_maps: np.ndarray, target_maps: np.ndarray, manipulated_maps: np.ndarray, *, chunk_size: int = 256
) -> dict[str, np.ndarray]:
    """Every metric of P attacked pairs, by name: (P,) each.

    "_start" compares the victim's map to the target's, "_end" the manipulated image's; for each metric of
    `PAIR_METRICS` but the explanation loss, its multiple and the cosine; those of `MAP_METRICS` of the map itself; and
    of `split_loss`: loss_start = concentration_start + concentration_target - overlap_start, likewise "_end",
    chance_loss (of maps of the same concentration with permuted pixels) and excess (loss / chance_loss).

    Args: the maps, (P, H, W); chunk_size: pairs in memory at once. Raises: InputError for arrays of different shape.
    """
    check_count("chunk_size", chunk_size)
    shapes = {np.shape(maps) for maps in (victim_maps, target_maps, manipulated_maps)}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise InputError(f"expected three arrays of maps (P, H, W) of one shape, got {sorted(shapes)}")
    found = _compare(victim_maps, target_maps, manipulated_maps, chunk_size)
    return {name: np.asarray(values) for name, values in sorted(found.items())}


def describe_pairs(
    results: PairResults, found: Mapping[str, np.ndarray] | None = None, *, chunk_size: int = 256
) -> dict[str, float | dict[str, list[float]]]:
    """The means of `compare_maps` over the pairs, and under "per_pair" single values, as result.json stores them.

    "per_pair" has the values of every pair of the metrics in PER_PAIR. Means of excess are means of ratios: every pair
    counts the same, however concentrated its maps are.
    Args: found: of `compare_maps` on the results, where it has been called already.
    """
    if found is None:
        maps = (results.victim_map, results.target_map, results.manipulated_map)
        found = compare_maps(*(np.asarray(each) for each in maps), chunk_size=chunk_size)
    of_pairs = {
        **found,
        "explanation_loss_start": results.loss_start,
        "explanation_loss_end": results.loss_end,
        "cosine_end": results.cosine_end,
        "effective_pixels": results.effective_pixels,
    }
    # The victim's effective pixels have their place in `PairResults.summary` already.
    means = {name: float(values.mean()) for name, values in found.items() if name != "effective_pixels_start"}
    # Six digits: what float32 has.
    per_pair = {name: [float(f"{value:.6g}") for value in np.asarray(of_pairs[name])] for name in PER_PAIR}
    return {**means, "per_pair": per_pair}
