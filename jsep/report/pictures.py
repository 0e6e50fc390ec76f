"""The pictures of the page, each with its caption and with the words for those who cannot see it."""

import dataclasses
import re
from collections.abc import Sequence

from matplotlib.figure import Figure

from jsep.record import summarise
from jsep.report import curves, panels
from jsep.report.records import Maps, Run
from jsep.report.split import loss_split
from jsep.report.style import to_png


@dataclasses.dataclass(frozen=True)
class Picture:
    """One figure of the page.

    Attributes:
        file: its name in the run directory.
        heading: its heading on the page.
        alt: what it shows, for those who cannot see it.
        caption: what to look for and how it was computed.
        data: the PNG.
        width: its natural width on a page, in CSS pixels.
    """

    file: str
    heading: str
    alt: str
    caption: str
    data: bytes
    width: int


def _picture(file: str, heading: str, alt: str, caption: str, figure: Figure) -> Picture:
    # 96 CSS pixels an inch: text of a figure is then as large as the text of the page.
    return Picture(file, heading, alt, caption, to_png(figure), round(96 * figure.get_figwidth()))


def draw(run: Run) -> list[Picture]:
    """Draws every picture that the files of a run allow.

    Args:
        run: what was read from the run directory.

    Returns:
        The pictures, in the order of the page.
    """
    rows = run.result["rows"]
    summaries = summarise(rows)
    methods = [summary["method"] for summary in summaries]
    names = ", ".join(methods)
    seeds = max(summary["num_seeds"] for summary in summaries)
    spread = (
        f"bars: one standard deviation over {seeds} seeds; ticks below: the single seeds"
        if seeds > 1
        else "one seed, so no error bars"
    )
    pictures = [
        _picture(
            "overview.png",
            "The answer at one look",
            f"Dot chart of explanation loss, accuracy, effective pixels and cosine for {names}; the numbers "
            "are those of the table.",
            "What to look for: whether the end of the explanation loss moves while the robust accuracy "
            "does not. Hollow: before the attack (clean accuracy); filled: after it (robust accuracy); "
            f"{spread}. The percentage is the change from start to end. The third panel shows what confounds "
            "the loss: a map on fewer effective pixels has a higher loss against any target. The fourth, the "
            "cosine, tells how close the attack came whatever the size of the loss.",
            curves.overview(summaries, rows),
        )
    ]
    figure = loss_split(summaries)
    if figure is not None:
        pictures.append(
            _picture(
                "split.png",
                "Harder to manipulate, or only more concentrated?",
                f"Bars of the explanation loss and its parts at start and end for {names}; the numbers are those of "
                "the table of concentration and overlap.",
                "A whole bar is what the concentration of the two maps alone would give as loss, Σ map² / N of each; "
                "the pale end is what their overlap takes away; the rest is the loss. The upright line is chance: the "
                "loss to be expected of the same two maps with permuted pixels. Beside each bar the mean over the "
                "pairs of 1 − concordance: a method that only concentrates its maps has longer bars and the same "
                "ratio; one that is harder to manipulate keeps a higher ratio at the end.",
                figure,
            )
        )
    if run.maps is not None:
        pictures += _draw_maps(run.maps, methods)
    figure = curves.training_curves(run.metrics, methods)
    if figure is not None:
        pictures.append(
            _picture(
                "training.png",
                "Training",
                f"Curves against the epoch for {names}: training loss, accuracy under attack, validation "
                "accuracies and, for the methods with a SEP term, the term and its gradient ratio.",
                "Thick: mean over the seeds; thin: single seeds. Training values are means over an epoch, "
                "measured on the adversarial batch. The SEP term is the mean squared change of the map "
                "under noise ζ; the last panel is the norm of its weighted gradient over that of the "
                "adversarial loss: far below 1 the term hardly steers training, far above 1 it drowns the "
                "classification.",
                figure,
            )
        )
    return pictures


def _draw_maps(maps: Maps, methods: Sequence[str]) -> list[Picture]:
    shown = [method for method in methods if method in maps.methods]
    if not shown:
        return []
    num_pairs = len(maps.victim_images)
    pictures = [
        _picture(
            "explanations.png",
            "Explanation maps side by side",
            f"Grid of pictures: in each row one image and its explanation map by {', '.join(shown)}, with "
            "the effective pixels of each map.",
            "Images in the rows, the map of each method in the columns (Figure 4 of the paper), first "
            "seed, before any attack. One colour scale a row, in % of the map that "
            "lies on a pixel, by its square root. Below each map its effective pixels, 1 / Σ map², of "
            f"{maps.num_pixels}: fewer means a more concentrated map. The images are the first of each "
            "class in the list of pairs, not chosen by their maps.",
            panels.explanations(maps, shown),
        )
    ]
    used: set[str] = set()
    for method in shown:
        name = re.sub(r"[^A-Za-z0-9_+-]+", "-", method)[:60] or "method"
        while name in used:
            name += "-"
        used.add(name)
        losses = [
            (
                panels.loss(maps.methods[method]["victim_map"][i], maps.methods[method]["target_map"][i]),
                panels.loss(maps.methods[method]["manipulated_map"][i], maps.methods[method]["target_map"][i]),
            )
            for i in range(num_pairs)
        ]
        closer = sum(after < before for before, after in losses)
        pictures.append(
            _picture(
                f"attack_{name}.png",
                f"The attack on the explanations of {method}",
                "Rows of victim image, target image, manipulated image, amplified difference and the maps "
                f"of the three, for {method}.",
                "The attack (Figure 1a of the paper) changes the victim until its map resembles that of "
                f"the target while the prediction stays. Here it brings the map closer in {closer} of "
                f"{num_pairs} pairs of the first seed. Difference: manipulated minus victim, mean over "
                "channels, orange lower and purple higher, amplified by the factor above it, which is the "
                "same for all methods; its scale is in pixel units (images are in [0, 1]). The three maps "
                "of a row share one colour scale, in % of the map, by its square root. Losses × 1e-7. The "
                "pairs are the first of each victim class, the same for every method.",
                panels.attack_panel(maps, method),
            )
        )
    figure = curves.attack_course(maps, shown)
    if figure is not None:
        pictures.append(
            _picture(
                "attack_course.png",
                "The course of the attack",
                f"Curves of the explanation loss against the step of the attack for {', '.join(shown)}.",
                f"Explanation loss to the target at each step, median over {num_pairs} pairs of the first "
                "seed; band: 10 to 90 % of the pairs. A curve that still falls at the end means that the "
                "attack has not converged and that the loss at the end is too high.",
                figure,
            )
        )
    return pictures
