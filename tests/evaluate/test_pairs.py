"""Selection of images, the stored index, and explanation robustness on it."""

import dataclasses
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import attack, data, evaluate, explain, models
from jsep.checks import InputError
from jsep.types import Array

KEY = jax.random.key(0)
SHAPE = (2, 3, 1)
INFO = data.DatasetInfo("made up", 4, SHAPE, (0.5,), (0.25,), ("a", "b", "c", "d"), augment=False)


@pytest.fixture(scope="module")
def clustered() -> tuple[np.ndarray, data.Dataset]:
    """40 points in four far clusters of 10; each cluster has two of the four classes, 5 points of each."""
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [100, 0], [0, 100], [100, 100]])
    cluster = np.repeat(np.arange(4), 10)
    points = centres[cluster] + rng.normal(size=(40, 2))
    labels = ((cluster + np.arange(40) % 2) % 4).astype(np.int32)
    order = rng.permutation(40)
    images = rng.uniform(size=(40, *SHAPE)).astype(np.float32)
    return points[order].astype(np.float32), data.Dataset(images, labels[order], INFO, "test")


def select(points: np.ndarray, dataset: data.Dataset, **change: Any) -> evaluate.PairIndex:
    settings = {"num_clusters": 4, "num_pairs": 12, "feature_network": "made up"} | change
    return evaluate.select_pairs(points, dataset, **settings)


def test_pairs_are_representatives_of_different_clusters_and_classes(clustered: Any) -> None:
    points, dataset = clustered
    pairs = select(points, dataset)
    victims, targets = np.array(pairs.victims), np.array(pairs.targets)
    cluster = (points > 50) @ [1, 2]
    assert len(victims) == len(targets) == 12
    assert len(set(victims)) == 12, "a victim was chosen twice"
    assert set(targets) <= set(victims)
    assert np.all(cluster[victims] != cluster[targets])
    assert np.all(dataset.labels[victims] != dataset.labels[targets])
    np.testing.assert_array_equal(np.bincount(cluster[victims]), [3, 3, 3, 3])
    # The representatives of a cluster are the three points nearest to its mean.
    for index in range(4):
        members = np.flatnonzero(cluster == index)
        distance = np.linalg.norm(points[members] - points[members].mean(0), axis=1)
        assert set(members[np.argsort(distance)[:3]]) == set(victims[cluster[victims] == index])


def test_selection_is_deterministic_and_depends_on_the_seed(clustered: Any) -> None:
    first, again, other = (select(*clustered, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.hash == again.hash
    assert len(first.hash) == 16
    assert other.hash != first.hash
    assert other.targets != first.targets


def test_small_clusters_give_all_they_have(clustered: Any) -> None:
    points, dataset = clustered
    cluster = (points > 50) @ [1, 2]
    kept = np.concatenate([np.flatnonzero(cluster == 0)[:2], *(np.flatnonzero(cluster == k) for k in (1, 2, 3))])
    pairs = select(points[kept], dataset.take(kept), num_pairs=20)
    np.testing.assert_array_equal(np.bincount(cluster[kept][list(pairs.victims)]), [2, 6, 6, 6])


def test_selection_errors(clustered: Any) -> None:
    points, dataset = clustered
    for change, message in [
        ({"num_clusters": 1}, "num_clusters must be an integer >= 2"),
        ({"num_pairs": 0}, "num_pairs must be an integer >= 1"),
        ({"num_pairs": 41}, "41 pairs in 4 clusters need at least 41 images, got 40; ask for fewer"),
        ({"num_pairs": 1}, "no representative of another cluster and class for image"),
    ]:
        with pytest.raises(InputError, match=message):
            select(points, dataset, **change)
    with pytest.raises(InputError, match="expected one feature vector for each of the 40 images, got 39"):
        select(points[:39], dataset)
    single = dataclasses.replace(dataset, labels=np.zeros(40, np.int32))
    with pytest.raises(InputError, match="no representative of another cluster and class"):
        select(points, single)


def test_index_round_trip(clustered: Any, tmp_path: pathlib.Path) -> None:
    pairs = select(*clustered)
    evaluate.save_pairs(tmp_path / "pairs.json", pairs)
    assert evaluate.load_pairs(tmp_path / "pairs.json") == pairs
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.json"]
    assert json.loads((tmp_path / "pairs.json").read_text())["hash"] == pairs.hash


def test_changed_damaged_and_missing_indices_are_input_errors(clustered: Any, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "pairs.json"
    evaluate.save_pairs(path, select(*clustered))
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"victims": stored["victims"][::-1]}))
    with pytest.raises(InputError, match="the pair index was changed after it was made"):
        evaluate.load_pairs(path)
    without_hash = {key: value for key, value in stored.items() if key != "hash"}
    for content in [
        "",
        "{",
        "[]",
        json.dumps(without_hash),
        json.dumps(stored | {"more": 1}),
        '{"hash": 1, "victims": 2}',
    ]:
        path.write_text(content)
        with pytest.raises(InputError, match=r"pairs\.json: not a pair index") as caught:
            evaluate.load_pairs(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"nothing\.json: no such pair index"):
        evaluate.load_pairs(tmp_path / "nothing.json")


def test_index_for_other_data_is_refused(clustered: Any) -> None:
    points, dataset = clustered
    pairs = select(points, dataset)
    pairs.check_fits(dataset)
    for other in [
        dataclasses.replace(dataset, split="train"),
        dataset.take(slice(39)),
        dataclasses.replace(dataset, info=dataclasses.replace(INFO, name="cifar10")),
    ]:
        with pytest.raises(InputError, match=r"made for made up \(test, 40 images\), but the data are"):
            pairs.check_fits(other)
        with pytest.raises(InputError, match="make a new index or load the same data"):
            evaluate.explanation_robustness(
                KEY, model, jnp.zeros((4, 6)), other, pairs, evaluate.ExplanationAttackConfig()
            )


def test_features_do_not_depend_on_the_chunk_size(tiny: Any, digits: Any) -> None:
    feature_fn = models.features_fn(tiny.model)
    whole, chunked = (evaluate.features(feature_fn, tiny.variables, digits, chunk_size=size) for size in (256, 24))
    assert whole.shape[0] == 64
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, chunked, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(whole[40], feature_fn(tiny.variables, digits.images[40]), rtol=1e-4, atol=1e-5)


# Explanation robustness.


def model(variables: Array, image: Array) -> Array:
    """A diagonal quadratic classifier; variables (K, 6) > 0."""
    return variables @ image.reshape(-1) ** 2


SETTINGS = attack.TargetedConfig(num_steps=30, learning_rate=0.01)
CONFIG = evaluate.ExplanationAttackConfig(method="gradient", settings=SETTINGS)


@pytest.fixture(scope="module")
def attacked(clustered: Any) -> tuple[np.ndarray, data.Dataset, evaluate.PairIndex, evaluate.PairResults]:
    points, dataset = clustered
    pairs = select(points, dataset, num_pairs=7)
    variables = np.random.default_rng(1).uniform(0.5, 2, (4, 6)).astype(np.float32)
    return variables, dataset, pairs, evaluate.explanation_robustness(KEY, model, variables, dataset, pairs, CONFIG)


def test_results_are_what_the_attack_gives_pair_by_pair(attacked: Any) -> None:
    variables, dataset, pairs, results = attacked
    logits_fn = lambda z: model(variables, z)  # noqa: E731

    def numpy_map(image: np.ndarray) -> np.ndarray:
        label = int(np.argmax(variables @ image.ravel() ** 2))
        gradient = (2 * variables[label] * image.ravel()).reshape(SHAPE)
        return oracles.explanation_map(gradient, "abs_sum", "l1")

    for index, (victim, target) in enumerate(zip(pairs.victims, pairs.targets, strict=True)):
        x, t = dataset.images[victim], dataset.images[target]
        np.testing.assert_allclose(results.victim_map[index], numpy_map(x), rtol=1e-5)
        np.testing.assert_allclose(results.target_map[index], numpy_map(t), rtol=1e-5)
        np.testing.assert_allclose(results.loss_start[index], np.mean((numpy_map(x) - numpy_map(t)) ** 2), rtol=1e-4)
        assert int(results.predicted[index]) == int(np.argmax(variables @ x.ravel() ** 2))
    x, target_map = dataset.images[pairs.victims[2]], results.target_map[2]
    map_fn = explain.make_map_fn("gradient", logits_fn, results.predicted[2])
    expected, info = jax.jit(
        lambda: attack.attack_explanation(
            KEY, map_fn, logits_fn, x, target_map,
            num_steps=30, learning_rate=0.01, map_weight=SETTINGS.map_weight, output_weight=SETTINGS.output_weight,
        )
    )()  # fmt: skip
    np.testing.assert_allclose(results.manipulated[2], expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(results.losses[2], info.losses, rtol=1e-2, atol=1e-9)


def test_results_are_consistent_and_the_attack_helps(attacked: Any) -> None:
    _, dataset, pairs, results = attacked
    assert all(isinstance(value, np.ndarray) and len(value) == 7 for value in results)
    assert results.losses.shape == (7, 31)
    np.testing.assert_allclose(results.losses[:, 0], results.loss_start, rtol=1e-4)
    assert np.all(results.loss_end <= results.loss_start * (1 + 1e-5))
    assert results.loss_end.mean() < 0.8 * results.loss_start.mean()
    assert results.cosine_end.mean() > results.cosine_start.mean()
    assert np.all(results.label_kept)
    np.testing.assert_array_equal(results.predicted, results.manipulated_predicted)
    delta = np.abs(results.manipulated - dataset.images[list(pairs.victims)]).reshape(7, -1).max(1)
    np.testing.assert_allclose(results.distance, delta, atol=1e-6)
    np.testing.assert_allclose(results.effective_pixels, 1 / (results.victim_map**2).sum((1, 2)), rtol=1e-4)


def test_summary_holds_the_means_of_the_result_file(attacked: Any) -> None:
    results = attacked[-1]
    summary = results.summary()
    assert set(summary) == {
        "explanation_loss_start", "explanation_loss_end", "scale_free_loss_start", "scale_free_loss_end",
        "relative_reduction", "cosine_start", "cosine_end", "effective_pixels", "label_kept",
        "perturbation_size",
    }  # fmt: skip
    assert all(type(value) is float for value in summary.values())
    start, end = results.loss_start.mean(), results.loss_end.mean()
    assert summary["explanation_loss_start"] == pytest.approx(start)
    assert summary["scale_free_loss_end"] == pytest.approx(36 * end)
    assert summary["relative_reduction"] == pytest.approx((start - end) / start, rel=1e-5)
    assert summary["label_kept"] == 1.0
    assert summary["perturbation_size"] == pytest.approx(results.distance.mean())


def test_course_is_that_of_the_evaluated_attack(attacked: Any) -> None:
    variables, dataset, pairs, results = attacked
    steps = evaluate.trajectory_steps(SETTINGS.num_steps, 5)
    chosen = (6, 2)
    course = evaluate.attack_trajectory(KEY, model, variables, dataset, pairs, CONFIG, chosen=chosen, steps=steps)
    assert steps == (0, 2, 8, 17, 30)
    assert course.images.shape == (2, 5, *SHAPE)
    for row, pair in enumerate(chosen):
        np.testing.assert_array_equal(course.images[row, 0], dataset.as_float(np.array(pairs.victims[pair])))
        np.testing.assert_allclose(course.losses[row], results.losses[pair][list(steps)], rtol=1e-4, atol=1e-10)
        # The loss of a shown map is that of the attack: image, map and curve belong together.
        shown = np.mean((course.maps[row] - results.target_map[pair]) ** 2, axis=(1, 2))
        np.testing.assert_allclose(shown, course.losses[row], rtol=1e-3, atol=1e-9)
        own = [int(np.argmax(model(variables, image))) for image in course.images[row]]
        np.testing.assert_array_equal(course.predicted[row], own)


def test_course_refuses_pairs_that_are_not_there_and_the_ensemble(attacked: Any) -> None:
    variables, dataset, pairs, _ = attacked
    with pytest.raises(InputError, match=r"pairs in \[0, 7\), got 7"):
        evaluate.attack_trajectory(KEY, model, variables, dataset, pairs, CONFIG, chosen=[7], steps=[0])
    ensemble = dataclasses.replace(CONFIG, attack="auto", settings=None)
    with pytest.raises(InputError, match="attack 'auto' has no trajectory"):
        evaluate.attack_trajectory(KEY, model, variables, dataset, pairs, ensemble, chosen=[0], steps=[0])


def test_transferred_attack_follows_one_method_and_measures_another(attacked: Any) -> None:
    variables, dataset, pairs, own = attacked
    config = dataclasses.replace(CONFIG, method="occlusion", attacked_method="gradient")
    with pytest.raises(InputError, match="window must be at most 2"):  # the measured method is really the other one
        evaluate.explanation_robustness(KEY, model, variables, dataset, pairs, config)
    config = dataclasses.replace(CONFIG, method="gradient_x_input", attacked_method="gradient")
    results = evaluate.explanation_robustness(KEY, model, variables, dataset, pairs, config)
    np.testing.assert_allclose(results.manipulated, own.manipulated, rtol=0, atol=1e-4)
    np.testing.assert_allclose(results.losses, own.losses, rtol=1e-2, atol=1e-9)
    for index, victim in enumerate(pairs.victims):
        label, x = int(results.predicted[index]), dataset.images[victim]
        expected = explain.explanation_map(jnp.asarray(2 * variables[label].reshape(SHAPE) * x**2))
        np.testing.assert_allclose(results.victim_map[index], expected, rtol=1e-4)


def test_method_without_derivative_can_be_measured_but_not_attacked(attacked: Any) -> None:
    variables, dataset, pairs, own = attacked
    with pytest.raises(InputError, match="'rise' has no derivative: attack another one and evaluate 'rise'"):
        evaluate.ExplanationAttackConfig(method="rise")
    with pytest.raises(InputError, match="'lime' has no derivative"):
        evaluate.ExplanationAttackConfig(method="gradient", attacked_method="lime")
    few = attack.TargetedConfig(num_steps=2)
    config = dataclasses.replace(CONFIG, method="rise", attacked_method="gradient", settings=few)
    results = evaluate.explanation_robustness(KEY, model, variables, dataset, pairs, config)
    assert results.victim_map.shape == own.victim_map.shape
    assert np.abs(results.victim_map - own.victim_map).max() > 1e-3


def test_results_do_not_depend_on_the_chunk_size(attacked: Any) -> None:
    variables, dataset, pairs, whole = attacked
    chunked = evaluate.explanation_robustness(KEY, model, variables, dataset, pairs, CONFIG, chunk_size=3)
    for name, first, second in zip(whole._fields, whole, chunked, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("norm", attack.NORMS)
def test_manipulated_images_stay_in_the_budget_and_the_box(norm: str, attacked: Any) -> None:
    variables, dataset, pairs, free = attacked
    config = dataclasses.replace(CONFIG, epsilon=0.05, norm=norm)
    results = evaluate.explanation_robustness(KEY, model, variables, dataset, pairs, config)
    delta = (results.manipulated.astype(np.float64) - dataset.images[list(pairs.victims)]).reshape(7, -1)
    size = np.abs(delta).max(1) if norm == "linf" else np.sqrt((delta**2).sum(1))
    assert np.all(size <= 0.05 + 1e-6)
    assert 0 <= results.manipulated.min() <= results.manipulated.max() <= 1
    np.testing.assert_allclose(results.distance, size, atol=1e-6)
    assert free.loss_end.mean() < results.loss_end.mean() < free.loss_start.mean()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "shap"}, "unknown explanation method 'shap'"),
        ({"norm": "l0"}, "unknown norm 'l0'"),
        ({"epsilon": 8.0}, "did you mean 8/255"),
    ],
)
def test_bad_attack_settings_are_input_errors(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": -1}, "num_steps must be an integer >= 0"),
        ({"learning_rate": 0.0}, "learning_rate must be a number > 0"),
        ({"map_weight": -1.0}, "map_weight must be a number >= 0"),
        ({"output_weight": -1.0}, "output_weight must be a number >= 0"),
    ],
)
def test_bad_settings_of_the_targeted_attack_are_input_errors(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        attack.TargetedConfig(**change)


def test_evaluator_refuses_images_outside_the_budget_or_the_valid_pixels() -> None:
    from jsep.evaluate.robustness import _check_budget

    victims = np.full((2, 4, 4, 1), 0.5, np.float32)
    config = evaluate.ExplanationAttackConfig(epsilon=0.1)
    _check_budget(victims + np.float32(0.1), victims, config)
    with pytest.raises(RuntimeError, match=r"left its linf ball of 0.1: it used 0.11"):
        _check_budget(victims + np.float32(0.11), victims, config)
    with pytest.raises(RuntimeError, match="left the valid pixels"):
        _check_budget(victims + 1, victims, evaluate.ExplanationAttackConfig())
    with pytest.raises(RuntimeError, match=r"left its l2 ball"):
        _check_budget(victims + np.float32(0.1), victims, evaluate.ExplanationAttackConfig(epsilon=0.39, norm="l2"))


def test_index_of_numpy_numbers_is_stored_as_that_of_python_numbers(tmp_path: pathlib.Path) -> None:
    plain = evaluate.PairIndex("d", "test", 5, "n", 2, 0, (1, 2), (3, 4))
    numpy = evaluate.PairIndex("d", "test", np.int64(5), "n", np.int32(2), np.uint8(0), tuple(np.array([1, 2])), (3, 4))
    assert numpy.hash == plain.hash
    evaluate.save_pairs(tmp_path / "pairs.json", numpy)
    assert evaluate.load_pairs(tmp_path / "pairs.json") == plain


def test_features_that_are_not_finite_are_an_input_error() -> None:
    dataset = data.from_arrays(np.zeros((6, 2, 2, 1), np.float32), np.arange(6) % 2)
    points = np.zeros((6, 3))
    points[2, 1] = np.nan
    with pytest.raises(InputError, match="points must be finite features, got NaN or infinity for 1 of 6 images"):
        evaluate.select_pairs(points, dataset, num_clusters=2, num_pairs=2, feature_network="n")
