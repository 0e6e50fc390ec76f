"""The regularisers of other papers on models where their terms are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import train
from jsep.checks import InputError
from jsep.train.regularisers import cure, hessian, ig_norm, lga, r2et

KEY = jax.random.key(3)
SHAPE = (3, 4, 2)
IMAGE = np.random.default_rng(0).uniform(0.3, 0.7, SHAPE)
LABEL = 1

pytestmark = pytest.mark.usefixtures("float64")


def config(name: str, **settings: object) -> train.RegulariserConfig:
    return dataclasses.replace(train.RegulariserConfig(name, top_k=4, num_gaps=2), **settings)


def probe() -> np.ndarray:
    return np.asarray(jax.random.normal(KEY, SHAPE))


def test_lga_on_a_quadratic_is_known() -> None:
    oracle = oracles.quadratic()
    noise = np.asarray(jax.random.uniform(KEY, SHAPE, jnp.float64, -0.2, 0.2))
    first, second = oracle.gradient(IMAGE, LABEL), oracle.gradient(IMAGE + noise, LABEL)
    cosine = (first * second).sum() / np.linalg.norm(first) / np.linalg.norm(second)
    expected = ((second - first) ** 2).sum() + 7.0 * (1 - cosine) / 2
    settings = config("lga", noise_scale=0.2, cosine_weight=7.0)
    assert float(lga(KEY, settings, oracle.logits, jnp.asarray(IMAGE), LABEL)) == pytest.approx(expected, rel=1e-9)


def test_lga_holds_the_gradient_at_the_image() -> None:
    # f = s x^T A x, so that |g(x + z) - g(x)|^2 = s^2 |2Az|^2, but with g(x) held its derivative in s at 1 is
    # 2 <g(x + z), g(x + z) - g(x)>.
    oracle = oracles.quadratic()
    noise = np.asarray(jax.random.uniform(KEY, SHAPE, jnp.float64, -0.2, 0.2))
    first, second = oracle.gradient(IMAGE, LABEL), oracle.gradient(IMAGE + noise, LABEL)
    settings = config("lga", noise_scale=0.2, cosine_weight=0.0)
    slope = jax.grad(lambda s: lga(KEY, settings, lambda z: s * oracle.logits(z), jnp.asarray(IMAGE), LABEL))(1.0)
    assert float(slope) == pytest.approx(2 * (second * (second - first)).sum(), rel=1e-9)


def test_hessian_is_the_square_of_the_product_and_its_mean_the_frobenius_norm() -> None:
    oracle = oracles.softplus_ridge()
    matrix = oracle.hessian(IMAGE, LABEL)
    value = hessian(KEY, config("hessian"), oracle.logits, jnp.asarray(IMAGE), LABEL)
    assert float(value) == pytest.approx(((matrix @ probe().ravel()) ** 2).sum(), rel=1e-9)
    keys = jax.random.split(KEY, 4000)
    values = jax.jit(jax.vmap(lambda key: hessian(key, config("hessian"), oracle.logits, jnp.asarray(IMAGE), LABEL)))(
        keys
    )
    error = float(values.std()) / len(keys) ** 0.5
    assert abs(float(values.mean()) - (matrix**2).sum()) < 4 * error


def test_cure_on_a_linear_model_is_known() -> None:
    oracle = oracles.linear()

    def slope(image: np.ndarray) -> np.ndarray:
        p = oracles.softmax(np.tensordot(oracle.weights, image, 3) + oracle.bias)
        return np.tensordot(p - np.eye(3)[LABEL], oracle.weights, 1)

    direction = np.sign(slope(IMAGE))
    direction /= np.linalg.norm(direction)
    expected = ((slope(IMAGE + 0.8 * direction) - slope(IMAGE)) ** 2).sum()
    value = cure(KEY, config("cure", cure_step=0.8), oracle.logits, jnp.asarray(IMAGE), LABEL)
    assert float(value) == pytest.approx(expected, rel=1e-9)


def test_ig_norm_of_two_linear_classes_is_the_rise_of_the_loss_at_the_corner() -> None:
    """The loss is a function of one margin, so that every attribution at its worst corner is positive: their sum is the
    1-norm, and by completeness the rise of the loss."""
    oracle = oracles.linear(num_classes=2)
    corner = oracles.worst_linear(oracle.weights[0] - oracle.weights[1], IMAGE, 0.1, "linf")
    rise = oracles.cross_entropy(np.tensordot(oracle.weights, corner, 3) + oracle.bias, LABEL) - oracles.cross_entropy(
        np.tensordot(oracle.weights, IMAGE, 3) + oracle.bias, LABEL
    )
    settings = config("ig_norm", epsilon=0.1, alpha=0.05, num_steps=8, path_steps=64)
    value = jax.jit(lambda z: ig_norm(KEY, settings, oracle.logits, z, LABEL))(jnp.asarray(IMAGE))
    assert float(value) == pytest.approx(rise, rel=1e-3)


def test_r2et_is_hessian_norm_minus_the_gaps_around_the_last_of_the_top() -> None:
    oracle = oracles.quadratic()
    pixels = np.sort(np.abs(oracle.gradient(IMAGE, LABEL)).sum(-1).ravel())[::-1]
    thickness = pixels[2] - pixels[4] + pixels[3] - pixels[5]  # k = 4, k' = 2
    norm = np.linalg.norm(oracle.hessian(IMAGE, LABEL) @ probe().ravel())
    value = r2et(KEY, config("r2et", hessian_weight=0.3), oracle.logits, jnp.asarray(IMAGE), LABEL)
    assert thickness > 0
    assert float(value) == pytest.approx(0.3 * norm - thickness, rel=1e-9)


def test_terms_vanish_on_a_linear_model() -> None:
    oracle = oracles.linear()
    for term in (lga, hessian):
        value, slope = jax.value_and_grad(
            lambda s, term=term: term(
                KEY, config(term.__name__), lambda z: s * oracle.logits(z), jnp.asarray(IMAGE), LABEL
            )
        )(1.0)
        assert float(value) == pytest.approx(0.0, abs=1e-12)
        assert np.isfinite(slope)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"name": "curve"},
            "unknown explanation regulariser 'curve': expected one of lga, hessian, cure, .*; did you mean 'cure'",
        ),
        ({"noise_scale": 0.0}, "noise_scale must be a number > 0"),
        ({"cosine_weight": -1.0}, "cosine_weight must be a number >= 0"),
        ({"epsilon": 8}, "epsilon must be in .* did you mean 8/255"),
        ({"path_steps": 0}, "path_steps must be an integer >= 1"),
        ({"num_gaps": 101}, "num_gaps must be at most top_k, got 101 and 100"),
    ],
)
def test_bad_settings_are_input_errors(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train.RegulariserConfig(**({"name": "cure"} | change))


def test_r2et_on_images_with_too_few_pixels_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"top_k \+ num_gaps must be at most the pixels of an image, got 10 \+ 3"):
        r2et(KEY, config("r2et", top_k=10, num_gaps=3), oracles.linear().logits, jnp.asarray(IMAGE), LABEL)
