"""Curvature of quadratic functions of known spectrum, at any scale: few distinct values, low rank, zero, indefinite."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import landscape
from jsep.landscape.curvature import Spectrum

KEY = jax.random.key(3)
SHAPE = (12, 12, 1)
SIZE = 144
NUM_MATVECS = 10


def eigenvalues(name: str) -> np.ndarray:
    rng, values = np.random.default_rng(0), np.zeros(SIZE)
    if name == "identity":
        values[:] = 1
    elif name == "minus identity":
        values[:] = -1
    elif name == "two values":
        values[:] = np.where(np.arange(SIZE) % 3 == 0, 4.0, 1.0)
    elif name == "indefinite":
        values[:] = np.where(np.arange(SIZE) % 2 == 0, -3.0, 2.0)
    elif name == "rank one":
        values[0] = 5.0
    elif name == "low rank":
        values[:4] = [6.0, -4.0, 3.0, 1.0]
    elif name == "nine values":
        values[:] = rng.integers(1, 10, SIZE)
    else:
        assert name == "zero"
    return values


NAMES = ["identity", "minus identity", "two values", "indefinite", "rank one", "low rank", "nine values", "zero"]


@functools.partial(jax.jit, static_argnames="what")
def computed(values: jax.Array, normal: jax.Array, what: str) -> tuple:
    """Of z -> <y, D y> / 2 with y the reflection of z: the Hessian has the eigenvalues D, and no zero entries."""

    def function(z: jax.Array) -> jax.Array:
        y = z.ravel() - 2 * normal * jnp.vdot(normal, z.ravel())
        return jnp.sum(values * y**2) / 2

    point = jnp.full(SHAPE, 0.5)
    counts = {"num_matvecs": NUM_MATVECS, "num_eigenvalues": 5}
    if what == "top_eigenvalues":
        return landscape.top_eigenvalues(KEY, function, point, **counts)
    if what == "spectrum":
        return landscape.spectrum(KEY, function, point, num_probes=3, num_matvecs=NUM_MATVECS)
    return landscape.curvature(KEY, function, point, **counts, num_probes=4, spectrum_probes=3)


def expected_top(values: np.ndarray) -> np.ndarray:
    """The distinct eigenvalues of largest magnitude; what there is not is 0."""
    distinct = np.unique(values)
    distinct = distinct[np.argsort(-np.abs(distinct), kind="stable")]
    return np.concatenate([distinct, np.zeros(5)])[:5]


def check_measure(measure: Spectrum, values: np.ndarray) -> None:
    scale = max(np.abs(values).max(), 1e-37)
    nodes, weights = np.asarray(measure.nodes, np.float64), np.asarray(measure.weights, np.float64)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-4)
    # A node with weight is an eigenvalue where there are fewer of them than steps.
    distinct = np.unique(values)
    for node in nodes[weights > 1e-3]:
        assert np.abs(distinct - node).min() < 2e-4 * scale
    assert np.abs(nodes).max() <= scale * (1 + 1e-4)


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
@pytest.mark.parametrize("name", NAMES)
def test_few_distinct_eigenvalues_are_found_without_noise(name: str, scale: float) -> None:
    values = scale * eigenvalues(name)
    normal = np.random.default_rng(1).normal(size=SIZE)
    arguments = (jnp.asarray(values, jnp.float32), jnp.asarray(normal / np.linalg.norm(normal), jnp.float32))
    size, top = np.abs(values).max(), expected_top(values)

    found, vectors = computed(*arguments, what="top_eigenvalues")
    np.testing.assert_allclose(found, top, atol=1e-4 * size)
    lengths = np.linalg.norm(np.asarray(vectors).reshape(5, -1), axis=1)
    np.testing.assert_allclose(lengths[np.abs(top) > 0], 1, rtol=1e-4)

    check_measure(computed(*arguments, what="spectrum"), values)

    curvature = computed(*arguments, what="curvature")
    # Its start is a probe of signs, which meets every eigenspace here.
    np.testing.assert_allclose(curvature.eigenvalues, top, atol=1e-4 * size)
    check_measure(curvature.spectrum, values)
    assert float(curvature.moments.frobenius_norm) == pytest.approx(
        np.linalg.norm(values), abs=5 * float(curvature.moments.frobenius_standard_error) + 1e-4 * size
    )


def test_second_moment_of_the_identity_is_one_at_the_size_of_an_image() -> None:
    found = landscape.curvature(
        KEY, lambda z: jnp.sum(z**2) / 2, jnp.zeros((28, 28, 1)),
        num_eigenvalues=2, num_matvecs=12, num_probes=2, spectrum_probes=2,
    )  # fmt: skip
    np.testing.assert_allclose(found.eigenvalues, [1, 0], atol=1e-5)
    np.testing.assert_allclose(np.sum(found.spectrum.weights * found.spectrum.nodes**2, axis=1), 1, rtol=1e-5)
    assert float(found.moments.frobenius_norm) == pytest.approx(28, rel=1e-5)


@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_hessian_that_is_not_finite_gives_nan_and_no_number(factor: float) -> None:
    function = lambda z: factor * jnp.sum(z**2)  # noqa: E731
    point = jnp.full((3, 3, 1), 0.5)
    found = landscape.curvature(KEY, function, point, num_eigenvalues=2, num_matvecs=4, num_probes=2, spectrum_probes=2)
    assert np.all(np.isnan(found.eigenvalues))
    assert np.all(np.isnan(found.spectrum.nodes))
    assert not np.isfinite(found.moments.frobenius_norm)


def test_zero_hessian_divides_nothing_by_zero() -> None:
    with jax.debug_nans(True):
        found = landscape.curvature(
            KEY, jnp.sum, jnp.full((3, 3, 1), 0.5), num_eigenvalues=2, num_matvecs=4, num_probes=2, spectrum_probes=2
        )
        assert np.all(np.asarray(found.eigenvalues) == 0)
        norms = landscape.jacobian_norms(
            KEY, lambda z: 0 * z[..., 0], jnp.full((3, 3, 1), 0.5), num_matvecs=4, num_probes=2
        )
        assert float(norms.spectral) == 0
