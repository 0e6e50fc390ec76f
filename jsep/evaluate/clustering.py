"""Clusters of images by their features, with each image ranked by its distance to the centre of its cluster."""

import warnings
from typing import NamedTuple

import numpy as np

from jsep.checks import InputError, check_choice, check_count
from jsep.memory import check_memory

CLUSTERINGS = ("kmeans", "kmedoids", "spectral", "agglomerative")
"""Clustering algorithms for image features."""

SELECTIONS = (*CLUSTERINGS, "class_means", "per_class", "random")
"""Rules by which `select_pairs` groups images before drawing pairs: the clusterings, and simpler rules."""


class Groups(NamedTuple):
    """A grouping of B images.

    labels: (B,) group of each image, 0 .. G - 1.
    rank: (B,) floats to sort by, smallest first: distances to the centre of the group, or random numbers.
    """

    labels: np.ndarray
    rank: np.ndarray


def _from_centres(points: np.ndarray, labels: np.ndarray, centres: np.ndarray | None = None) -> Groups:
    """Groups ranked by the distance to the given centres, by default the means of the groups."""
    if centres is None:
        centres = np.stack([points[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    return Groups(labels, np.linalg.norm(points - centres[labels], axis=1))


def k_medoids(points: np.ndarray, num_clusters: int, *, seed: int = 0, max_steps: int = 100) -> np.ndarray:
    """Indices (G,) of the medoids, the members with the smallest sum of distances to their own group; assignment and
    update alternate from k-means++ seeds until nothing changes.

    Args: points: (B, F); num_clusters: G <= B. Raises: InputError for a count out of range.
    Reference: Park and Jun 2009.
    """
    from sklearn.cluster import kmeans_plusplus  # scikit-learn takes a second to import
    from sklearn.metrics import pairwise_distances

    check_count("num_clusters", num_clusters)
    if num_clusters > len(points):
        raise InputError(f"{num_clusters} clusters need as many images, got {len(points)}")
    points = np.asarray(points, np.float64)
    check_memory(f"the distances of {len(points)} images", 8.0 * len(points) ** 2)
    distance = pairwise_distances(points)
    chosen = np.unique(kmeans_plusplus(points, num_clusters, random_state=seed)[1])
    # Among equal points the same one may be chosen twice.
    others = np.setdiff1d(np.arange(len(points)), chosen)
    medoids = np.sort(np.concatenate([chosen, others[: num_clusters - len(chosen)]]))
    for _ in range(max_steps):
        labels = distance[:, medoids].argmin(axis=1)
        # Every medoid belongs to its own group, so that no group is empty.
        labels[medoids] = np.arange(num_clusters)
        inside = [np.flatnonzero(labels == label) for label in range(num_clusters)]
        new = np.array([group[distance[np.ix_(group, group)].sum(axis=1).argmin()] for group in inside])
        if np.array_equal(new, medoids):
            break
        medoids = new
    return medoids


def make_groups(points: np.ndarray, classes: np.ndarray, selection: str, *, num_clusters: int, seed: int = 0) -> Groups:
    """Images in groups, each ranked by the distance to its group's centre ("per_class", "random": in random order).

    "kmeans", "kmedoids", "spectral" (nearest-neighbour graph), "agglomerative" (Ward) cluster the features;
    "class_means" and "per_class" use the classes as groups, "class_means" ranked by the distance to the class mean;
    "random" makes every image a group of its own, in random order, so that any two images can form a pair.

    Args: points: (B, F) features; classes: (B,) labels of the images; num_clusters: for the clusterings, >= 2; seed.
    Raises: InputError for an unknown selection, a count out of range or fewer images than clusters.
    """
    check_choice("selection", selection, SELECTIONS)
    check_count("num_clusters", num_clusters, minimum=2)
    points = np.asarray(points)
    if points.ndim != 2 or not points.size or points.dtype.kind not in "iuf":
        raise InputError(f"points must be features (B, F), got {points.dtype} of shape {points.shape}")
    if not np.isfinite(points).all():
        raise InputError("points must be finite features, got NaN or infinity")
    rng = np.random.default_rng(seed)
    if selection == "random":
        return Groups(rng.permutation(len(points)), np.zeros(len(points)))
    if selection in ("class_means", "per_class"):
        labels = np.unique(classes, return_inverse=True)[1]
        return _from_centres(points, labels) if selection == "class_means" else Groups(labels, rng.random(len(points)))
    if len(points) < num_clusters:
        raise InputError(f"{num_clusters} clusters need as many images, got {len(points)}")
    if selection == "kmedoids":
        medoids = k_medoids(points, num_clusters, seed=seed)
        away = np.linalg.norm(points[:, None].astype(np.float64) - points[medoids], axis=-1)
        labels = away.argmin(axis=1)
        labels[medoids] = np.arange(num_clusters)
        return _from_centres(points, labels, points[medoids])
    # Imported here: scikit-learn takes a second to import.
    from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering

    if selection == "kmeans":
        fitted = KMeans(num_clusters, n_init=4, random_state=seed).fit(points)
        return _from_centres(points, fitted.labels_, fitted.cluster_centers_)
    if selection == "agglomerative":
        return _from_centres(points, AgglomerativeClustering(num_clusters).fit_predict(points))
    neighbours = min(10, len(points) - 1)
    spectral = SpectralClustering(
        num_clusters, affinity="nearest_neighbors", n_neighbors=neighbours, assign_labels="kmeans", random_state=seed
    )
    with warnings.catch_warnings():
        # scikit-learn warns that the graph is not connected where distant clusters share no neighbours.
        warnings.simplefilter("ignore", UserWarning)
        labels = spectral.fit_predict(points)
    # Empty groups are dropped.
    return _from_centres(points, np.unique(labels, return_inverse=True)[1])
