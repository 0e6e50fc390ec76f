"""The figure of concentration against overlap: what an explanation loss is made of."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from jsep.record import mean_of
from jsep.report.columns import LOSS_SCALE
from jsep.report.style import colours, drawing, new_figure, plain

_KEYS = (
    "concentration_{}",
    "concentration_target",
    "explanation_loss_{}",
    "chance_loss_{}",
    "one_minus_concordance_{}",
)


def _parts(summary: Mapping[str, Any], when: str) -> list[float] | None:
    values = [mean_of(summary, key.format(when)) for key in _KEYS]
    return None if None in values else [value for value in values if value is not None]


def loss_split(summaries: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Bars of the explanation loss at start and end inside the concentration of the two maps, with the chance level.

    Args:
        summaries: the methods, as `summarise` gives them.

    Returns:
        The figure, or None where no method has the split.
    """
    shown = [s for s in summaries if _parts(s, "start") and _parts(s, "end")]
    if not shown:
        return None
    colour = colours([summary["method"] for summary in summaries])
    with drawing():
        figure = new_figure(1.3 + 0.62 * len(shown))
        axes = figure.subplots()
        labels, places = [], []
        for index, summary in enumerate(shown):
            for shift, when in ((-0.19, "start"), (0.19, "end")):
                parts = _parts(summary, when)
                assert parts is not None
                own, target, loss, chance = (LOSS_SCALE * part for part in parts[:4])
                height, face = index + shift, colour[summary["method"]]
                axes.barh(height, own + target, 0.32, color=face, alpha=0.22, linewidth=0)
                axes.barh(height, loss, 0.32, color=face, alpha=0.95 if when == "end" else 0.6, linewidth=0)
                axes.plot([chance, chance], [height - 0.19, height + 0.19], color="#1a1a1a", linewidth=1.8)
                axes.annotate(
                    f"1 − concordance {parts[4]:.2f}", (own + target, height), xytext=(4, 0),
                    textcoords="offset points", va="center", fontsize=8,
                )  # fmt: skip
                places.append(height)
                name = plain(summary["method"], 24) + (" *" if summary["degraded"] else "")
                labels.append(f"{name}, {when}")
        axes.set_yticks(places, labels)
        axes.set(ylim=(len(shown) - 0.5, -0.5), xlabel="explanation loss and its parts [1e-7]")
        axes.margins(x=0.14)
        axes.grid(visible=False, axis="y")
        legend = [
            Patch(color="#555555", alpha=0.8, label="loss"),
            Patch(color="#555555", alpha=0.22, label="removed by overlap"),
            Line2D([], [], color="#1a1a1a", linewidth=1.8, label="loss of permuted pixels (chance)"),
        ]
        figure.legend(handles=legend, loc="outside upper center", ncols=3)
        if any(summary["degraded"] for summary in shown):
            figure.supxlabel("* degraded model: its explanation loss is no sign of robustness", fontsize=8)
    return figure
