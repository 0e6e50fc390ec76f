"""The choice of images in tables and figures: pairs drawn anew, maps within and between clusters."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jsep.report.columns import LOSS_SCALE, significant
from jsep.report.panels import loss, make_grid, map_norm, show_image, show_map
from jsep.report.style import colours, drawing, marks, new_figure, plain, to_png

CLUSTERS_FILE, DRAWS_FILE = "clusters.png", "draws.png"


def write_selection(
    run_dir: str | pathlib.Path, result: Mapping[str, Any], images: np.ndarray, maps: np.ndarray, model: str
) -> list[pathlib.Path]:
    """Draws clusters.png (images and maps, cluster by cluster) and draws.png (standard error and order over the pairs).

    Args: result: of a selection study; images: (clusters, n, H, W, C) in [0, 1]; maps: (clusters, n, H, W), each
      summing to 1; model: whose maps these are.
    Returns: the paths of the figures.
    """
    directory = pathlib.Path(run_dir)
    paths = [directory / CLUSTERS_FILE, directory / DRAWS_FILE]
    paths[0].write_bytes(_draw_clusters(images, maps, model))
    paths[1].write_bytes(_draw_draws(result["summary"]))
    return paths


def losses_of_clusters(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean explanation loss of each map to the others of its cluster, and to those of the other clusters.

    Args: maps: (clusters, n, H, W). Returns: two arrays (clusters, n); nan where there is no other map.
    """
    num_clusters, num_images = maps.shape[:2]
    flat = maps.reshape(-1, *maps.shape[2:])
    losses = np.array([[loss(a, b) for b in flat] for a in flat])
    own = np.repeat(np.arange(num_clusters), num_images)
    same = own[:, None] == own[None, :]
    within = same & ~np.eye(len(flat), dtype=bool)
    means = [
        np.where(mask.any(axis=1), np.sum(losses * mask, axis=1) / np.maximum(mask.sum(axis=1), 1), np.nan)
        for mask in (within, ~same)
    ]
    return means[0].reshape(num_clusters, num_images), means[1].reshape(num_clusters, num_images)


def _draw_clusters(images: np.ndarray, maps: np.ndarray, model: str) -> bytes:
    num_clusters, num_images = images.shape[:2]
    with drawing():
        grid = make_grid(
            2 * num_clusters,
            num_images,
            left=1.3,
            right=0.75,
            top=0.62,
            gap_x=0.06,
            text=0.23,
            width=1.1 * num_images + 2,
        )
        within, between = losses_of_clusters(maps)
        # One scale for all: maps of different clusters are to be compared.
        norm = map_norm(list(maps.reshape(-1, *maps.shape[2:])))
        for cluster in range(num_clusters):
            for column in range(num_images):
                top = grid.axes(2 * cluster, column)
                show_image(top, images[cluster, column])
                below = grid.axes(2 * cluster + 1, column)
                mappable = show_map(below, maps[cluster, column], norm)
                numbers = [significant(LOSS_SCALE * each[cluster, column]) for each in (within, between)]
                below.set_xlabel(f"{numbers[0]} | {numbers[1]}", fontsize=8, labelpad=2)
                if column == 0:
                    for axes, text in (
                        (top, f"cluster {cluster + 1}"),
                        (below, "map\n\nmean loss\nin cluster |\nto others"),
                    ):
                        axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8, labelpad=5)
            grid.colour_bar(2 * cluster + 1, num_images, mappable, "% of map", num_ticks=2)
        means = [significant(LOSS_SCALE * float(np.nanmean(each))) for each in (within, between)]
        words = f"Nearest to the centres of the largest clusters; maps of {plain(model)}\n"
        words += f"explanation loss [1e-7] of these maps: {means[0]} within a cluster, {means[1]} between clusters"
        grid.figure.suptitle(words, fontsize=9)
        return to_png(grid.figure)


def _draw_draws(summary: Mapping[str, Any]) -> bytes:
    counts = summary["counts"]
    names = [entry["selection"] for entry in summary["selections"]]
    colour, mark = colours(names), marks(names)
    with drawing():
        figure = new_figure(3.6)
        left, right = figure.subplots(1, 2)
        for entry in summary["selections"]:
            name = entry["selection"]
            errors = 100 * np.mean([entry["standard_errors"][method] for method in summary["methods"]], axis=0)
            style = {"color": colour[name], "marker": mark[name], "markersize": 5}
            left.plot(counts, errors, label=plain(name), **style)
            right.plot(counts, [100 * share for share in entry["same_order"]], **style)
        left.set(
            title="Standard error of the loss at end", xlabel="pairs", ylabel="% of the loss, mean over the models"
        )
        right.set(title="Same order of the models", xlabel="pairs", ylabel="% of resamples", ylim=(0, 102))
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_xticks(counts, [str(count) for count in counts])
            axes.minorticks_off()
        left.set_ylim(bottom=0)
        figure.legend(loc="outside upper center", ncols=min(4, len(names)))
        return to_png(figure)


def selection_table(result: Mapping[str, Any]) -> str:
    """The draws by rule and the clusterings as two Markdown tables, with what they say in a sentence each."""
    summary, clusterings = result["summary"], result["clusterings"]
    return "\n".join([*_draws_table(summary), "", *_sentences(summary), "", *_clusters_table(clusterings)]) + "\n"


def _draws_table(summary: Mapping[str, Any]) -> list[str]:
    methods = summary["methods"]
    heads = [f"{method}: loss at end [1e-7]" for method in methods]
    titles = ["pairs by", *heads, "order of the models", "draws in it [%]", "tau to all rules"]
    lines = ["| " + " | ".join(titles) + " |", "|---" + "|---:" * len(methods) + "|---" + "|---:" * 2 + "|"]
    for entry in summary["selections"]:
        cells = [
            f"{significant(LOSS_SCALE * entry['mean'][m])} ± {significant(LOSS_SCALE * entry['std_of_draws'][m])}"
            f" ({significant(LOSS_SCALE * entry['standard_error'][m])})"
            for m in methods
        ]
        tail = [" < ".join(entry["order"]), f"{100 * entry['draws_in_order']:.0f}", f"{entry['mean_tau']:.2f}"]
        lines.append("| " + " | ".join([entry["selection"], *cells, *tail]) + " |")
    return lines


def _sentences(summary: Mapping[str, Any]) -> list[str]:
    entries = summary["selections"]
    first = entries[0]
    orders = {tuple(entry["order"]) for entry in entries}
    text = (
        f"Mean over {first['num_draws']} draws of {first['num_pairs']} pairs ± standard deviation of the draws' means, "
        f"in brackets the bootstrap standard error of one draw; a pair's loss is the mean over the training seeds. "
    )
    text += (
        "All rules give the same order of the models."
        if len(orders) == 1
        else f"The {len(entries)} rules give {len(orders)} different orders of the models."
    )
    return [text]


def _clusters_table(clusterings: Sequence[Mapping[str, Any]]) -> list[str]:
    if not clusterings:
        return []
    models = list(dict.fromkeys(entry["model"] for entry in clusterings))
    rows: dict[tuple, dict[str, Mapping[str, Any]]] = {}
    for entry in clusterings:
        key = (entry["feature_network"], entry["num_clusters"], entry["selection"], entry["agreement"])
        rows.setdefault(key, {})[entry["model"]] = entry
    titles = [
        "features of",
        "clusters",
        "by",
        "Rand index to classes",
        *(f"{model}: inter / intra" for model in models),
    ]
    lines = ["| " + " | ".join(titles) + " |", "|---|---:|---|" + "---:|" * (1 + len(models))]
    for (network, count, selection, agreement), own in rows.items():
        cells = []
        for model in models:
            entry = own[model]
            inter, intra, deviation = (
                significant(LOSS_SCALE * entry[key]) for key in ("loss_inter", "loss_intra", "loss_intra_std")
            )
            cells.append(f"{inter} / {intra} ± {deviation} = {entry['ratio']:.2f}")
        lines.append("| " + " | ".join([network, str(count), selection, f"{agreement:.2f}", *cells]) + " |")
    lines += [
        "",
        "Explanation loss [1e-7] between images of different clusters and of the same one, over all pairs of test "
        "images, ± the standard deviation over the pairs within, and the ratio.",
    ]
    return lines
