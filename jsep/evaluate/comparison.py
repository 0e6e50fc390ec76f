"""All map metrics of attacked pairs, and the decomposition of their explanation losses, by name."""

import functools
from collections.abc import Mapping

import jax
import numpy as np

from jsep.checks import InputError, check_count, check_pixels
from jsep.evaluate.metric import OTHER, SPLIT, loss, minor, percent, plain, register
from jsep.evaluate.metrics import MAP_METRICS, PAIR_METRICS, split_loss
from jsep.evaluate.robustness import PairResults
from jsep.types import Array

# Rows hold the other three under names of their own.
_OTHER_METRICS = {
    name: metric
    for name, metric in PAIR_METRICS.items()
    if name not in ("explanation_loss", "scale_free_loss", "cosine_similarity")
}

PER_PAIR = (
    "explanation_loss_start",
    "explanation_loss_end",
    "cosine_end",
    "one_minus_concordance_start",
    "one_minus_concordance_end",
    "effective_pixels",
)
"""Metrics stored for every pair, for tests over pairs and seeds."""


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
            found[f"one_minus_concordance_{when}"] = split.one_minus_concordance
            for name, measure in MAP_METRICS.items():
                found[f"{name}_{when}"] = measure(map_)
        return found

    return jax.lax.map(one, (victim_maps, target_maps, manipulated_maps), batch_size=min(chunk_size, len(victim_maps)))


def compare_maps(
    victim_maps: np.ndarray, target_maps: np.ndarray, manipulated_maps: np.ndarray, *, chunk_size: int = 256
) -> dict[str, np.ndarray]:
    """Every metric of P attacked pairs, by name: (P,) each.

    "<metric>_start" compares the victim's map with the target map, "<metric>_end" the manipulated image's map. The
    metrics are those of `PAIR_METRICS` without explanation_loss, scale_free_loss and cosine_similarity; those of
    `MAP_METRICS`, of the map itself; and those of `split_loss`: loss_start = concentration_start + concentration_target
    - overlap_start, likewise "_end", chance_loss (expected for permuted pixels) and one_minus_concordance (loss /
    chance_loss).

    Args: the maps, (P, H, W); chunk_size: pairs in memory at once. Raises: InputError for arrays of different shape.
    """
    check_count("chunk_size", chunk_size)
    shapes = {np.shape(maps) for maps in (victim_maps, target_maps, manipulated_maps)}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise InputError(f"expected three arrays of maps (P, H, W) of one shape, got {sorted(shapes)}")
    for name, maps in (("victim", victim_maps), ("target", target_maps), ("manipulated", manipulated_maps)):
        check_pixels(maps, f"{name}_maps", in_box=False)
    found = _compare(victim_maps, target_maps, manipulated_maps, chunk_size)
    return {name: np.asarray(values) for name, values in sorted(found.items())}


def describe_pairs(
    results: PairResults, found: Mapping[str, np.ndarray] | None = None, *, chunk_size: int = 256
) -> dict[str, float | dict[str, list[float]]]:
    """The means of `compare_maps` over the pairs, and under "per_pair" the values of every pair, as in result.json.

    "per_pair" holds the metrics in PER_PAIR. The mean of one_minus_concordance is a mean of ratios: every pair has the
    same weight, however concentrated its maps are. A failed pair is left out of the means, and NaN in "per_pair".
    Args: found: the output of `compare_maps` on these results, if already computed.
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
    kept = ~np.asarray(results.failed, bool)
    # `PairResults.summary` already holds the victim's effective pixels.
    means = {name: float(values[kept].mean()) for name, values in found.items() if name != "effective_pixels_start"}
    # Six digits: the precision of float32.
    known = {name: np.where(kept, np.asarray(of_pairs[name]), np.nan) for name in PER_PAIR}
    per_pair = {name: [float(f"{value:.6g}") for value in values] for name, values in known.items()}
    return {**means, "per_pair": per_pair}


register(
    plain("one_minus_concordance_start", "1 − concordance start", SPLIT,
        "Explanation loss before the attack over the loss expected of the same two maps with the pixels of "
        "one permuted at random: equally concentrated, no relation of place. 1: as far apart as unrelated "
        "maps; 0: equal."),
    plain("one_minus_concordance_end", "1 − concordance end", SPLIT,
        "The same after the attack. Higher: harder to manipulate, whatever the concentration of the maps.", 1),
    loss("concentration_start", "victim", SPLIT,
        "Σ map² / N of the victim's map: its own part of the loss, high for a concentrated map whatever the "
        "target. Loss = victim + target − overlap."),
    loss("concentration_end", "manipulated", SPLIT,
        "The same of the manipulated image's map. Loss at end = manipulated + target − overlap end."),
    loss("chance_loss_start", "chance start", SPLIT,
        "The loss to be expected of the same two maps with the pixels of one permuted at random: what "
        "concentration alone gives. Before the attack."),
    loss("chance_loss_end", "chance end", SPLIT,
        "The same after the attack."),
    loss("concentration_target", "target", SPLIT,
        "The same of the target's map."),
    loss("overlap_start", "overlap start", SPLIT,
        "2 Σ victim · target / N: what the two maps share before the attack."),
    loss("overlap_end", "overlap end", SPLIT,
        "The same at the end of the attack."),
    plain("spearman_start", "Spearman start", OTHER,
        "Rank correlation of the pixels of the victim's and the target's map."),
    plain("spearman_end", "Spearman end", OTHER,
        "The same after the attack.", -1),
    plain("ssim_start", "SSIM start", OTHER,
        "Structural similarity of the two maps before the attack."),
    plain("ssim_end", "SSIM end", OTHER,
        "The same after the attack.", -1),
    percent("top_k_near_start", "top 10 % near, start", OTHER,
        "Share of the victim's largest tenth of pixels that have one of the target's within a pixel."),
    percent("top_k_near_end", "top 10 % near, end", OTHER,
        "The same after the attack.", -1),
    plain("earth_movers_distance_start", "EMD start", OTHER,
        "Sliced earth mover's distance: how far the mass of the victim's map has to go, in pixels, seen along "
        "a line.", unit="px", decimals=2),
    plain("earth_movers_distance_end", "EMD end", OTHER,
        "The same after the attack.", 1, unit="px", decimals=2),
)  # fmt: skip

register(
    *(
        minor(f"{name}_{when}", f"{words} {when}", OTHER, f"{meaning}, {of} the attack.", better * (when == "end"))
        for name, words, meaning, better in (
            ("pearson", "Pearson", "Correlation of the pixels of the two maps", -1),
            ("kendall", "Kendall", "Kendall's rank correlation of the pixels of the two maps", -1),
            ("top_k_intersection", "top 10 %", "Share of the largest tenth of pixels that two maps have in common", -1),
            ("unit_l2_distance", "distance of unit maps", "Euclidean distance of the two maps scaled to length 1", 1),
            ("gini", "Gini index", "Inequality of the pixels of the map", 0),
            ("entropy", "entropy", "Entropy of the map over its pixels in nats", 0),
        )
        for when, of in (("start", "before"), ("end", "after"))
    ),
    minor("effective_pixels_end", "effective pixels end", SPLIT, "Effective pixels of the manipulated image's map."),
)
