"""The oracles themselves: an oracle that is wrong proves nothing. No jsep here, only NumPy and finite differences."""

import jax
import numpy as np
import oracles
import pytest


@pytest.mark.parametrize("name", oracles.ORACLES)
@pytest.mark.usefixtures("float64")
def test_oracle_derivatives_equal_finite_differences(name: str) -> None:
    oracle = oracles.ORACLES[name](seed=3)
    image = np.random.default_rng(1).uniform(size=(3, 4, 2))
    jacobian = oracles.central_difference(lambda z: oracle.logits(z), image)
    for label in range(3):
        gradient = oracle.gradient(image, label)
        assert oracles.relative_error(gradient, jacobian[label]) < 1e-7
        hessian = oracles.central_difference(lambda z, k=label: oracle.gradient(z, k).ravel(), image)
        np.testing.assert_allclose(
            oracle.hessian(image, label), hessian.reshape(24, 24), rtol=0, atol=1e-7 * np.abs(gradient).max()
        )


def test_worst_concave_quadratic_beats_random_points_of_the_ball() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    matrix, image = -root @ root.T - np.eye(6), rng.normal(size=(1, 3, 2))
    worst = oracles.worst_concave_quadratic_l2(matrix, image, 0.3).ravel()
    assert np.linalg.norm(worst - image.ravel()) == pytest.approx(0.3, rel=1e-9)
    directions = rng.normal(size=(2000, 6))
    points = image.ravel() + 0.3 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    assert worst @ matrix @ worst >= np.einsum("ni,ij,nj->n", points, matrix, points).max()


def test_dombrowski_oracle_gradient_equals_finite_differences() -> None:
    rng = np.random.default_rng(0)
    oracle = oracles.DombrowskiOracle(rng.uniform(0.5, 2, (3, 12)), rng.normal(size=3))
    x, clean, target = rng.uniform(0.2, 0.8, 12), oracles.softmax(rng.normal(size=3)), rng.dirichlet(np.ones(12))

    def loss(z: np.ndarray) -> float:
        p = oracles.softmax(oracle.logits(z))
        return 7 * np.mean((oracle.map(z) - target) ** 2) + 3 * np.mean((p - clean) ** 2)

    expected = oracles.central_difference(loss, x)
    assert oracles.relative_error(oracle._gradient(x, target, clean, 7, 3), expected) < 1e-7


def test_float64_is_off_outside_its_fixture() -> None:
    assert not jax.config.jax_enable_x64
