"""Effects of image selection: pairs drawn anew, and maps within and between clusters."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jsep import evaluate, stats
from jsep.evaluate import LOSS_UNIT
from jsep.record import Comparison, pixels_of_maps, readable
from jsep.record.many import between_clusters_above_within, mean_standard_errors
from jsep.report.charts import Key, Line, Panel, line_chart
from jsep.report.formatting import metric_number
from jsep.report.image_grid import Layout, Tile, image_grid
from jsep.report.shown import LOSS_END
from jsep.report.style import NamedFigure, colours, marks, plain
from jsep.report.table import Column, Table, make_table


def _loss(value: float, num_pixels: int | None) -> str:
    return metric_number(float(value), evaluate.METRICS[LOSS_END].of_maps(num_pixels))


def selection_figures(result: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[NamedFigure]:
    """Images and maps by cluster (with the arrays of the run), and the effect of the number of pairs."""
    found = []
    if "images" in arrays and "maps" in arrays:
        model = str(arrays["model"]) if "model" in arrays else "mat"
        found.append(
            NamedFigure(
                "clusters",
                "Maps within and between clusters",
                "Grid of pictures: the images nearest to the centre of each cluster, their maps, and the mean "
                "explanation loss of each map to the others of its cluster and to those of other clusters.",
                "Nearest to the centres of the largest clusters (Figure 2 of the paper), one colour scale for all "
                "maps. "
                f"Below each map its mean explanation loss [{LOSS_UNIT}] to the others of its cluster, and to those of "
                "others.",
                _clusters(arrays["images"], arrays["maps"], model),
            )
        )
    summary = result["summary"]
    found.append(
        NamedFigure(
            "draws",
            "How many pairs a study needs",
            "Two curves against the number of pairs for "
            f"{', '.join(entry['selection'] for entry in summary['selections'])}: "
            "the standard error of the loss at the end, and how often the models keep their order.",
            "Resamples of the drawn pairs: the bootstrap standard error of the mean loss at the end in % of the "
            "loss, mean "
            "over the models, and the share of resamples in which the models stand in the order of all pairs.",
            _draws(summary),
        )
    )
    return found


def _clusters(images: np.ndarray, maps: np.ndarray, model: str) -> Figure:
    pixels = maps.shape[-2] * maps.shape[-1]
    within, between = evaluate.mean_losses_by_cluster(maps)
    rows, names = [], []
    for cluster in range(len(images)):
        rows.append([Tile(image, "image") for image in images[cluster]])
        losses = zip(maps[cluster], within[cluster], between[cluster], strict=True)
        rows.append([Tile(own, "map", f"{_loss(near, pixels)} | {_loss(far, pixels)}") for own, near, far in losses])
        names += [f"cluster {cluster + 1}", "map\n\nmean loss\nin cluster |\nto others"]
    means = [_loss(stats.band(each.reshape(-1, 1)).mean[0], pixels) for each in (within, between)]
    heading = f"Nearest to the centres of the largest clusters; maps of {plain(readable(model))}\n"
    heading += f"explanation loss [{LOSS_UNIT}] of these maps: {means[0]} within a cluster, {means[1]} between clusters"
    width = 1.1 * images.shape[1] + 2
    layout = Layout(left=1.3, top=0.62, gap=0.06, below=0.23, width=width, one_scale=True)
    return image_grid(rows, titles=[""] * images.shape[1], names=names, heading=heading, layout=layout)


def _draws(summary: Mapping[str, Any]) -> Figure:
    counts, entries = summary["counts"], summary["selections"]
    names = [entry["selection"] for entry in entries]
    colour, mark = colours(names), marks(names)
    errors = {entry["selection"]: 100 * mean_standard_errors(entry) for entry in entries}
    orders = {entry["selection"]: 100 * np.array(entry["same_order"]) for entry in entries}

    def lines(values: Mapping[str, np.ndarray]) -> list[Line]:
        return [Line(counts, values[name], colour[name], mark[name]) for name in names]

    def axis(**limits: float) -> Any:
        def adjust(axes: Axes) -> None:
            axes.set_xscale("log")
            axes.set_xticks(counts, [str(count) for count in counts])
            axes.minorticks_off()
            axes.set_ylim(**limits)  # type: ignore[arg-type]

        return adjust

    panels = [
        Panel(
            "Standard error of the loss at end",
            "pairs",
            "% of the loss, mean over the models",
            lines(errors),
            axis(bottom=0),
        ),
        Panel("Same order of the models", "pairs", "% of resamples", lines(orders), axis(bottom=0, top=102)),
    ]
    return line_chart(panels, keys=[Key(name, colour[name], mark[name], "-") for name in names], height=3.1)


def clusters_claim(result: Mapping[str, Any]) -> list[Comparison]:
    """The paper's claim that maps differ more between clusters than within one."""
    paper = "maps differ more between clusters than within one"
    words = {"loss": "by the loss", "one_minus_concordance": "by 1 − concordance"}
    found = between_clusters_above_within(words)(result) if result["clusterings"] else []
    return [
        dataclasses.replace(each, subject=own, paper=paper) for own, each in zip(words.values(), found, strict=False)
    ]


def selection_tables(result: Mapping[str, Any]) -> list[Table]:
    """The draws for each selection rule, and the clusterings."""
    tables = [_draws_table(result["summary"], pixels_of_maps(result))]
    return (
        [*tables, _clusters_table(result["clusterings"], pixels_of_maps(result))] if result["clusterings"] else tables
    )


def _draws_table(summary: Mapping[str, Any], pixels: int | None) -> Table:
    methods, entries = summary["methods"], summary["selections"]

    def loss(value: float) -> str:
        return _loss(value, pixels)

    rows = [
        [
            entry["selection"],
            *(
                f"{loss(entry['mean'][m])} ± {loss(entry['std_of_draws'][m])} ({loss(entry['standard_error'][m])})"
                for m in methods
            ),
            f"{100 * entry['draws_in_order']:.0f}",
            f"{entry['mean_tau']:.2f}",
        ]
        for entry in entries
    ]
    notes = (
        f"Mean over {entries[0]['num_draws']} draws of {entries[0]['num_pairs']} pairs ± standard deviation "
        "of the draws' "
        "means, in brackets the bootstrap standard error of one draw; a pair's loss is the mean over the "
        "training seeds.",
        "Ranked alike: the share of draws in which the models stand, by their mean loss, in the order of all draws of "
        "that rule; tau: Kendall's, of a draw and the draws of all rules.",
    )
    columns = [
        "pairs by", *(Column(f"{readable(method)}: loss at end", LOSS_UNIT) for method in methods),
        Column("ranked alike", "%"), Column("tau to all rules"),
    ]  # fmt: skip
    return make_table(columns, rows, notes=notes, title="Pairs drawn anew")


def _clusters_table(clusterings: Sequence[Mapping[str, Any]], pixels: int | None) -> Table:
    models = list(dict.fromkeys(entry["model"] for entry in clusterings))
    found: dict[tuple, dict[str, Mapping[str, Any]]] = {}
    for entry in clusterings:
        key = (entry["feature_network"], entry["num_clusters"], entry["selection"], entry["agreement"])
        found.setdefault(key, {})[entry["model"]] = entry
    rows = []
    for (network, number, selection, agreement), own in found.items():
        cells = []
        for model in models:
            entry = own[model]
            inter, intra, deviation = (
                _loss(entry[key], pixels) for key in ("loss_inter", "loss_intra", "loss_intra_std")
            )
            cells.append(f"{inter} / {intra} ± {deviation} = {entry['ratio']:.2f}")
        rows.append([network, str(number), selection, f"{agreement:.2f}", *cells])
    heads = [
        "features of",
        "clusters",
        "by",
        Column("Rand index to classes"),
        *(f"{readable(m)}: inter / intra" for m in models),
    ]
    note = (
        f"Explanation loss [{LOSS_UNIT}] between images of different clusters and of the same one, over all pairs of "
        "test images, ± the standard deviation over the pairs within, and the ratio."
    )
    return make_table(heads, rows, notes=(note,), title="Maps within and between clusters", num_names=3)
