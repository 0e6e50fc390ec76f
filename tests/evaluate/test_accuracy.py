"""Clean and robust accuracy: every image once, whatever the chunks."""

import dataclasses
import hashlib
import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import attack, data, evaluate
from jsep.checks import InputError
from jsep.types import Array

KEY = jax.random.key(0)


def linear_model(weights: Array, image: Array) -> Array:
    return jnp.tensordot(weights, image - 0.5, 3)


@pytest.fixture(scope="module")
def classified() -> tuple[jax.Array, data.Dataset]:
    """A linear classifier that is right on most, but not all, of 23 images; every kind of margin occurs."""
    rng = np.random.default_rng(0)
    info = data.DatasetInfo("made up", 3, (3, 4, 2), (0.5,) * 2, (0.25,) * 2, ("a", "b", "c"), augment=False)
    images = rng.uniform(0.3, 0.7, (23, 3, 4, 2)).astype(np.float32)
    weights = rng.normal(size=(3, 3, 4, 2))
    labels = np.tensordot(images - 0.5, weights, ((1, 2, 3), (1, 2, 3))).argmax(1).astype(np.int32)
    labels[::6] = (labels[::6] + 1) % 3
    return jnp.asarray(weights, jnp.float32), data.Dataset(images, labels, info, "test")


def numpy_accuracies(weights: np.ndarray, dataset: data.Dataset, epsilon: float) -> tuple[float, float]:
    """Exact for two classes; here the image is robust when no rival class wins at its own worst case."""
    weights = np.asarray(weights, np.float64)
    clean, robust = [], []
    for image, label in zip(dataset.images, dataset.labels, strict=True):
        margins = []
        for rival in set(range(len(weights))) - {int(label)}:
            difference = weights[rival] - weights[label]
            worst = oracles.worst_linear(difference, image, epsilon, "linf")
            margins.append([np.sum(difference * (z - 0.5)) for z in (image, worst)])
        clean.append(max(m[0] for m in margins) < 0)
        robust.append(max(m[1] for m in margins) < 0)
    return float(np.mean(clean)), float(np.mean(robust))


@pytest.mark.parametrize("epsilon", [0.0, 0.02, 0.05])
def test_accuracies_of_two_classes_equal_numpy(classified: Any, epsilon: float) -> None:
    # With two classes PGD reaches the worst case of a linear model, so the robust accuracy is known exactly.
    weights, dataset = classified
    kept = dataset.labels < 2
    two = dataset.take(np.flatnonzero(kept))
    clean, robust = evaluate.accuracies(
        KEY, linear_model, weights[:2], two, epsilon=epsilon, alpha=epsilon / 3, num_steps=8
    )
    expected = numpy_accuracies(np.asarray(weights[:2]), two, epsilon)
    assert (clean, robust) == pytest.approx(expected)
    assert 0 < robust <= clean < 1


def test_accuracies_do_not_depend_on_the_chunk_size(classified: Any) -> None:
    weights, dataset = classified
    settings = {"epsilon": 0.03, "alpha": 0.01, "num_steps": 2}
    results = {
        evaluate.accuracies(KEY, linear_model, weights, dataset, chunk_size=size, **settings)
        for size in (5, 7, 23, 256)
    }
    assert len(results) == 1
    clean, robust = results.pop()
    logits = np.tensordot(dataset.images - 0.5, np.asarray(weights), ((1, 2, 3), (1, 2, 3)))
    assert clean == pytest.approx(np.mean(logits.argmax(1) == dataset.labels))
    assert (clean * 23) % 1 == pytest.approx(0, abs=1e-6)
    assert robust < clean


def test_last_image_counts_once_when_the_chunk_does_not_divide(classified: Any) -> None:
    # Only the last image, by which the last chunk is padded, is wrong.
    weights, dataset = classified
    logits = np.tensordot(dataset.images - 0.5, np.asarray(weights), ((1, 2, 3), (1, 2, 3)))
    labels = logits.argmax(1).astype(np.int32)
    labels[-1] = (labels[-1] + 1) % 3
    flipped = dataclasses.replace(dataset, labels=labels)
    clean, _ = evaluate.accuracies(KEY, linear_model, weights, flipped, num_steps=0, chunk_size=10)
    assert clean == pytest.approx(22 / 23)


def test_robust_accuracy_falls_with_epsilon_and_is_at_most_clean(classified: Any) -> None:
    weights, dataset = classified
    results = [
        evaluate.accuracies(
            KEY, linear_model, weights, dataset, epsilon=e, alpha=e / 2, num_steps=4, random_start=False
        )
        for e in (0.0, 0.01, 0.03, 0.1, 0.3)
    ]
    robust = [r for _, r in results]
    assert len({c for c, _ in results}) == 1
    assert robust[0] == results[0][0]
    assert robust == sorted(robust, reverse=True)
    assert robust[-1] == 0


def test_image_that_is_wrong_when_clean_never_counts_as_robust() -> None:
    # One step overshoots from the wrong side of the boundary, 0.1 + sin(30 (x - 0.5)) > 0, to the right one.
    def model(_: Any, image: Array) -> Array:
        return jnp.array([0.0, 0.1 + jnp.sin(30 * (image[0, 0, 0] - 0.5))])

    info = data.DatasetInfo("made up", 2, (1, 1, 1), (0.5,), (0.25,), ("a", "b"), augment=False)
    dataset = data.Dataset(np.full((1, 1, 1, 1), 0.5, np.float32), np.zeros(1, np.int32), info, "test")
    assert np.argmax(model(None, jnp.full((1, 1, 1), 0.7))) == 0
    settings = {"epsilon": 0.2, "alpha": 0.2, "num_steps": 1, "random_start": False}
    assert evaluate.accuracies(KEY, model, {}, dataset, **settings) == (0.0, 0.0)


def test_zero_steps_give_the_clean_accuracy_twice(classified: Any) -> None:
    weights, dataset = classified
    clean, robust = evaluate.accuracies(KEY, linear_model, weights, dataset, num_steps=0)
    assert clean == robust


def test_uint8_images_count_as_their_float_values(classified: Any) -> None:
    weights, dataset = classified
    images = np.round(dataset.images * 255).astype(np.uint8)
    counted = dataclasses.replace(dataset, images=images)
    scaled = dataclasses.replace(dataset, images=images.astype(np.float32) / 255)
    results = [evaluate.accuracies(KEY, linear_model, weights, z, epsilon=0.03, num_steps=2) for z in (counted, scaled)]
    assert results[0] == results[1]


def test_one_compilation_serves_all_chunks_and_budgets(classified: Any) -> None:
    from jsep.evaluate.accuracy import _correct

    weights, dataset = classified
    before = _correct._cache_size()
    for epsilon in (0.01, 0.02, 0.03):
        evaluate.accuracies(KEY, linear_model, weights, dataset, epsilon=epsilon, num_steps=3, chunk_size=6)
    assert _correct._cache_size() == before + 1


def test_model_with_too_few_classes_and_bad_settings_are_input_errors(classified: Any) -> None:
    weights, dataset = classified
    with pytest.raises(InputError, match="the model has 2 classes, but made up has labels up to 2"):
        evaluate.accuracies(KEY, linear_model, weights[:2], dataset)
    with pytest.raises(InputError, match="chunk_size must be an integer >= 1, got 0"):
        evaluate.accuracies(KEY, linear_model, weights, dataset, chunk_size=0)
    with pytest.raises(InputError, match="epsilon must be in"):
        evaluate.accuracies(KEY, linear_model, weights, dataset, epsilon=8)
    with pytest.raises(InputError, match="alpha must be a number >= 0"):
        evaluate.accuracies(KEY, linear_model, weights, dataset, alpha=-1.0)


def test_auto_attack_counts_every_image_once_and_is_exact_on_a_linear_model(classified: Any) -> None:
    weights, dataset = classified
    version = attack.AutoAttackConfig(attacks=("apgd-t",), num_steps=15)
    clean, robust, info = evaluate.auto_attack_accuracy(
        KEY, linear_model, weights, dataset, epsilon=0.02, version=version, chunk_size=10
    )
    assert (clean, robust) == pytest.approx(numpy_accuracies(np.asarray(weights), dataset, 0.02))
    assert info.robust.shape == (23,)
    assert robust < clean < 1
    counted = dataclasses.replace(dataset, images=np.round(dataset.images * 255).astype(np.uint8))
    assert evaluate.auto_attack_accuracy(KEY, linear_model, weights, counted, epsilon=0.0)[0] == pytest.approx(clean)


def test_interrupted_accuracy_goes_on_from_its_chunks_with_the_same_numbers(classified: Any, tmp_path: Any) -> None:
    weights, dataset = classified
    settings: dict[str, Any] = {"epsilon": 0.03, "alpha": 0.01, "num_steps": 2, "chunk_size": 5}
    whole = evaluate.correctly_classified(KEY, linear_model, weights, dataset, **settings)
    seen: list[int] = []

    def kill(count: int) -> None:
        seen.append(count)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate.correctly_classified(
            KEY, linear_model, weights, dataset, store=tmp_path / "s", on_progress=kill, **settings
        )
    assert len(list((tmp_path / "s").glob("chunk_*.npz"))) == 3
    # What is stored is not computed again, unless it is damaged: a mark in it comes back.
    with np.load(tmp_path / "s" / "chunk_000000.npz") as file:
        marked = {name: ~values if name in ("clean", "robust") else values for name, values in file.items()}
    damaged = bytearray((tmp_path / "s" / "chunk_000000.npz").read_bytes())
    damaged[len(damaged) // 3] ^= 1
    (tmp_path / "s" / "chunk_000000.npz").write_bytes(damaged)
    again = evaluate.correctly_classified(
        KEY, linear_model, weights, dataset, store=tmp_path / "s", on_progress=seen.append, **settings
    )
    assert seen == [5, 5, 5, 5, 5, 5, 5, 3]
    for first, second in zip(whole, again, strict=True):
        np.testing.assert_array_equal(first, second)
    stored = io.BytesIO()
    np.savez(stored, **marked)
    checksum = hashlib.sha256(stored.getvalue()).digest()
    (tmp_path / "s" / "chunk_000000.npz").write_bytes(stored.getvalue() + checksum)
    clean, _ = evaluate.correctly_classified(KEY, linear_model, weights, dataset, store=tmp_path / "s", **settings)
    np.testing.assert_array_equal(clean[:5], ~whole[0][:5])
    with pytest.raises(InputError, match="holds chunks of another evaluation"):
        evaluate.correctly_classified(KEY, linear_model, 2 * weights, dataset, store=tmp_path / "s", **settings)
    assert evaluate.accuracies(KEY, linear_model, weights, dataset, **settings) == (whole[0].mean(), whole[1].mean())


def test_auto_attack_in_parts_counts_every_image_once_and_goes_on(classified: Any, tmp_path: Any) -> None:
    weights, dataset = classified
    version = attack.AutoAttackConfig(attacks=("apgd-t",), num_steps=15)
    settings: dict[str, Any] = {"epsilon": 0.02, "version": version, "chunk_size": 10, "part_size": 10}
    done: list[float] = []

    def on_progress(name: str, record: dict[str, float]) -> None:
        done.append(record["done"])
        if len(done) == 2:
            raise KeyboardInterrupt

    store = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        evaluate.auto_attack_accuracy(
            KEY, linear_model, weights, dataset, store=store, on_progress=on_progress, **settings
        )
    clean, robust, info = evaluate.auto_attack_accuracy(
        KEY, linear_model, weights, dataset, store=store, on_progress=on_progress, **settings
    )
    assert done == [0, 10, 10, 20]
    assert (clean, robust) == pytest.approx(numpy_accuracies(np.asarray(weights), dataset, 0.02))
    assert info.robust.shape == info.broken_by.shape == (23,)
    assert info.robust_accuracy["apgd-t"] == pytest.approx(robust)
    _, _, stored = evaluate.auto_attack_accuracy(KEY, linear_model, weights, dataset, store=store, **settings)
    assert stored.checks == info.checks
    np.testing.assert_array_equal(stored.broken_by, info.broken_by)
