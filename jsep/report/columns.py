"""How each metric is shown: heading, unit, digits and meaning, in one place for every table and page."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jsep.report.later_columns import TRAINING_COLUMNS, WORTH_COLUMNS
from jsep.report.summary import as_number

MISSING = "–"
"""Shown for a value that is not there."""

LOSS_SCALE = 1e7
"""Explanation losses are shown x 1e-7, as in the paper."""


def degraded_meaning(result: Mapping[str, Any]) -> str:
    """What the mark of a degraded model means in this result."""
    reference = result.get("reference")
    return (
        f"clean accuracy more than 5 points below {'MAT' if reference in (None, 'mat') else reference}'s: a broken "
        "classifier; its explanation loss is no sign of robustness"
    )


@dataclasses.dataclass(frozen=True)
class Column:
    """One metric of a table.

    Attributes:
        key: its name in the rows of result.json.
        heading: its name in a table.
        unit: the unit of the shown number, "" for none.
        scale: shown number = scale * number.
        decimals: digits after the point; None: so that the smallest entry keeps three significant digits.
        group: the part of the table it belongs to.
        meaning: one or two sentences for a reader who sees it for the first time.
    """

    key: str
    heading: str
    unit: str
    scale: float
    decimals: int | None
    group: str
    meaning: str

    @property
    def title(self) -> str:
        """Heading and unit in one line."""
        return f"{self.heading} [{self.unit}]" if self.unit else self.heading


PAPER, SCALE_FREE = "as in the paper", "free of the scale of the map"
SPLIT, OTHER = "concentration and overlap", "other ways to compare the maps"
TRAINING = "maps under noise, best and last checkpoint"
WORTH = "what the maps and the accuracy are worth"
LATER_GROUPS = (SPLIT, OTHER, TRAINING, WORTH)
"""Groups that older results do not have; a table leaves them out where no method fills them."""

COLUMNS = (
    Column(
        "sep_weight",
        "SEP weight",
        "",
        1.0,
        None,
        PAPER,
        "λ of the paper, the factor of the SEP term in the training loss: positive flattens the "
        "explanation-loss landscape, negative sharpens it, 0 is plain adversarial training (MAT).",
    ),
    Column(
        "clean_accuracy",
        "clean acc.",
        "%",
        100.0,
        1,
        PAPER,
        "Share of the test images that are classified correctly, without any attack.",
    ),
    Column(
        "robust_accuracy",
        "robust acc.",
        "%",
        100.0,
        1,
        PAPER,
        "Share of the test images that are still classified correctly under the attack on the prediction. "
        "Higher: classification is more robust.",
    ),
    Column(
        "explanation_loss_start",
        "loss at start",
        "1e-7",
        LOSS_SCALE,
        None,
        PAPER,
        "Explanation loss before the attack on the explanation: the mean squared difference between the "
        "maps of the victim and of the target image, averaged over the pairs. A shown 5.8 is 5.8e-7.",
    ),
    Column(
        "explanation_loss_end",
        "loss at end",
        "1e-7",
        LOSS_SCALE,
        None,
        PAPER,
        "The same loss after the attack: what the attacker could not remove. Higher: the paper calls the "
        "explanation more robust.",
    ),
    Column(
        "label_kept",
        "label kept",
        "%",
        100.0,
        1,
        PAPER,
        "Share of the manipulated images whose predicted class is that of the victim. The attack is meant "
        "to move the map and not the prediction.",
    ),
    Column(
        "sep_weight_scale_free",
        "SEP weight /N²·MSE",
        "",
        1.0,
        None,
        SCALE_FREE,
        "The SEP weight per unit of N²·MSE: the same training pressure at any image size.",
    ),
    Column(
        "scale_free_loss_start",
        "N²·MSE start",
        "",
        1.0,
        None,
        SCALE_FREE,
        "Explanation loss at the start times N², N the number of pixels: about 2 for two unrelated maps "
        "that use all pixels, at any image size.",
    ),
    Column("scale_free_loss_end", "N²·MSE end", "", 1.0, None, SCALE_FREE, "The same at the end of the attack."),
    Column(
        "relative_reduction",
        "removed",
        "%",
        100.0,
        1,
        SCALE_FREE,
        "Share of its own starting loss that the attack removes, (start - end) / start. Lower: harder to "
        "manipulate, whatever the size of the loss.",
    ),
    Column(
        "cosine_start",
        "cosine start",
        "",
        1.0,
        3,
        SCALE_FREE,
        "Cosine between the maps of victim and target before the attack; 1 is the same map.",
    ),
    Column(
        "cosine_end",
        "cosine end",
        "",
        1.0,
        3,
        SCALE_FREE,
        "The same after the attack. Higher: the attacker came closer to the target.",
    ),
    Column(
        "effective_pixels",
        "effective pixels",
        "px",
        1.0,
        1,
        SCALE_FREE,
        "1 / Σ map²: on how many pixels the map effectively lies (N for an even map, 1 for a single pixel). "
        "The confound: a concentrated map has a high loss against any target, before and after an attack.",
    ),
    Column(
        "excess_start",
        "loss/chance start",
        "",
        1.0,
        3,
        SPLIT,
        "Explanation loss before the attack over the loss expected of the same two maps with the pixels of one "
        "permuted at random: equally concentrated, no relation of place. 1: as far apart as unrelated maps; 0: equal.",
    ),
    Column(
        "excess_end",
        "loss/chance end",
        "",
        1.0,
        3,
        SPLIT,
        "The same after the attack. Higher: harder to manipulate, whatever the concentration of the maps.",
    ),
    Column(
        "concentration_start",
        "victim",
        "1e-7",
        LOSS_SCALE,
        None,
        SPLIT,
        "Σ map² / N of the victim's map: its own part of the loss, high for a concentrated map whatever the target. "
        "Loss = victim + target − overlap.",
    ),
    Column(
        "concentration_end",
        "manipulated",
        "1e-7",
        LOSS_SCALE,
        None,
        SPLIT,
        "The same of the manipulated image's map. Loss at end = manipulated + target − overlap end.",
    ),
    Column(
        "chance_loss_start",
        "chance start",
        "1e-7",
        LOSS_SCALE,
        None,
        SPLIT,
        "The loss to be expected of the same two maps with the pixels of one permuted at random: what concentration "
        "alone gives. Before the attack.",
    ),
    Column("chance_loss_end", "chance end", "1e-7", LOSS_SCALE, None, SPLIT, "The same after the attack."),
    Column("concentration_target", "target", "1e-7", LOSS_SCALE, None, SPLIT, "The same of the target's map."),
    Column(
        "overlap_start",
        "overlap start",
        "1e-7",
        LOSS_SCALE,
        None,
        SPLIT,
        "2 Σ victim · target / N: what the two maps share before the attack.",
    ),
    Column("overlap_end", "overlap end", "1e-7", LOSS_SCALE, None, SPLIT, "The same at the end of the attack."),
    Column(
        "spearman_start",
        "Spearman start",
        "",
        1.0,
        3,
        OTHER,
        "Rank correlation of the pixels of the victim's and the target's map.",
    ),
    Column("spearman_end", "Spearman end", "", 1.0, 3, OTHER, "The same after the attack."),
    Column("ssim_start", "SSIM start", "", 1.0, 3, OTHER, "Structural similarity of the two maps before the attack."),
    Column("ssim_end", "SSIM end", "", 1.0, 3, OTHER, "The same after the attack."),
    Column(
        "top_k_near_start",
        "top 10 % near, start",
        "%",
        100.0,
        1,
        OTHER,
        "Share of the victim's largest tenth of pixels that have one of the target's within a pixel.",
    ),
    Column("top_k_near_end", "top 10 % near, end", "%", 100.0, 1, OTHER, "The same after the attack."),
    Column(
        "earth_movers_distance_start",
        "EMD start",
        "px",
        1.0,
        2,
        OTHER,
        "Sliced earth mover's distance: how far the mass of the victim's map has to go, in pixels, seen along a line.",
    ),
    Column("earth_movers_distance_end", "EMD end", "px", 1.0, 2, OTHER, "The same after the attack."),
    *(
        Column(key, heading, unit, 100.0 if unit == "%" else 1.0, decimals, group, meaning)
        for group, columns in ((TRAINING, TRAINING_COLUMNS), (WORTH, WORTH_COLUMNS))
        for key, heading, unit, decimals, meaning in columns
    ),
)  # fmt: skip
"""Every column of the tables, in order."""


def groups(summaries: Sequence[Mapping[str, Any]]) -> dict[str, list[Column]]:
    """The columns by group; of the later groups only those that some method has."""
    known: dict[str, list[Column]] = {}
    for entry in COLUMNS:
        if entry.group not in LATER_GROUPS or any(entry.key in summary for summary in summaries):
            known.setdefault(entry.group, []).append(entry)
    return known


def column(key: str) -> Column:
    """The column of a metric.

    Raises:
        KeyError: no column has that key.
    """
    return {entry.key: entry for entry in COLUMNS}[key]


def decimals_for(values: Sequence[float | None]) -> int:
    """Digits after the point (0 to 3) with which the smallest of the values keeps three significant digits.

    >>> decimals_for([5800.0, 11400.0]), decimals_for([1.269, 16.9])
    (0, 2)
    """
    magnitudes = [abs(value) for value in values if value is not None and math.isfinite(value) and value != 0.0]
    if not magnitudes:
        return 0
    return min(3, max(0, 2 - math.floor(math.log10(min(magnitudes)))))


def format_number(value: Any, scale: float, decimals: int) -> str:
    """One number of a table; an en dash where there is none."""
    number = as_number(value)
    if number is None:
        return MISSING
    return f"{scale * number:.{decimals}f}" if math.isfinite(number) else "not finite"


def significant(value: float) -> str:
    """A number with three significant digits, and with all of those before the point.

    >>> significant(10457.3), significant(2.6961)
    ('10457', '2.70')
    """
    return f"{value:.{decimals_for([value])}f}" if abs(value) >= 0.01 else f"{value:.3g}"


def format_weight(value: Any) -> str:
    """A SEP weight with its sign, since the sign is what it does.

    >>> format_weight(3000.0), format_weight(-0.073), format_weight(0.0)
    ('+3000', '-0.073', '0')
    """
    number = as_number(value)
    if number is None or not math.isfinite(number):
        return MISSING
    if number == 0:
        return "0"
    return f"{number:+.0f}" if abs(number) >= 1000 else f"{number:+.3g}"


def digits_of(entry: Column, summaries: Sequence[Mapping[str, Any]]) -> int:
    """Digits after the point of a column: its own, or those that its smallest mean needs."""
    if entry.decimals is not None:
        return entry.decimals
    means = [as_number(s[entry.key].get("mean")) for s in summaries if isinstance(s.get(entry.key), Mapping)]
    return decimals_for([None if mean is None else mean * entry.scale for mean in means])


def cells(entry: Column, summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The cells of one column: mean ± std over the seeds, without the std where there is one seed.

    Args:
        entry: the column.
        summaries: the methods, as `summarise` gives them.

    Returns:
        One string a method.
    """
    if entry.key == "sep_weight":
        return [format_weight(summary.get("sep_weight")) for summary in summaries]
    parts = [summary[entry.key] if isinstance(summary.get(entry.key), Mapping) else {} for summary in summaries]
    if entry.key == "sep_weight_scale_free":
        return [format_weight(part.get("mean")) for part in parts]
    means = [as_number(part.get("mean")) for part in parts]
    decimals = digits_of(entry, summaries)
    texts = []
    for summary, part, mean in zip(summaries, parts, means, strict=True):
        text = format_number(mean, entry.scale, decimals)
        if mean is not None and math.isfinite(mean) and summary.get("num_seeds", 1) > 1:
            text += f" ± {format_number(part.get('std'), entry.scale, decimals)}"
        texts.append(text)
    return texts
