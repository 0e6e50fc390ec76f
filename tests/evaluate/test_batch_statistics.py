"""Accuracy by the statistics of batches: what it equals, what it does not depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import data, devices, evaluate, models
from jsep.checks import InputError

MODEL = models.ResNet(num_classes=10, stage_sizes=(1,), width=4)
KEY = jax.random.key(2)


@pytest.fixture(scope="module")
def variables() -> dict:
    return oracles.random_variables(jax.eval_shape(lambda: models.init(jax.random.key(0), MODEL, (8, 8, 1))))


def accuracy(variables: dict, dataset: data.Dataset, batch_size: int) -> float:
    return evaluate.batch_statistics_accuracy(KEY, models.batch_fn(MODEL), variables, dataset, batch_size=batch_size)


def test_one_batch_of_all_images_is_the_model_in_training_mode(variables: dict, digits: data.Dataset) -> None:
    logits, _ = models.batch_fn(MODEL)(variables, jnp.asarray(digits.as_float(np.arange(len(digits)))), train=True)
    expected = float(jnp.mean(jnp.argmax(logits, axis=1) == digits.labels))
    assert 0 < expected < 1
    assert accuracy(variables, digits, len(digits)) == expected
    assert accuracy(variables, digits, 1000) == expected


def test_running_statistics_do_not_matter(variables: dict, digits: data.Dataset) -> None:
    moved = {**variables, "batch_stats": jax.tree.map(lambda leaf: 3 * leaf + 5, variables["batch_stats"])}
    image = jnp.asarray(digits.as_float(np.arange(1)))[0]
    in_evaluation = [np.asarray(models.logits_fn(MODEL, each)(image)) for each in (variables, moved)]
    assert np.abs(in_evaluation[0] - in_evaluation[1]).max() > 1e-2
    assert accuracy(moved, digits, 24) == accuracy(variables, digits, 24)


def test_the_images_that_fill_up_the_last_batch_count_once(variables: dict, digits: data.Dataset) -> None:
    # 64 images in batches of 24: the last holds 16 of its own and the first 8 of the order.
    order = np.asarray(jax.random.permutation(KEY, len(digits)))
    batches = [order[:24], order[24:48], np.concatenate([order[48:], order[:8]])]
    hits = []
    for batch in batches:
        logits, _ = models.batch_fn(MODEL)(variables, jnp.asarray(digits.as_float(batch)), train=True)
        hits.append(np.asarray(jnp.argmax(logits, axis=1) == digits.labels[batch]))
    expected = np.concatenate([hits[0], hits[1], hits[2][:16]]).mean()
    assert accuracy(variables, digits, 24) == pytest.approx(expected, abs=1e-7)


def test_on_a_mesh_it_is_the_same(variables: dict, digits: data.Dataset) -> None:
    mesh = devices.make_mesh(8)
    assert accuracy(devices.replicate(variables, mesh), digits, 32) == accuracy(variables, digits, 32)


def test_bad_batch_size_is_one_line(variables: dict, digits: data.Dataset) -> None:
    with pytest.raises(InputError, match="batch_size"):
        accuracy(variables, digits, 0)
