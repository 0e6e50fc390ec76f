"""Explanation losses within and between clusters of images, and the agreement of clusters with classes."""

import numpy as np

from jsep.checks import InputError, check_pixels


def cluster_explanation_loss(maps: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Explanation loss over all pairs of images in the same cluster (intra) and in different clusters (inter).

    From the Gram matrix G of the maps: loss_ij = (G_ii + G_jj - 2 G_ij) / N, each unordered pair once.
    "one_minus_concordance" is the loss divided by its expectation for permuted pixels, see `split_loss`.

    Args: maps: (B, H, W); labels: (B,) cluster of each.
    Returns: mean and standard deviation over the pairs: loss_intra, loss_intra_std, loss_inter, loss_inter_std,
      one_minus_concordance_intra, one_minus_concordance_inter, and ratio = loss_inter / loss_intra (above 1: maps are
      more alike within clusters).
    Raises: InputError if no two maps share a cluster, or all do.
    Reference: PAPER, appendix: intra- and inter-cluster explanation loss.
    """
    if np.ndim(maps) != 3 or np.shape(labels) != (len(maps),):
        raise InputError(f"expected maps (B, H, W) with one label each, got {np.shape(maps)} and {np.shape(labels)}")
    check_pixels(maps, "maps", in_box=False)
    flat = np.asarray(maps, np.float64).reshape(len(maps), -1)
    if not flat.size:
        raise InputError(f"expected maps with pixels, got shape {np.shape(maps)}")
    gram = flat @ flat.T
    own, total, num_pixels = np.diag(gram), flat.sum(axis=1), flat.shape[1]
    loss = (own[:, None] + own - 2 * gram) / num_pixels
    chance = (own[:, None] + own - 2 * np.outer(total, total) / num_pixels) / num_pixels
    upper = np.triu(np.ones(loss.shape, bool), 1)
    same = np.asarray(labels)[:, None] == np.asarray(labels)
    found: dict[str, float] = {}
    for name, chosen in (("intra", upper & same), ("inter", upper & ~same)):
        if not chosen.any():
            raise InputError(f"no two maps lie in {'one cluster' if name == 'intra' else 'different clusters'}")
        found[f"loss_{name}"] = float(loss[chosen].mean())
        found[f"loss_{name}_std"] = float(loss[chosen].std(ddof=1)) if chosen.sum() > 1 else 0.0
        kept = chance[chosen] > 0
        found[f"one_minus_concordance_{name}"] = (
            float((loss[chosen][kept] / chance[chosen][kept]).mean()) if kept.any() else 0.0
        )
    found["ratio"] = found["loss_inter"] / found["loss_intra"] if found["loss_intra"] else float("inf")
    return found


def adjusted_rand_index(labels: np.ndarray, classes: np.ndarray) -> float:
    """The adjusted Rand index of clusters and classes: 1 for the same partition, 0 for unrelated ones."""
    from sklearn.metrics import adjusted_rand_score  # scikit-learn takes a second to import

    if np.ndim(labels) != 1 or np.shape(labels) != np.shape(classes):
        raise InputError(f"expected one label and class an image, got {np.shape(labels)} and {np.shape(classes)}")
    if not all(np.issubdtype(np.asarray(each).dtype, np.integer) for each in (labels, classes)):
        raise InputError("labels and classes must be integers")
    return float(adjusted_rand_score(classes, labels))


def mean_losses_by_cluster(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean explanation loss of each map to the others of its cluster, and to the maps of all other clusters.

    Args: maps: (clusters, n, H, W). Returns: two arrays (clusters, n); NaN where there is no other map.
    """
    check_pixels(maps, "maps", in_box=False)
    if np.ndim(maps) != 4:
        raise InputError(f"maps must be (clusters, n, H, W), got shape {np.shape(maps)}")
    num_clusters, num_images = maps.shape[:2]
    flat = np.asarray(maps, np.float64).reshape(num_clusters * num_images, -1)
    losses = np.array([np.mean((flat - own) ** 2, axis=1) for own in flat])
    cluster = np.repeat(np.arange(num_clusters), num_images)
    same = cluster[:, None] == cluster
    means = []
    for chosen in (same & ~np.eye(len(flat), dtype=bool), ~same):
        count = chosen.sum(axis=1)
        means.append(np.where(count > 0, (losses * chosen).sum(axis=1) / np.maximum(count, 1), np.nan))
    return means[0].reshape(num_clusters, num_images), means[1].reshape(num_clusters, num_images)
