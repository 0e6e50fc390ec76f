"""The explanation map: definition, invariances, derivatives."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import evaluate, explain
from jsep.checks import InputError

SHAPE = (3, 4, 2)
N = 12

saliencies = st.builds(
    lambda seed, exponent, share: (
        np.random.default_rng(seed).normal(size=SHAPE)
        * 10.0**exponent
        * (np.random.default_rng(seed + 1).uniform(size=SHAPE) < share)
    ).astype(np.float32),
    st.integers(0, 10**6),
    st.integers(-8, 8),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
explanation_map = jax.jit(explain.explanation_map)


@hypothesis.given(saliencies)
def test_map_is_non_negative_and_sums_to_one(saliency: np.ndarray) -> None:
    values = np.asarray(explanation_map(saliency))
    assert values.shape == SHAPE[:2]
    assert values.dtype == np.float32
    assert np.all(values >= 0)
    assert values.sum() == pytest.approx(1, abs=1e-6)


@hypothesis.given(saliencies, saliencies)
def test_explanation_loss_of_two_maps_is_at_most_two_over_n(first: np.ndarray, second: np.ndarray) -> None:
    loss = float(evaluate.explanation_loss(explanation_map(first), explanation_map(second)))
    assert 0 <= loss <= 2 / N * (1 + 1e-6)


def test_explanation_loss_bound_is_reached_by_two_different_pixels() -> None:
    first, second = np.zeros((2, *SHAPE), np.float32)
    first[0, 0, 0], second[2, 3, 1] = 5.0, -0.1
    loss = evaluate.explanation_loss(explanation_map(first), explanation_map(second))
    assert float(loss) == pytest.approx(2 / N, rel=1e-6)


@hypothesis.given(saliencies, st.sampled_from([-4.0, 0.25, 2.0]))
def test_map_does_not_change_with_the_scale_or_sign_of_the_saliency(saliency: np.ndarray, scale: float) -> None:
    # Powers of two scale exactly, so the maps are equal bit for bit.
    np.testing.assert_array_equal(explanation_map(saliency), explanation_map(scale * saliency))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("normalize", explain.NORMALIZATIONS)
@pytest.mark.parametrize("reduce", explain.REDUCTIONS)
def test_every_reduction_and_normalisation_equals_the_slow_definition(reduce: str, normalize: str) -> None:
    saliency = np.random.default_rng(5).normal(size=SHAPE)
    expected = oracles.explanation_map(saliency, reduce, normalize)
    actual = explain.explanation_map(jnp.asarray(saliency), reduce=reduce, normalize=normalize)
    np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(explain.MapConfig(reduce, normalize)(jnp.asarray(saliency)), actual)


@pytest.mark.parametrize("normalize", ["l1", "l2", "max"])
@pytest.mark.parametrize("reduce", explain.REDUCTIONS)
def test_zero_saliency_gives_the_uniform_map_and_zero_derivative(reduce: str, normalize: str) -> None:
    def to_map(saliency: jax.Array) -> jax.Array:
        return explain.explanation_map(saliency, reduce=reduce, normalize=normalize)

    zeros = jnp.zeros(SHAPE)
    np.testing.assert_allclose(to_map(zeros), oracles.explanation_map(np.zeros(SHAPE), reduce, normalize), rtol=1e-6)
    np.testing.assert_array_equal(jax.jacobian(to_map)(zeros), np.zeros((*SHAPE[:2], *SHAPE)))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("reduce", explain.REDUCTIONS)
def test_derivatives_are_finite_where_some_pixels_are_zero(reduce: str, order: int) -> None:
    saliency = jnp.zeros(SHAPE).at[0, 1].set(jnp.array([0.3, -2.0])).at[2, 2, 0].set(1e-20)
    derivative = explain.explanation_map
    for _ in range(order):
        derivative = jax.jacfwd(derivative)
    assert np.all(np.isfinite(derivative(saliency, reduce=reduce)))


def test_derivative_of_absolute_is_the_sign_and_zero_at_zero() -> None:
    points = jnp.array([-2.0, -0.0, 0.0, 3.0])
    np.testing.assert_array_equal(explain.absolute(points), [2, 0, 0, 3])
    np.testing.assert_array_equal(jax.vmap(jax.grad(explain.absolute))(points), [-1, 0, 0, 1])


def test_black_pixel_has_no_pull_under_gradient_x_input() -> None:
    # d/dx |x g| at x = 0 is the symmetric 0, not jnp.abs's g: half of an image of digits is exactly 0.
    oracle = oracles.linear()
    image = jnp.full(SHAPE, 0.5).at[1, 1].set(0.0)
    to_map = explain.make_map_fn("gradient_x_input", oracle.logits, 0)
    jacobian = jax.jacobian(lambda z: to_map(z)[0, 0])(image)
    np.testing.assert_array_equal(jacobian[1, 1], [0, 0])
    assert np.all(np.asarray(jacobian)[0, 0] != 0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("reduce", explain.REDUCTIONS)
@pytest.mark.parametrize("method", ["gradient", "gradient_x_input"])
def test_map_derivative_in_image_equals_finite_differences(method: str, reduce: str) -> None:
    oracle = oracles.softplus_ridge()
    image = np.random.default_rng(0).uniform(0.1, 0.9, SHAPE)
    config = explain.MapConfig(reduce, "l2")
    to_map = jax.jit(explain.make_map_fn(method, oracle.logits, 1, map_config=config))
    expected = oracles.central_difference(to_map, image)
    assert oracles.relative_error(jax.jacobian(to_map)(jnp.asarray(image)), expected) < 1e-6


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", ["gradient", "gradient_x_input"])
def test_map_derivative_in_parameters_equals_finite_differences(method: str) -> None:
    oracle = oracles.softplus_ridge(num_units=2)
    image = jnp.asarray(np.random.default_rng(0).uniform(0.1, 0.9, SHAPE))

    @jax.jit
    def loss(directions: jax.Array) -> jax.Array:
        def logits(z: jax.Array) -> jax.Array:
            return jnp.asarray(oracle.amplitudes) @ jnp.logaddexp(3 * jnp.tensordot(directions, z, 3), 0) / 3

        return jnp.sum(explain.make_map_fn(method, logits, 1)(image) ** 2)

    expected = oracles.central_difference(loss, oracle.directions)
    assert oracles.relative_error(jax.grad(loss)(jnp.asarray(oracle.directions)), expected) < 1e-6


def test_unknown_reduction_and_normalisation_are_input_errors() -> None:
    saliency = jnp.ones(SHAPE)
    with pytest.raises(InputError, match="unknown channel reduction 'abs': expected one of abs_sum, sum, max, norm"):
        explain.explanation_map(saliency, reduce="abs")
    with pytest.raises(InputError, match="unknown map normalisation 'l3': expected one of l1, l2, max, none"):
        explain.explanation_map(saliency, normalize="l3")
    with pytest.raises(InputError, match="channel reduction"):
        explain.MapConfig(reduce="mean")
    with pytest.raises(InputError, match="map normalisation"):
        explain.MapConfig(normalize="sum")


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4, 1)])
def test_saliency_of_wrong_rank_is_an_input_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"saliency must be \(H, W, C\)"):
        explain.explanation_map(jnp.ones(shape))


def test_zero_saliency_is_an_error_by_option() -> None:
    with pytest.raises(InputError, match="zero everywhere, which no l1 normalisation scales; pass on_zero='uniform'"):
        explain.MapConfig(on_zero="error")(jnp.zeros(SHAPE))
    assert float(explain.MapConfig("abs_sum", "none", "error")(jnp.zeros(SHAPE)).sum()) == 0
    with pytest.raises(InputError, match="unknown on_zero 'nan': expected one of uniform, error"):
        explain.explanation_map(jnp.zeros(SHAPE), on_zero="nan")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_saliency_that_is_not_finite_is_an_input_error_outside_jit_and_nan_inside(value: float) -> None:
    saliency = jnp.zeros(SHAPE).at[1, 1, 0].set(value)
    with pytest.raises(InputError, match="saliency has values that are not finite"):
        explain.explanation_map(saliency)
    assert np.isnan(np.asarray(explanation_map(saliency))).any()
