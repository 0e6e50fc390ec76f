"""Integrated gradients: quadrature, completeness, closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import explain
from jsep.checks import InputError
from jsep.explain.integrated import QUADRATURES, nodes_and_weights

SHAPE = (3, 4, 2)


def integrated_gradients(logits_fn, image, label, **options):
    """Compiled as a whole: many times faster than operation by operation."""
    return jax.jit(lambda z: explain.integrated_gradients(logits_fn, z, label, **options))(image)


IMAGE = np.random.default_rng(0).uniform(0.1, 0.9, SHAPE)


@pytest.mark.parametrize("num_steps", [2, 5, 8])
@pytest.mark.parametrize(("quadrature", "degree"), [("midpoint", 1), ("trapezoid", 1), ("gauss_legendre", 3)])
def test_quadrature_is_exact_up_to_its_degree(quadrature: str, degree: int, num_steps: int) -> None:
    nodes, weights = nodes_and_weights(quadrature, num_steps)
    assert len(nodes) == len(weights) == num_steps
    for power in range(degree + 1):
        assert weights @ nodes**power == pytest.approx(1 / (power + 1), rel=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_quadratic_model_is_exact_with_two_steps(quadrature: str) -> None:
    oracle, baseline = oracles.quadratic(), np.random.default_rng(1).uniform(size=SHAPE)
    saliency, gap = integrated_gradients(
        oracle.logits, jnp.asarray(IMAGE), 2, baseline=baseline, num_steps=2, quadrature=quadrature, return_gap=True
    )
    # The gradient is affine on the line: its mean is its value in the middle.
    expected = (IMAGE - baseline) * oracle.gradient((IMAGE + baseline) / 2, 2)
    np.testing.assert_allclose(saliency, expected, rtol=1e-12)
    assert abs(float(gap)) < 1e-12


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("baseline", [0.0, 0.5])
@pytest.mark.parametrize("make", [lambda: oracles.softplus_ridge().logits, oracles.conv_net, oracles.transformer])
def test_saliency_sums_to_the_difference_of_the_logits(make, baseline: float) -> None:
    logits, image = make(), jnp.asarray(IMAGE)
    saliency, gap = integrated_gradients(logits, image, 1, baseline=baseline, return_gap=True)
    difference = float(logits(image)[1] - logits(jnp.full(SHAPE, baseline))[1])
    assert float(saliency.sum()) == pytest.approx(difference, rel=1e-4)
    assert float(gap) == pytest.approx(float(saliency.sum()) - difference, abs=1e-12)


@pytest.mark.usefixtures("float64")
def test_gap_falls_with_the_number_of_steps() -> None:
    logits = oracles.softplus_ridge(beta=20.0).logits
    gaps = [
        abs(float(integrated_gradients(
            logits, jnp.asarray(IMAGE), 1, num_steps=n, quadrature="midpoint", return_gap=True
        )[1]))
        for n in (4, 16, 64)
    ]  # fmt: skip
    assert gaps[0] > 4 * gaps[1] > 16 * gaps[2]


@pytest.mark.usefixtures("float64")
def test_axioms_linearity_and_symmetry() -> None:
    first, second = (oracles.softplus_ridge(seed).logits for seed in (0, 1))
    image = jnp.asarray(IMAGE)

    def ig(logits, image):
        return integrated_gradients(logits, image, 1)

    mixed = ig(lambda z: 2 * first(z) - 3 * second(z), image)
    np.testing.assert_allclose(mixed, 2 * ig(first, image) - 3 * ig(second, image), rtol=1e-9, atol=1e-12)
    # A function of the sum of two pixels gives equal pixels equal shares.
    equal = image.at[0, 0].set(0.3).at[2, 3].set(0.3)
    shares = ig(lambda z: first(z.at[0, 0].set(z[0, 0] + z[2, 3]).at[2, 3].set(0)), equal)
    np.testing.assert_allclose(shares[0, 0], shares[2, 3], rtol=1e-9)


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_chunk_size_changes_nothing(chunk_size: int) -> None:
    logits, image = oracles.conv_net(), jnp.asarray(IMAGE, jnp.float32)
    expected = integrated_gradients(logits, image, 1, num_steps=7)
    actual = integrated_gradients(logits, image, 1, num_steps=7, chunk_size=chunk_size)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_bad_settings_are_input_errors() -> None:
    logits, image = oracles.linear().logits, jnp.asarray(IMAGE, jnp.float32)
    with pytest.raises(InputError, match="unknown quadrature 'simpson'"):
        explain.integrated_gradients(logits, image, 1, quadrature="simpson")
    with pytest.raises(InputError, match="num_steps must be an integer >= 1"):
        explain.integrated_gradients(logits, image, 1, num_steps=0)
    with pytest.raises(InputError, match=r"baseline must broadcast to the image's shape \(3, 4, 2\), got shape \(5, "):
        explain.integrated_gradients(logits, image, 1, baseline=np.zeros((5, 3, 4, 2)))


def test_derivative_with_chunks_equals_that_without() -> None:
    logits, image = oracles.conv_net(), jnp.asarray(IMAGE, jnp.float32)

    def loss(z: jax.Array, chunk_size: int) -> jax.Array:
        return jnp.sum(explain.integrated_gradients(logits, z, 1, num_steps=6, chunk_size=chunk_size) ** 2)

    np.testing.assert_allclose(jax.grad(loss)(image, 2), jax.grad(loss)(image, 6), rtol=1e-4, atol=1e-5)
