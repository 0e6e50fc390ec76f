"""Hessians known by hand, and dense ones, against their products with vectors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import explain, landscape
from jsep.checks import InputError

SHAPE = (3, 4, 2)
SIZE = 24
KEY = jax.random.key(0)
POINT = np.random.default_rng(0).uniform(0.1, 0.9, SHAPE)


def of_logit(oracle, label=1):
    return lambda z: oracle.logits(z)[label]


def explanation_loss(seed=0):
    """The loss of a convolutional network's Gradient x Input map to a target: a third derivative of the network."""
    map_fn = explain.make_map_fn("gradient_x_input", oracles.conv_net(seed), 1)
    target = jax.jit(map_fn)(jnp.asarray(np.random.default_rng(5).uniform(0.1, 0.9, SHAPE)))
    return landscape.explanation_loss_to(map_fn, target)


@functools.cache
def dense(name):
    """The function and its dense Hessian (float64)."""
    functions = {
        "quadratic": of_logit(oracles.quadratic()),
        "softplus_ridge": of_logit(oracles.softplus_ridge()),
        "explanation_loss": explanation_loss(),
    }
    hessian = jax.jit(jax.hessian(functions[name]))(jnp.asarray(POINT)).reshape(SIZE, SIZE)
    return functions[name], np.asarray(hessian)


FUNCTIONS = ["quadratic", "softplus_ridge", pytest.param("explanation_loss", marks=pytest.mark.slow)]


@pytest.mark.usefixtures("float64")
def test_dense_hessians_of_the_oracles_are_those_known_by_hand():
    for name in ("quadratic", "softplus_ridge"):
        expected = oracles.ORACLES[name]().hessian(POINT, 1)
        assert oracles.relative_error(dense(name)[1], expected) < 1e-12


@pytest.mark.parametrize("name", ["quadratic", "softplus_ridge", "explanation_loss"])
@pytest.mark.usefixtures("float64")
def test_hvp_is_the_dense_hessian_times_the_vector_and_equals_finite_differences(name):
    function, hessian = dense(name)
    vector = np.random.default_rng(1).normal(size=SHAPE)
    product = np.asarray(jax.jit(lambda z, v: landscape.hvp(function, z, v))(POINT, vector))
    assert oracles.relative_error(product.ravel(), hessian @ vector.ravel()) < 1e-11
    gradient, step = jax.jit(jax.grad(function)), 1e-5
    difference = (gradient(POINT + step * vector) - gradient(POINT - step * vector)) / (2 * step)
    assert oracles.relative_error(product, difference) < 1e-6


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.usefixtures("float64")
def test_lanczos_finds_the_extreme_eigenvalues_and_their_vectors(name):
    function, hessian = dense(name)
    known = np.linalg.eigvalsh(hessian)
    known = known[np.argsort(-np.abs(known))]
    rank = 5 if name == "softplus_ridge" else SIZE
    find = jax.jit(lambda key, z: landscape.top_eigenvalues(key, function, z, num_eigenvalues=7, num_matvecs=SIZE))
    values, vectors = (np.asarray(found) for found in find(KEY, POINT))
    scale = np.abs(known[0])
    # The ridge's Hessian has rank 5: the rest is zero.
    np.testing.assert_allclose(values[:rank], known[:7][:rank], atol=1e-8 * scale)
    np.testing.assert_allclose(values[rank:], 0, atol=1e-8 * scale)
    flat = vectors.reshape(7, SIZE)[: min(rank, 7)]
    np.testing.assert_allclose(flat @ flat.T, np.eye(len(flat)), atol=1e-6)
    np.testing.assert_allclose(hessian @ flat.T, flat.T * values[: len(flat)], atol=1e-6 * scale)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.usefixtures("float64")
def test_trace_and_frobenius_norm_lie_within_their_stated_errors(name):
    function, hessian = dense(name)
    find = jax.jit(lambda key, z: landscape.moments(key, function, z, num_probes=400, chunk_size=50))
    found = find(KEY, POINT)
    exact = np.linalg.norm(hessian)
    assert abs(float(found.trace) - np.trace(hessian)) < 3 * float(found.trace_standard_error)
    assert abs(float(found.frobenius_norm) - exact) < 3 * float(found.frobenius_standard_error)
    # The error says what theory says: Var(v^T H v) = 2 sum_{i != j} H_ij^2 for Rademacher vectors.
    off_diagonal = hessian - np.diag(np.diag(hessian))
    expected = np.sqrt(2 * (off_diagonal**2).sum() / 400)
    assert float(found.trace_standard_error) == pytest.approx(expected, rel=0.15)
    assert 0 < float(found.frobenius_standard_error) < 0.1 * exact


@pytest.mark.usefixtures("float64")
def test_stated_errors_cover_the_truth_as_often_as_they_should():
    function, hessian = dense("quadratic")
    keys = jax.random.split(KEY, 200)
    mean, error = jax.jit(jax.vmap(lambda k: landscape.trace(k, function, POINT, num_probes=30)))(keys)
    covered = np.abs(mean - np.trace(hessian)) < 1.96 * error
    assert 0.88 < np.mean(covered) <= 0.99


@pytest.mark.usefixtures("float64")
def test_trace_of_a_diagonal_hessian_is_exact_with_one_error_of_zero():
    weights = np.random.default_rng(0).normal(size=SHAPE)
    mean, error = jax.jit(lambda z: landscape.trace(KEY, lambda y: jnp.sum(weights * y**2), z, num_probes=3))(POINT)
    assert float(mean) == pytest.approx(2 * weights.sum(), rel=1e-12)
    assert float(error) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.usefixtures("float64")
def test_spectrum_has_the_moments_of_the_dense_spectrum(name):
    function, hessian = dense(name)
    measure = jax.jit(lambda z: landscape.spectrum(KEY, function, z, num_probes=400, num_matvecs=12, chunk_size=50))(
        POINT
    )
    np.testing.assert_allclose(np.sum(measure.weights, axis=1), 1, rtol=1e-9)
    eigenvalues = np.linalg.eigvalsh(hessian)
    for power in (1, 2):
        samples = np.sum(measure.weights * measure.nodes**power, axis=1)
        error = np.std(samples, ddof=1) / 20
        assert abs(samples.mean() - np.mean(eigenvalues**power)) < 3 * error + 1e-12
    # Each probe's measure has the exact moments of v^T H^k v: the first is Hutchinson's own sample.
    scale = np.abs(eigenvalues).max()
    grid = np.linspace(-2 * scale, 2 * scale, 801)
    smoothed = landscape.spectral_density(measure, grid, 0.1 * scale)
    assert np.trapezoid(smoothed, grid) == pytest.approx(1, rel=1e-6)
    exact = np.mean(np.exp(-((grid[:, None] - eigenvalues) ** 2) / (2 * (0.1 * scale) ** 2)), axis=1)
    exact /= 0.1 * scale * np.sqrt(2 * np.pi)
    assert np.trapezoid(np.abs(smoothed - exact), grid) < 0.12  # of a total of 2


@pytest.mark.parametrize("num_distinct", [0, 1, 3])
def test_exhausted_krylov_space_gives_no_noise(num_distinct):
    """A linear function, a multiple of |x|^2, and three distinct eigenvalues; float32, where rounding is coarse."""
    weights = np.zeros(SHAPE) if num_distinct == 0 else np.arange(SIZE).reshape(SHAPE) % num_distinct + 1.0
    weights = jnp.asarray(weights, jnp.float32)
    function = lambda z: jnp.sum(weights * z**2) / 2 + jnp.sum(z)  # noqa: E731
    find = jax.jit(lambda z: landscape.top_eigenvalues(KEY, function, z, num_eigenvalues=6, num_matvecs=12))
    values, vectors = find(jnp.asarray(POINT, jnp.float32))
    expected = [3.0, 2.0, 1.0] if num_distinct == 3 else [1.0] * num_distinct
    np.testing.assert_allclose(values, [*expected, *[0.0] * (6 - num_distinct)], atol=1e-5)
    norms = np.linalg.norm(np.asarray(vectors).reshape(6, -1), axis=1)
    np.testing.assert_allclose(norms[:num_distinct], 1, rtol=1e-5)
    # With a Hessian of zero every vector is an eigenvector: the start is the one.
    np.testing.assert_array_equal(norms[max(num_distinct, 1) :], 0)


@pytest.mark.usefixtures("float64")
def test_jacobian_norms_are_those_of_the_dense_jacobian():
    map_fn = explain.make_map_fn("gradient_x_input", oracles.conv_net(), 1)
    jacobian = np.asarray(jax.jit(jax.jacobian(map_fn))(jnp.asarray(POINT))).reshape(12, SIZE)
    found = jax.jit(lambda z: landscape.jacobian_norms(KEY, map_fn, z, num_matvecs=14, num_probes=200))(POINT)
    assert float(found.spectral) == pytest.approx(np.linalg.norm(jacobian, 2), rel=1e-9)
    assert abs(float(found.frobenius) - np.linalg.norm(jacobian)) < 3 * float(found.frobenius_standard_error)


@pytest.mark.usefixtures("float64")
def test_numbers_do_not_depend_on_the_chunk_size():
    function, _ = dense("softplus_ridge")

    @functools.partial(jax.jit, static_argnames="size")
    def everything(point, size):
        return (
            landscape.moments(KEY, function, point, num_probes=6, chunk_size=size),
            landscape.spectrum(KEY, function, point, num_probes=6, num_matvecs=4, chunk_size=size).nodes,
        )

    whole = everything(POINT, None)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), everything(POINT, 4), whole)


@pytest.mark.usefixtures("float64")
def test_all_numbers_of_one_linearisation_are_those_of_the_dense_hessian():
    function, hessian = dense("quadratic")
    found = jax.jit(
        lambda z: landscape.curvature(
            KEY, function, z, num_eigenvalues=3, num_matvecs=SIZE, num_probes=200, spectrum_probes=3, chunk_size=50
        )
    )(POINT)
    values, vectors = np.linalg.eigh(hessian)
    order = np.argsort(-np.abs(values))
    np.testing.assert_allclose(found.eigenvalues, values[order[:3]], rtol=1e-8)
    assert abs(vectors[:, order[0]] @ np.ravel(found.eigenvector)) == pytest.approx(1, abs=1e-8)
    assert abs(float(found.moments.trace) - np.trace(hessian)) < 3 * float(found.moments.trace_standard_error)
    error = abs(float(found.moments.frobenius_norm) - np.linalg.norm(hessian))
    assert error < 3 * float(found.moments.frobenius_standard_error)
    # With as many steps as dimensions every node is an eigenvalue.
    np.testing.assert_allclose(np.sort(found.spectrum.nodes, axis=1), [values] * 3, atol=1e-6 * np.abs(values).max())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: landscape.hvp(f, POINT, np.ones(3)), r"vector must have the point's shape \(3, 4, 2\), got \(3,\)"),
        (lambda f: landscape.hvp(lambda z: z, POINT, POINT), "must return one real number"),
        (lambda f: landscape.trace(KEY, f, POINT, num_probes=1), "num_probes must be an integer >= 2, got 1"),
        (lambda f: landscape.trace(KEY, lambda z: z, POINT, num_probes=2), "must return one real number"),
        (
            lambda f: landscape.top_eigenvalues(KEY, f, POINT, num_eigenvalues=3, num_matvecs=2),
            "num_eigenvalues must be at most num_matvecs = 2, got 3",
        ),
        (
            lambda f: landscape.top_eigenvalues(KEY, f, POINT, num_eigenvalues=1, num_matvecs=25),
            "num_matvecs must be at most the 24 entries of the point, got 25",
        ),
        (lambda f: landscape.spectrum(KEY, f, POINT, num_probes=0, num_matvecs=2), "num_probes must be an integer >="),
        (lambda f: landscape.moments(KEY, f, POINT, num_probes=2, chunk_size=0), "chunk_size must be an integer >= 1"),
        (lambda f: landscape.spectral_density(None, np.zeros(2), 0.0), "sigma must be a number > 0"),
    ],
)
def test_bad_input_is_an_input_error(call, message):
    with pytest.raises(InputError, match=message):
        call(lambda z: jnp.sum(z))
