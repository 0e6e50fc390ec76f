"""The maps of a few images without an attack, on a linear model whose maps are known."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import evaluate, explain
from jsep.checks import InputError

KEY = jax.random.key(3)
IMAGES = np.random.default_rng(0).uniform(0.2, 0.8, (3, 3, 4, 2)).astype(np.float32)
ORACLE = oracles.linear()


def model_fn(variables: dict, image: jax.Array) -> jax.Array:
    return variables["scale"] * ORACLE.logits(image)


VARIABLES = {"scale": jnp.float32(2.0)}


def maps_of(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """|w_label x| summed over channels, divided by its sum."""
    raw = np.abs(np.asarray(ORACLE.weights)[labels] * images.astype(np.float64)).sum(-1)
    return raw / raw.sum((1, 2), keepdims=True)


def predicted(images: np.ndarray) -> np.ndarray:
    return np.asarray(jax.vmap(ORACLE.logits)(jnp.asarray(images))).argmax(1)


def test_probe_compares_every_map_with_the_next_one_and_counts_its_pixels() -> None:
    maps = maps_of(IMAGES, predicted(IMAGES))
    losses = [((maps[i] - maps[(i + 1) % 3]) ** 2).mean() for i in range(3)]
    found = evaluate.map_diagnostics(KEY, model_fn, VARIABLES, IMAGES)
    assert found["probe_explanation_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert found["probe_effective_pixels"] == pytest.approx(np.mean(1 / (maps**2).sum((1, 2))), rel=1e-5)


def test_noise_sensitivity_is_the_mean_relative_change_of_the_map() -> None:
    found = evaluate.noise_sensitivity(KEY, model_fn, VARIABLES, IMAGES, radius=0.3, num_samples=5, chunk_size=2)
    labels, own = predicted(IMAGES), maps_of(IMAGES, predicted(IMAGES))
    relative, scaled = [], []
    for index, key in enumerate(jax.random.split(KEY, 3)):
        noise_key = jax.random.split(key)[1]
        near = np.asarray(evaluate.neighbours(noise_key, jnp.asarray(IMAGES[index]), radius=0.3, num_samples=5))
        change = maps_of(near, np.repeat(labels[index], 5)) - own[index]
        relative.append(np.sqrt((change**2).sum((1, 2))).mean() / np.sqrt((own[index] ** 2).sum()))
        scaled.append(12**2 * (change**2).mean())
    assert found["noise_sensitivity"] == pytest.approx(np.mean(relative), rel=1e-4)
    assert found["noise_scale_free_loss"] == pytest.approx(np.mean(scaled), rel=1e-4)


def test_map_that_is_the_same_everywhere_does_not_move_under_noise() -> None:
    found = evaluate.noise_sensitivity(KEY, model_fn, VARIABLES, IMAGES, method="gradient")
    assert found["noise_sensitivity"] == pytest.approx(0.0, abs=1e-6)
    other = evaluate.noise_sensitivity(KEY, model_fn, VARIABLES, IMAGES, radius=0.0)
    assert other["noise_sensitivity"] == pytest.approx(0.0, abs=1e-6)


def test_map_that_is_zero_counts_as_unmoved() -> None:
    nothing = {"scale": jnp.float32(0.0)}
    raw = explain.MapConfig("abs_sum", "none")
    found = evaluate.noise_sensitivity(KEY, model_fn, nothing, IMAGES, map_config=raw)
    assert found == {"noise_sensitivity": 0.0, "noise_scale_free_loss": 0.0}
    assert evaluate.map_diagnostics(KEY, model_fn, nothing, IMAGES, map_config=raw)["probe_effective_pixels"] == 0.0


def test_bad_input_is_one_line() -> None:
    with pytest.raises(InputError, match="a probe needs at least 2 images to compare, got 1"):
        evaluate.map_diagnostics(KEY, model_fn, VARIABLES, IMAGES[:1])
    with pytest.raises(InputError, match="num_samples must be an integer >= 1, got 0"):
        evaluate.noise_sensitivity(KEY, model_fn, VARIABLES, IMAGES, num_samples=0)
    with pytest.raises(InputError, match=r"images must be in \[0, 1\]"):
        evaluate.noise_sensitivity(KEY, model_fn, VARIABLES, 255 * IMAGES)
