"""Groups of images: planted clusters are found by every method, the middle of a group comes first, seeds repeat."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from jsep import data, evaluate
from jsep.checks import InputError
from jsep.evaluate.clustering import k_medoids

INFO = data.DatasetInfo("made up", 4, (2, 3, 1), (0.5,), (0.25,), ("a", "b", "c", "d"), augment=False)


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, data.Dataset, np.ndarray]:
    """48 points in four far clusters of 12, each with two of the four classes."""
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(4), 12)
    points = np.array([[0, 0], [100, 0], [0, 100], [100, 100]])[cluster] + rng.normal(size=(48, 2))
    labels = ((cluster + np.arange(48) % 2) % 4).astype(np.int32)
    order = rng.permutation(48)
    images = rng.uniform(size=(48, 2, 3, 1)).astype(np.float32)
    return points[order].astype(np.float32), data.Dataset(images, labels[order], INFO, "test"), cluster[order]


def select(planted, selection: str, **change) -> evaluate.PairIndex:
    settings = {"num_clusters": 4, "num_pairs": 16, "feature_network": "made up", "selection": selection} | change
    return evaluate.select_pairs(planted[0], planted[1], **settings)


@pytest.mark.parametrize("selection", evaluate.CLUSTERINGS)
def test_every_clustering_finds_planted_clusters_and_ranks_from_their_middle(planted, selection: str) -> None:
    points, dataset, cluster = planted
    groups = evaluate.make_groups(points, dataset.labels, selection, num_clusters=4)
    pairs_of_names = set(zip(groups.labels.tolist(), cluster.tolist(), strict=True))
    assert len(pairs_of_names) == 4, "the groups are not the planted clusters"
    for index in range(4):
        members = np.flatnonzero(cluster == index)
        inner = np.linalg.norm(points[members][:, None] - points[members], axis=-1).sum(1)
        middle = members[inner.argmin()] if selection == "kmedoids" else None
        first = members[groups.rank[members].argmin()]
        nearest = members[np.linalg.norm(points[members] - points[members].mean(0), axis=1).argmin()]
        assert first == (nearest if middle is None else middle)


@pytest.mark.parametrize("selection", evaluate.SELECTIONS)
def test_every_selection_gives_pairs_repeats_and_says_how_it_was_made(planted, selection: str) -> None:
    first, again = select(planted, selection), select(planted, selection)
    assert first == again
    victims, targets = np.array(first.victims), np.array(first.targets)
    labels = planted[1].labels
    assert len(set(victims.tolist())) == 16
    assert np.all(victims != targets)
    assert np.all(labels[victims] != labels[targets])
    assert first.selection == selection
    if selection in ("class_means", "per_class"):
        np.testing.assert_array_equal(np.bincount(labels[victims]), [4, 4, 4, 4])
    if selection in ("random", "per_class"):
        assert select(planted, selection, seed=1).victims != first.victims


def test_hashes_of_a_selection_are_the_same_on_every_machine(planted) -> None:
    hashes = {name: select(planted, name).hash for name in ("kmeans", "random", "per_class", "class_means")}
    assert hashes == {
        "kmeans": "795baa987cacb021",
        "random": "0015c094ce76f184",
        "per_class": "1436d6f608caa464",
        "class_means": "8c265ba0ed888919",
    }


def test_targets_of_the_same_class_only_where_allowed(planted) -> None:
    labels = planted[1].labels
    allowed = [select(planted, "kmeans", same_class=True, seed=seed) for seed in range(4)]
    assert any(np.any(labels[list(p.victims)] == labels[list(p.targets)]) for p in allowed)
    single = dataclasses.replace(planted[1], labels=np.zeros(48, np.int32))
    with pytest.raises(InputError, match="no representative of another cluster and class"):
        select((planted[0], single), "kmeans")
    assert len(select((planted[0], single), "kmeans", same_class=True).victims) == 16


def test_indices_of_other_selections_round_trip_and_old_ones_keep_their_hash(planted, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "pairs.json"
    for change in ({"selection": "kmeans"}, {"selection": "random"}, {"selection": "kmedoids", "same_class": True}):
        pairs = select(planted, **change)
        evaluate.save_pairs(path, pairs)
        assert evaluate.load_pairs(path) == pairs
    stored = select(planted, "kmeans").as_dict()
    assert "selection" not in stored, "an index of the first kind is what it was"
    assert "same_class" not in stored
    path.write_text(json.dumps(stored | {"selection": "random"}))
    with pytest.raises(InputError, match="the pair index was changed"):
        evaluate.load_pairs(path)


def test_medoids_are_members_with_the_smallest_sum_of_distances() -> None:
    points = np.array([[0.0], [1.0], [2.0], [50.0], [51.0], [55.0]])
    assert sorted(k_medoids(points, 2).tolist()) == [1, 4]
    assert sorted(k_medoids(points, 6).tolist()) == list(range(6))
    with pytest.raises(InputError, match="7 clusters need as many images, got 6"):
        k_medoids(points, 7)


def test_bad_selections_are_input_errors(planted) -> None:
    with pytest.raises(InputError, match="unknown selection 'kmean'.*did you mean 'kmeans'"):
        select(planted, "kmean")
    with pytest.raises(InputError, match="49 clusters need as many images, got 48"):
        evaluate.make_groups(planted[0], planted[1].labels, "kmedoids", num_clusters=49)
    with pytest.raises(InputError, match="17 pairs in 50 clusters need at least 50 images, got 48"):
        select(planted, "kmeans", num_pairs=17, num_clusters=50)
