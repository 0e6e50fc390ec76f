"""The images on which explanations are compared: cluster representatives, and victim/target pairs from different
clusters."""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep.checks import InputError, check_count
from jsep.data import Dataset
from jsep.evaluate.clustering import make_groups
from jsep.evaluate.model_arguments import takes_logits_fn
from jsep.files import write_whole
from jsep.map_checks import floating
from jsep.numerics import plain
from jsep.types import Array, ModelFn, PyTree


@dataclasses.dataclass(frozen=True)
class PairIndex:
    """Pairs of a victim and a target image by their indices in a split, the same for every model.

    victims, targets: P indices each; dataset, split: of the images; num_images: size of the split;
    feature_network: the network whose features were clustered; num_clusters, seed: of the clustering; selection: the
    selection rule (see `make_groups`); same_class: whether a target may have its victim's class.
    """

    dataset: str
    split: str
    num_images: int
    feature_network: str
    num_clusters: int
    seed: int
    victims: tuple[int, ...]
    targets: tuple[int, ...]
    selection: str = "kmeans"
    same_class: bool = False

    def __post_init__(self) -> None:
        for name in ("num_images", "num_clusters", "seed", "victims", "targets", "same_class"):
            object.__setattr__(self, name, plain(getattr(self, name)))  # as stored, without NumPy scalars

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of all fields: equal indices have equal hashes on every machine."""
        return hashlib.sha256(json.dumps(self._stored(), sort_keys=True).encode()).hexdigest()[:16]

    def _stored(self) -> dict[str, object]:
        """Every field, but later additions only if not at their default, so that old indices keep their hash."""
        later = {"selection": "kmeans", "same_class": False}
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in later or v != later[k]}

    def as_dict(self) -> dict[str, object]:
        """Values that JSON can hold, with the hash."""
        return {
            **self._stored(),
            "victims": list(self.victims),
            "targets": list(self.targets),
            "hash": self.hash,
        }

    def check_fits(self, dataset: Dataset) -> None:
        """Raises InputError when the index was made for another data set, split or size."""
        made_for = (self.dataset, self.split, self.num_images)
        given = (dataset.info.name, dataset.split, len(dataset))
        if made_for != given:
            raise InputError(
                f"the pair index was made for {made_for[0]} ({made_for[1]}, {made_for[2]} images), but the data are "
                f"{given[0]} ({given[1]}, {given[2]} images); make a new index or load the same data"
            )


@takes_logits_fn
def features(features_fn: ModelFn, variables: PyTree, dataset: Dataset, *, chunk_size: int = 256) -> np.ndarray:
    """The features (B, F) of all images.

    Args: features_fn, variables: (variables, image) -> features (F,), such as `models.features_fn(model)`, or one
      function of the image for both; chunk_size: images in memory at once.
    Raises: InputError for another output of features_fn, or chunk_size < 1.
    """
    check_count("chunk_size", chunk_size)
    return np.concatenate(
        [
            np.asarray(_features(features_fn, variables, dataset.as_float(slice(first, first + chunk_size))))
            for first in range(0, len(dataset), chunk_size)
        ]
    )


@functools.partial(jax.jit, static_argnames="features_fn")
def _features(features_fn: ModelFn, variables: PyTree, images: np.ndarray) -> jax.Array:
    def one(image: Array) -> Array:
        found = floating(features_fn(variables, image), "features_fn")
        if found.ndim != 1:
            raise InputError(f"features_fn must map one image to features (F,), got shape {found.shape}")
        return found

    return jax.vmap(one)(jnp.asarray(images))


def select_pairs(
    points: np.ndarray,
    dataset: Dataset,
    *,
    num_clusters: int,
    num_pairs: int,
    feature_network: str,
    seed: int = 0,
    selection: str = "kmeans",
    same_class: bool = False,
    among: np.ndarray | None = None,
) -> PairIndex:
    """Pairs of images from different clusters: those nearest to the cluster centres in feature space.

    Each cluster gives an equal part of the `num_pairs` representatives, nearest to its centre first; a small cluster
    gives all its images, and the others more. Every representative is the victim of one pair; its target is drawn from
    the representatives of another cluster and, unless `same_class`, of another class.

    Args: points: (B, F) features of the images of `dataset`; num_clusters >= 2; num_pairs: P; selection: "kmeans" or
      another of `SELECTIONS`, see `make_groups`; same_class: whether victim and target may have the same class; among:
      (B,) bool, the images to cluster and choose from, such as those that every model classifies correctly.
    Raises: InputError for fewer images than clusters or pairs, or if no image of another class exists.
    Reference: PAPER, "selection of images": 15 clusters x 10 images.
    """
    check_count("num_clusters", num_clusters, minimum=2)
    check_count("num_pairs", num_pairs)
    if len(points) != len(dataset):
        raise InputError(f"expected one feature vector for each of the {len(dataset)} images, got {len(points)}")
    if not np.all(np.isfinite(points)):
        num_bad = int(np.sum(~np.isfinite(points).reshape(len(points), -1).all(axis=1)))
        raise InputError(f"points must be finite features, got NaN or infinity for {num_bad} of {len(points)} images")
    places = np.arange(len(points)) if among is None else np.flatnonzero(among)
    points, own_labels = points[places], dataset.labels[places]
    if len(points) < max(num_clusters, num_pairs):
        raise InputError(
            f"{num_pairs} pairs in {num_clusters} clusters need at least {max(num_clusters, num_pairs)} images, "
            f"got {len(points)}; ask for fewer, or load more images"
        )
    groups = make_groups(points, own_labels, selection, num_clusters=num_clusters, seed=seed)
    members = [np.flatnonzero(groups.labels == cluster) for cluster in range(groups.labels.max() + 1)]
    members = [cluster[np.argsort(groups.rank[cluster], kind="stable")] for cluster in members]
    # Round robin over the clusters, nearest image first, until there are enough.
    ranked = sorted(
        (rank, cluster, index) for cluster, indices in enumerate(members) for rank, index in enumerate(indices.tolist())
    )
    chosen = ranked[:num_pairs]
    victims = [int(places[index]) for _, _, index in chosen]
    clusters = np.array([cluster for _, cluster, _ in chosen])
    labels = dataset.labels[victims]
    rng = np.random.default_rng(seed)
    targets = []
    for place, victim in enumerate(victims):
        allowed = np.flatnonzero((clusters != clusters[place]) & (same_class | (labels != labels[place])))
        if len(allowed) == 0:
            raise InputError(
                f"no representative of another cluster and class for image {victim}; use more pairs or clusters"
            )
        targets.append(victims[rng.choice(allowed)])
    return PairIndex(
        dataset.info.name,
        dataset.split,
        len(dataset),
        feature_network,
        num_clusters,
        seed,
        tuple(victims),
        tuple(targets),
        selection,
        same_class,
    )


def save_pairs(path: str | Path, pairs: PairIndex) -> None:
    """Writes the index as JSON, atomically."""
    path = Path(path).expanduser()
    write_whole(path, json.dumps(pairs.as_dict(), indent=1) + "\n")


def pairs_from_dict(stored: dict[str, Any]) -> PairIndex:
    """The index from the output of `as_dict`. Raises InputError if it was changed since (its hash does not match)."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    try:
        expected = fields.pop("hash")
        pairs = PairIndex(**fields)
    except (KeyError, TypeError) as error:
        raise InputError(f"not a pair index ({error}); give what PairIndex.as_dict gives, or make a new one") from error
    if pairs.hash != expected:
        raise InputError(f"the pair index was changed after it was made (hash {pairs.hash}, stored {expected})")
    return pairs


def load_pairs(path: str | Path) -> PairIndex:
    """Reads an index. Raises InputError if it is missing, damaged, or was edited (its hash does not match)."""
    try:
        return pairs_from_dict(json.loads(Path(path).expanduser().read_text()))
    except FileNotFoundError:
        raise InputError(f"{path}: no such pair index") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a pair index ({error}); make a new one") from error
