"""Figures of images and maps: the maps of all methods, the attack on single pairs."""

import re
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from jsep import evaluate
from jsep.evaluate import LOSS_UNIT
from jsep.record import readable
from jsep.record.run_files import Maps
from jsep.report.formatting import minus, significant
from jsep.report.image_grid import Layout, Tile, class_words, first_of_each_class, image_grid
from jsep.report.style import NamedFigure, in_two_lines


def map_figures(maps: Maps, methods: Sequence[str]) -> list[NamedFigure]:
    """The figures of the images and maps of the first seed."""
    having = [method for method in methods if method in maps.methods]
    if not having:
        return []
    num_pairs = len(maps.victim_images)
    found = [
        NamedFigure(
            "explanations",
            "Explanation maps side by side",
            f"Grid of pictures: in each row one image and its explanation map by {'; '.join(map(readable, having))}, "
            "with the effective pixels of each map.",
            "Images in the rows, the map of each method in the columns (Figure 4 of the paper), first "
            "seed, before any attack. One colour scale a row, in % of the map that "
            "lies on a pixel, by its square root. Below each map its effective pixels, 1 / Σ map², of "
            f"{maps.num_pixels}: fewer means a more concentrated map. The images are the first of each "
            "class in the list of pairs, not chosen by their maps.",
            explanations(maps, having),
        )
    ]
    for name, method in _file_names(having).items():
        own = maps.methods[method]
        before, after = (_losses(own[key], own["target_map"]) for key in ("victim_map", "manipulated_map"))
        closer = int((after < before).sum())
        found.append(
            NamedFigure(
                f"attack_{name}",
                f"The attack on the explanations of {readable(method)}",
                f"Rows of victim image, target image, manipulated image, amplified difference and the maps "
                f"of the three, for {readable(method)}.",
                "The attack (Figure 1a of the paper) changes the victim until its map resembles that of "
                "the target while the prediction stays. Here it brings the map closer in "
                f"{closer} of "
                f"{num_pairs} pairs of the first seed. Difference: manipulated minus victim, mean over "
                "channels, orange lower and purple higher, amplified by the factor above it, which is the "
                "same for all methods; its scale is in pixel units (images are in [0, 1]). The three maps "
                f"of a row share one colour scale, in % of the map, by its square root. Losses in {LOSS_UNIT}. The "
                "pairs are the first of each victim class, the same for every method.",
                attack_panel(maps, method),
            )
        )
    return found


def _file_names(methods: Sequence[str]) -> dict[str, str]:
    """File name -> method: names of letters, digits, '+', '-' and '_', all different."""
    names: dict[str, str] = {}
    for method in methods:
        name = re.sub(r"[^A-Za-z0-9_+-]+", "-", method)[:60] or "method"
        while name in names:
            name += "-"
        names[name] = method
    return names


def _losses(maps: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.array(
        [float(evaluate.explanation_loss(jnp.asarray(a), jnp.asarray(b))) for a, b in zip(maps, targets, strict=True)]
    )


def _pixels(explanation: np.ndarray) -> str:
    return f"{float(evaluate.effective_pixels(jnp.asarray(explanation))):.1f} eff. px"


def chosen_pairs(maps: Maps, count: int) -> list[int]:
    """The pairs to show, at most `count`: the first victims of each class that every model classifies correctly."""
    correct = [own["predicted"] == maps.victim_labels for own in maps.methods.values() if "predicted" in own]
    among = np.all(correct, axis=0) if correct else None
    return first_of_each_class(maps.victim_labels, maps.victim_images, count, among)


def explanations(maps: Maps, methods: Sequence[str], *, num_rows: int = 6) -> Figure:
    """One row for each image: the image, then the map of each method (Figure 4 of the paper)."""
    rows = []
    for index in chosen_pairs(maps, num_rows):
        own = [maps.methods[method]["victim_map"][index] for method in methods]
        name = class_words(maps.class_name(int(maps.victim_labels[index])))
        rows.append(
            [Tile(maps.victim_images[index], "image", name), *(Tile(each, "map", _pixels(each)) for each in own)]
        )
    titles = ["image", *(in_two_lines(readable(method), 20) for method in methods)]
    layout = Layout(top=0.48) if any("\n" in title for title in titles) else Layout()
    return image_grid(rows, titles=titles, layout=layout)


def attack_panel(maps: Maps, method: str, *, num_rows: int = 4) -> Figure:
    """The attack on the maps of one method (Figure 1a of the paper): images, amplified difference, maps."""
    own = maps.methods[method]
    scale = evaluate.METRICS["explanation_loss_end"].of_maps(maps.num_pixels).scale
    chosen = chosen_pairs(maps, num_rows)
    limit = max(float(np.nanmax(np.abs(_change(maps, each, index)))) for each in maps.methods for index in chosen)
    rows = []
    for index in chosen:
        victim, target, manipulated = (own[key][index] for key in ("victim_map", "target_map", "manipulated_map"))
        before, after = (
            float(evaluate.explanation_loss(jnp.asarray(each), jnp.asarray(target))) for each in (victim, manipulated)
        )
        removed = minus(f"({100 * (after - before) / before:+.0f} %)") if before > 0 else ""
        # The largest change of a single channel: this is what an linf ball bounds.
        change = float(np.nanmax(np.abs(np.asarray(own["manipulated"][index], float) - maps.victim_images[index])))
        known, prediction, lost = _predictions(maps, method, index)
        rows.append(
            [
                Tile(maps.victim_images[index], "image", known),
                Tile(maps.target_images[index], "image", class_words(maps.class_name(int(maps.target_labels[index])))),
                Tile(own["manipulated"][index], "image", prediction, lost),
                Tile(_change(maps, method, index), "change", f"largest change {change:.2g}"),
                Tile(victim, "map", f"loss {significant(scale * before)} {LOSS_UNIT}\nto the target"),
                Tile(target, "map"),
                Tile(manipulated, "map", f"loss {significant(scale * after)} {LOSS_UNIT}\n{removed}"),
            ]
        )
    titles = (
        "victim", "target", "manipulated", f"difference ×{1 / limit:.3g}" if limit > 0 else "difference",
        "map of victim", "map of target", "map after attack",
    )  # fmt: skip
    return image_grid(rows, titles=titles, limit=limit, layout=Layout(below=0.5))


def _change(maps: Maps, method: str, index: int) -> np.ndarray:
    change = np.asarray(maps.methods[method]["manipulated"][index], np.float64) - maps.victim_images[index]
    return change.mean(axis=-1)


def _predictions(maps: Maps, method: str, index: int) -> tuple[str, str, bool]:
    """The true class and the prediction of the victim, the prediction of the manipulated image, and whether the attack
    changed it."""
    own = maps.methods[method]
    true = class_words(maps.class_name(int(maps.victim_labels[index])))
    before, after = (
        class_words(maps.class_name(int(own[key][index]))) if key in own else ""
        for key in ("predicted", "manipulated_predicted")
    )
    known = f"true {true}" + (f",\npredicted {before}" if before else "")
    lost = bool(before and after and before != after)
    return known, (f"predicted {after}" if after else "") + (",\nnot kept" if lost else ""), lost
