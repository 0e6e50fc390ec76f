"""Gradient and Gradient x Input against hand-derived derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import explain
from jsep.checks import InputError
from jsep.explain.gradient import score

SHAPE = (3, 4, 2)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=SHAPE)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("label", [0, 2])
@pytest.mark.parametrize("name", oracles.ORACLES)
def test_gradient_equals_hand_derived(name: str, label: int, image: np.ndarray) -> None:
    oracle = oracles.ORACLES[name]()
    expected = oracle.gradient(image, label)
    assert oracles.relative_error(explain.gradient(oracle.logits, image, label), expected) < 1e-12


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("label", [0, 2])
@pytest.mark.parametrize("name", oracles.ORACLES)
def test_gradient_x_input_equals_hand_derived(name: str, label: int, image: np.ndarray) -> None:
    oracle = oracles.ORACLES[name]()
    expected = image * oracle.gradient(image, label)
    assert oracles.relative_error(explain.gradient_x_input(oracle.logits, image, label), expected) < 1e-12


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", oracles.ORACLES)
def test_jacobian_of_gradient_is_the_hand_derived_hessian(name: str, image: np.ndarray) -> None:
    oracle = oracles.ORACLES[name]()
    jacobian = jax.jacobian(lambda z: explain.gradient(oracle.logits, z, 1).ravel())(jnp.asarray(image))
    np.testing.assert_allclose(jacobian.reshape(24, 24), oracle.hessian(image, 1), rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_jacobian_of_gradient_x_input_is_diag_gradient_plus_x_hessian(image: np.ndarray) -> None:
    oracle = oracles.softplus_ridge()
    jacobian = jax.jacobian(lambda z: explain.gradient_x_input(oracle.logits, z, 1).ravel())(jnp.asarray(image))
    expected = np.diag(oracle.gradient(image, 1).ravel()) + image.reshape(-1, 1) * oracle.hessian(image, 1)
    np.testing.assert_allclose(jacobian.reshape(24, 24), expected, rtol=1e-12, atol=1e-12)


def test_gradient_x_input_is_zero_on_black_pixels() -> None:
    oracle = oracles.linear()
    assert np.all(explain.gradient_x_input(oracle.logits, jnp.zeros(SHAPE), 0) == 0)


@pytest.mark.parametrize("name", [name for name, entry in explain.METHODS.items() if entry.from_gradient])
def test_from_gradient_is_the_saliency(name: str, image: np.ndarray) -> None:
    method, oracle = explain.METHODS[name], oracles.softplus_ridge()
    x = jnp.asarray(image, jnp.float32)
    assert method.from_gradient is not None
    rebuilt = method.from_gradient(x, explain.gradient(oracle.logits, x, 1))
    np.testing.assert_array_equal(rebuilt, method.saliency(oracle.logits, x, 1))


def test_traced_label_equals_static_label(image: np.ndarray) -> None:
    oracle, x = oracles.quadratic(), jnp.asarray(image, jnp.float32)
    traced = jax.jit(lambda label: explain.gradient(oracle.logits, x, label))(jnp.int32(2))
    np.testing.assert_allclose(traced, explain.gradient(oracle.logits, x, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("label", "came"), [(3, "got 3"), (-1, "got -1"), (1.0, "dtype float")])
def test_wrong_label_is_an_input_error(label: float, came: str) -> None:
    with pytest.raises(InputError, match=came):
        explain.gradient(oracles.linear().logits, jnp.zeros(SHAPE), label)


def test_batch_of_images_is_an_input_error_that_names_vmap() -> None:
    with pytest.raises(InputError, match=r"shape \(5, 3, 4, 2\); for a batch use jax.vmap"):
        explain.gradient(oracles.linear().logits, jnp.zeros((5, *SHAPE)), 0)


def test_integer_image_is_an_input_error() -> None:
    with pytest.raises(InputError, match="got dtype uint8; divide uint8 images by 255"):
        score(oracles.linear().logits, jnp.zeros(SHAPE, jnp.uint8), 0)


def test_logits_with_a_batch_axis_are_an_input_error() -> None:
    with pytest.raises(InputError, match=r"logits \(K,\), got shape \(1, 3\)"):
        explain.gradient(lambda z: oracles.linear().logits(z)[None], jnp.zeros(SHAPE), 0)


def test_unknown_method_is_an_input_error_with_a_suggestion() -> None:
    with pytest.raises(InputError, match="expected one of gradient, gradient_x_input, .*; did you mean 'gradient'"):
        explain.make_map_fn("gradientt", oracles.linear().logits, 0)
