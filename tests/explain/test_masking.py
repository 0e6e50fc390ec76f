"""Occlusion, RISE and LIME against slow loops and linear models."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import sklearn.linear_model

from jsep import explain
from jsep.checks import InputError
from jsep.explain.lime import grid_segments, ridge_coefficients
from jsep.explain.masking import rise_from_masks, rise_masks

SHAPE = (5, 6, 2)
IMAGE = np.random.default_rng(0).uniform(0.1, 0.9, SHAPE).astype(np.float32)
KEY = jax.random.key(0)


def occlusion_by_loop(logits, image: np.ndarray, label: int, window: int, stride: int, baseline: float) -> np.ndarray:
    height, width, _ = image.shape
    total, count = np.zeros((2, height, width))
    row_starts = range(0, height - window + stride, stride)
    for row in row_starts:
        for column in range(0, width - window + stride, stride):
            covered = image.copy()
            covered[row : row + window, column : column + window] = baseline
            total[row : row + window, column : column + window] += float((logits(image) - logits(covered))[label])
            count[row : row + window, column : column + window] += 1
    return total / np.maximum(count, 1)


@pytest.mark.parametrize(
    ("window", "stride", "baseline"), [(1, 1, 0.0), (2, 1, 0.5), (3, 2, 0.0), (2, 4, 0.1), (5, 5, 0)]
)
def test_occlusion_equals_the_loop(window: int, stride: int, baseline: float) -> None:
    logits = jax.jit(oracles.softplus_ridge(shape=SHAPE).logits)
    settings = {"window": window, "stride": stride, "baseline": baseline}
    actual = jax.jit(lambda z: explain.occlusion(logits, z, 1, **settings))(IMAGE)
    expected = occlusion_by_loop(logits, IMAGE, 1, window, stride, baseline)
    np.testing.assert_allclose(actual[..., 0], expected, rtol=1e-4, atol=1e-4)


def test_occlusion_of_single_pixels_on_a_linear_model_is_weights_times_image() -> None:
    oracle = oracles.linear(shape=SHAPE)
    actual = explain.occlusion(oracle.logits, jnp.asarray(IMAGE), 2, window=1, stride=1)
    np.testing.assert_allclose(actual[..., 0], (oracle.weights[2] * IMAGE).sum(-1), rtol=1e-3, atol=1e-4)


def test_occlusion_with_a_window_larger_than_the_image_is_an_input_error() -> None:
    with pytest.raises(InputError, match="window must be at most 5 for images of 5x6, got 6"):
        explain.occlusion(oracles.linear(shape=SHAPE).logits, jnp.asarray(IMAGE), 1, window=6)


def test_rise_masks_are_in_range_with_the_given_mean() -> None:
    masks = np.asarray(rise_masks(KEY, (16, 20), num_samples=600, grid=4, keep=0.3))
    assert masks.shape == (600, 16, 20)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert masks.mean() == pytest.approx(0.3, abs=0.01)
    np.testing.assert_allclose(masks.mean(0), 0.3, atol=0.1)


def test_rise_equals_the_weighted_mean_of_its_masks() -> None:
    logits = jax.jit(oracles.softplus_ridge(shape=SHAPE).logits)
    settings = {"num_samples": 20, "grid": 2, "keep": 0.4}
    masks = rise_masks(KEY, SHAPE[:2], **settings)
    expected = sum(
        np.asarray(oracles.softmax(np.asarray(logits(IMAGE * np.asarray(mask)[..., None])))[1] * mask) for mask in masks
    ) / (20 * 0.4)
    actual = explain.rise(logits, jnp.asarray(IMAGE), 1, key=KEY, **settings)
    np.testing.assert_allclose(actual[..., 0], expected, rtol=1e-4)


@pytest.mark.usefixtures("float64")
def test_rise_from_fixed_masks_has_a_derivative() -> None:
    masks = rise_masks(KEY, SHAPE[:2], num_samples=6, grid=2)
    logits = oracles.softplus_ridge(shape=SHAPE).logits

    @jax.jit
    def saliency(image):
        return rise_from_masks(masks, logits, image, 1, keep=0.5)

    jacobian = jax.jacobian(saliency)(jnp.asarray(IMAGE, jnp.float64))
    expected = oracles.central_difference(lambda z: saliency(jnp.asarray(z)), IMAGE.astype(float))
    assert oracles.relative_error(jacobian, expected) < 1e-6


@pytest.mark.parametrize("keep", [0.0, 1.5])
def test_share_of_rise_masks_out_of_range_is_an_input_error(keep: float) -> None:
    with pytest.raises(InputError, match=r"keep must be in \(0, 1\]"):
        rise_masks(KEY, (4, 4), num_samples=2, keep=keep)


@pytest.mark.parametrize("ridge", [1e-3, 1.0])
def test_ridge_coefficients_equal_scikit_learn(ridge: float) -> None:
    rng = np.random.default_rng(0)
    inputs, outputs, weights = rng.normal(size=(40, 6)), rng.normal(size=40), rng.uniform(0.1, 1, 40)
    model = sklearn.linear_model.Ridge(alpha=ridge).fit(inputs, outputs, sample_weight=weights)
    actual = ridge_coefficients(*(jnp.asarray(x, jnp.float32) for x in (inputs, outputs, weights)), ridge)
    np.testing.assert_allclose(actual, model.coef_, rtol=1e-3, atol=1e-4)


def test_lime_on_a_linear_model_finds_the_effect_of_every_segment() -> None:
    oracle = oracles.linear(shape=SHAPE)
    saliency = explain.lime(oracle.logits, jnp.asarray(IMAGE), 1, key=KEY, segments=2, num_samples=400, ridge=1e-4)
    numbers = grid_segments(SHAPE[:2], 2)
    products = (oracle.weights[1] * IMAGE).sum(-1)
    expected = np.array([products[numbers == s].sum() for s in range(9)])[numbers]
    np.testing.assert_allclose(saliency[..., 0], expected, rtol=1e-2, atol=1e-2)


def test_lime_takes_segments_of_any_shape() -> None:
    oracle = oracles.linear(shape=SHAPE)
    segments = (np.arange(30).reshape(5, 6) * 7) % 3
    saliency = np.asarray(
        explain.lime(oracle.logits, jnp.asarray(IMAGE), 1, key=KEY, segments=segments, num_samples=50, ridge=1e-4)
    )
    for number in range(3):
        assert np.ptp(saliency[segments == number]) == 0


@pytest.mark.parametrize(
    "segments", [np.zeros((4, 6), int), np.zeros((5, 6)), np.full((5, 6), -1)], ids=["shape", "float", "negative"]
)
def test_segments_that_do_not_fit_are_an_input_error(segments: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"segments must be the side of squares or integers >= 0 of shape \(5, 6\)"):
        explain.lime(oracles.linear(shape=SHAPE).logits, jnp.asarray(IMAGE), 1, key=KEY, segments=segments)
