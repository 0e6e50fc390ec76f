"""Losses within and between clusters against the loop over pairs; planted clusters are told apart."""

import itertools

import numpy as np
import pytest

from jsep import evaluate
from jsep.checks import InputError


def maps(seed: int, num: int = 9, shape: tuple[int, int] = (3, 4)) -> np.ndarray:
    drawn = np.random.default_rng(seed).gamma(0.5, size=(num, *shape))
    return (drawn / drawn.sum((1, 2), keepdims=True)).astype(np.float32)


def test_within_and_between_equals_the_loop_over_pairs() -> None:
    own, labels = maps(0), np.array([0, 0, 1, 1, 1, 2, 0, 2, 1])
    found = evaluate.cluster_explanation_loss(own, labels)
    losses: dict[str, list[float]] = {"intra": [], "inter": []}
    excess: dict[str, list[float]] = {"intra": [], "inter": []}
    for i, j in itertools.combinations(range(9), 2):
        name = "intra" if labels[i] == labels[j] else "inter"
        losses[name].append(float(evaluate.explanation_loss(own[i], own[j])))
        excess[name].append(float(evaluate.split_loss(own[i], own[j]).one_minus_concordance))
    for name in losses:
        assert found[f"loss_{name}"] == pytest.approx(np.mean(losses[name]), rel=1e-5)
        assert found[f"loss_{name}_std"] == pytest.approx(np.std(losses[name], ddof=1), rel=1e-4)
        assert found[f"one_minus_concordance_{name}"] == pytest.approx(np.mean(excess[name]), rel=1e-4)
    assert found["ratio"] == pytest.approx(np.mean(losses["inter"]) / np.mean(losses["intra"]), rel=1e-5)


def test_planted_clusters_have_a_ratio_above_one_and_random_ones_one() -> None:
    centres, labels = maps(1, 4, (8, 8)), np.repeat(np.arange(4), 30)
    own = 0.5 * centres[labels] + 0.5 * maps(2, 120, (8, 8))
    assert evaluate.cluster_explanation_loss(own, labels)["ratio"] > 1.5
    shuffled = np.random.default_rng(0).permutation(labels)
    assert evaluate.cluster_explanation_loss(own, shuffled)["ratio"] == pytest.approx(1, abs=0.05)
    assert evaluate.adjusted_rand_index(labels, (labels + 1) % 4) == pytest.approx(1)
    assert evaluate.adjusted_rand_index(labels, shuffled) == pytest.approx(0, abs=0.05)


def test_clusters_that_cannot_be_compared_are_input_errors() -> None:
    with pytest.raises(InputError, match="no two maps lie in one cluster"):
        evaluate.cluster_explanation_loss(maps(0, 3), np.arange(3))
    with pytest.raises(InputError, match="no two maps lie in different clusters"):
        evaluate.cluster_explanation_loss(maps(0, 3), np.zeros(3))
    with pytest.raises(InputError, match=r"expected maps \(B, H, W\) with one label each"):
        evaluate.cluster_explanation_loss(maps(0, 3), np.zeros(4))


def test_mean_losses_by_cluster_leave_out_a_map_itself() -> None:
    one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])  # their loss is 1
    within, between = evaluate.mean_losses_by_cluster(np.array([[one, one, other], [other, other, other]]))
    np.testing.assert_allclose(within, [[0.5, 0.5, 1.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(between, [[1.0, 1.0, 0.0], [2 / 3, 2 / 3, 2 / 3]])
    alone, _ = evaluate.mean_losses_by_cluster(np.array([[one], [other]]))
    assert np.isnan(alone).all()
