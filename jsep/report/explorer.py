"""The interactive gallery of a page: single pairs under attack, step by step, by method, map scale and metric."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np

from jsep.plot.draw import CHANGE_COLOURS, MAP_COLOURS
from jsep.record import readable
from jsep.record.run_files import Course, Maps
from jsep.report.map_figures import chosen_pairs
from jsep.report.style import colours, page_colours

MAX_BYTES = 3_000_000
"""Limit on the gallery's data: above it fewer pairs are shown, and then fewer steps."""

NUM_PAIRS = 6
NORMALISATIONS = {"l1": "sums to 1", "max": "largest is 1", "l2": "length 1"}
METRICS = {
    "loss": "explanation loss to the target's map",
    "removed": "share of the loss removed [%]",
    "cosine": "cosine with the target's map",
    "spearman": "rank correlation with the target's map",
    "overlap": "overlap of the largest tenth of pixels [%]",
    "pixels": "effective pixels of the map",
}


def _base64(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()


def _pixels(images: np.ndarray) -> str:
    """Images in [0, 1] as bytes."""
    return _base64(np.rint(255 * np.clip(images, 0, 1)), "u1")


def _maps(maps: np.ndarray) -> dict[str, Any]:
    """Maps (S, H, W) as 16-bit integers, each scaled by its largest entry: exact to 1/32767 of that entry."""
    largest = np.abs(maps).max(axis=(1, 2))
    whole = np.rint(32767 * maps / np.where(largest > 0, largest, 1)[:, None, None])
    return {"values": _base64(whole, "<i2"), "largest": [float(f"{value:.7g}") for value in largest]}


def _fallback(maps: Maps, methods: Sequence[str]) -> Course:
    """A course with start and end only, for runs that recorded no steps."""
    chosen = chosen_pairs(maps, NUM_PAIRS)
    last = max([maps.methods[m]["losses"].shape[1] - 1 for m in methods if "losses" in maps.methods[m]], default=1)
    found = {}
    for method in methods:
        own = maps.methods[method]
        before = own.get("predicted", maps.victim_labels)
        after = own.get("manipulated_predicted", before)
        found[method] = {
            "images": np.stack([maps.victim_images[chosen], own["manipulated"][chosen]], 1),
            "maps": np.stack([own["victim_map"][chosen], own["manipulated_map"][chosen]], 1),
            "predicted": np.stack([before[chosen], after[chosen]], 1),
        }
    return Course(tuple(chosen), (0, max(last, 1)), found)


def explorer_data(maps: Maps, methods: Sequence[str], config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The data that explorer.js shows, at most MAX_BYTES.

    Args:
        maps: the maps of the first seed.
        methods: the methods of the run, in order.
        config: of the run; its map normalisation is selected first.

    Returns:
        A JSON value, or None where no method has maps.
    """
    shown = [method for method in methods if method in maps.methods]
    if not shown:
        return None
    course = maps.course or _fallback(maps, shown)
    shown = [method for method in shown if method in course.methods]
    height, width, channels = maps.victim_images.shape[1:]
    per_step = 4 / 3 * len(shown) * height * width * (channels + 2)
    places = list(range(min(len(course.pairs), NUM_PAIRS, max(1, int(MAX_BYTES / (per_step * len(course.steps)))))))
    every = max(1, -(-len(course.steps) * len(places) * int(per_step) // MAX_BYTES))
    kept = sorted({*range(0, len(course.steps), every), len(course.steps) - 1})
    colour = colours(methods)
    attacks: dict[str, list[dict[str, Any]]] = {}
    for method in shown:
        own = course.methods[method]
        attacks[method] = []
        for place in places:
            images = own["images"][place][kept]
            change = np.abs(images - images[0]).reshape(len(kept), -1).max(axis=1)
            attacks[method].append(
                {
                    "images": _pixels(images),
                    "maps": _maps(own["maps"][place][kept]),
                    "target": _maps(maps.methods[method]["target_map"][course.pairs[place]][None]),
                    "predicted": [maps.class_name(int(label)) for label in own["predicted"][place][kept]],
                    "change": [round(float(value), 4) for value in change],
                }
            )
    pairs = [course.pairs[place] for place in places]
    return {
        "size": [height, width, channels],
        "steps": [course.steps[index] for index in kept],
        "whole": maps.course is not None,
        "normalize": str(config.get("map_normalize", "l1")),
        "methods": [
            {"name": method, "title": readable(method), "colour": page_colours(colour[method])} for method in shown
        ],
        "pairs": [
            {
                "victim": maps.class_name(int(maps.victim_labels[pair])),
                "target": maps.class_name(int(maps.target_labels[pair])),
                "image": _pixels(maps.target_images[pair]),
            }
            for pair in pairs
        ],
        "attacks": attacks,
        "palettes": {"map": _palette(MAP_COLOURS), "change": _palette(CHANGE_COLOURS)},
    }


def _palette(name: str, count: int = 64) -> list[list[int]]:
    return [[round(255 * part) for part in matplotlib.colormaps[name](i / (count - 1))[:3]] for i in range(count)]


def scales_of(data: Mapping[str, Any]) -> dict[str, str]:
    """The map scales to choose from, that of the run first."""
    own = data["normalize"]
    known = ({"none": "raw"} if own == "none" else {}) | NORMALISATIONS
    return {key: known[key] for key in sorted(known, key=lambda key: key != own)}
