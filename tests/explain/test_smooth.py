"""SmoothGrad and its relatives: moments that are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import explain, models
from jsep.checks import InputError
from jsep.types import PyTree

SHAPE = (3, 4, 2)
IMAGE = np.random.default_rng(0).uniform(0.1, 0.9, SHAPE).astype(np.float32)
KEY = jax.random.key(0)
STATISTICS = [explain.smooth_grad, explain.smooth_grad_squared, explain.var_grad]


def test_moments_on_a_quadratic_model_are_those_of_a_gaussian() -> None:
    # The gradient 2 A (x + sigma zeta) is Gaussian with mean 2 A x and covariance 4 sigma^2 A A^T.
    oracle, sigma, num_samples = oracles.quadratic(), 0.2, 4000
    mean = oracle.gradient(IMAGE.astype(float), 1)
    variance = (4 * sigma**2 * (oracle.matrices[1] ** 2).sum(1)).reshape(SHAPE)
    settings = {"sigma": sigma, "num_samples": num_samples, "chunk_size": 500}
    found = [
        np.asarray(jax.jit(lambda z, fn=fn: fn(oracle.logits, z, 1, key=KEY, **settings))(IMAGE)) for fn in STATISTICS
    ]
    error = np.sqrt(variance / num_samples)
    assert np.abs((found[0] - mean) / error).max() < 4.5
    np.testing.assert_allclose(found[2], variance, rtol=0.15)
    np.testing.assert_allclose(found[1], found[2] + found[0] ** 2, rtol=1e-4)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_without_noise_it_is_the_gradient(statistic) -> None:
    oracle = oracles.softplus_ridge()
    gradient = np.asarray(explain.gradient(oracle.logits, IMAGE, 1))
    expected = {explain.smooth_grad: gradient, explain.smooth_grad_squared: gradient**2}.get(statistic, 0 * gradient)
    actual = statistic(oracle.logits, jnp.asarray(IMAGE), 1, key=KEY, sigma=0.0, num_samples=3)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk_size", [1, 4, 64])
def test_chunk_size_changes_nothing(chunk_size: int) -> None:
    settings = {"sigma": 0.1, "num_samples": 10}
    image, logits = jnp.asarray(IMAGE), oracles.softplus_ridge().logits
    expected = jax.jit(lambda z: explain.smooth_grad(logits, z, 1, key=KEY, **settings))(image)
    actual = jax.jit(lambda z: explain.smooth_grad(logits, z, 1, key=KEY, chunk_size=chunk_size, **settings))(image)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_another_saliency_can_be_smoothed() -> None:
    logits, image = oracles.softplus_ridge().logits, jnp.asarray(IMAGE)
    actual = explain.smooth_grad(logits, image, 1, key=KEY, num_samples=3, saliency=explain.gradient_x_input)
    noises = [jax.random.normal(k, SHAPE) for k in jax.random.split(KEY, 3)]
    expected = np.mean([explain.gradient_x_input(logits, image + 0.1 * noise, 1) for noise in noises], axis=0)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_bad_settings_are_input_errors() -> None:
    logits, image = oracles.linear().logits, jnp.asarray(IMAGE)
    with pytest.raises(InputError, match="num_samples must be an integer >= 1, got 0"):
        explain.smooth_grad(logits, image, 1, key=KEY, num_samples=0)
    with pytest.raises(InputError, match="sigma must be a number >= 0, got -1"):
        explain.var_grad(logits, image, 1, key=KEY, sigma=-1)
    with pytest.raises(InputError, match="chunk_size must be an integer >= 1"):
        explain.smooth_grad(logits, image, 1, key=KEY, chunk_size=0)


def test_memory_at_224_pixels_is_bounded_by_the_chunk_size() -> None:
    """50 samples of a ResNet-18 at 224x224 in 2 GiB: what the compiled program asks for, without running it."""
    model = models.create("resnet18", num_classes=10, input_shape=(224, 224, 3))
    variables = jax.eval_shape(lambda: models.init(KEY, model, (224, 224, 3)))
    image = jax.ShapeDtypeStruct((224, 224, 3), jnp.float32)

    def needed(chunk_size: int, num_samples: int) -> int:
        def saliency(variables: PyTree, image: jax.Array) -> jax.Array:
            return explain.smooth_grad(
                models.logits_fn(model, variables), image, 1, key=KEY, num_samples=num_samples, chunk_size=chunk_size
            )

        memory = jax.jit(saliency).lower(variables, image).compile().memory_analysis()
        return memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes

    assert needed(chunk_size=2, num_samples=50) < 2 * 2**30
