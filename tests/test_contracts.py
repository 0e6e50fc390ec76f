"""One table for every family: what each explanation method, norm, training objective and model must do."""

from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import attack, data, explain, models, train
from jsep.checks import InputError
from jsep.types import Array

SHAPE = (3, 4, 2)
KEY = jax.random.key(0)


# Explanation methods.


@pytest.fixture(params=sorted(explain.METHODS))
def method(request: pytest.FixtureRequest) -> str:
    return request.param


def images(num: int = 3) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.1, 0.9, (num, *SHAPE)).astype(np.float32)


def test_saliency_has_the_shape_and_dtype_of_the_image_and_the_map_its_pixels(method: str) -> None:
    oracle, image = oracles.softplus_ridge(), jnp.asarray(images()[0])
    saliency = explain.method(method).saliency(oracle.logits, image, 1)
    assert (saliency.shape, saliency.dtype) == (SHAPE, jnp.float32)
    map_ = explain.make_map_fn(method, oracle.logits, 1)(image)
    assert (map_.shape, map_.dtype) == (SHAPE[:2], jnp.float32)
    assert float(map_.sum()) == pytest.approx(1, abs=1e-6)
    half = explain.method(method).saliency(oracle.logits, image.astype(jnp.float16), 1)
    assert half.dtype == jnp.float16


def test_jit_and_vmap_of_a_map_equal_a_python_loop(method: str) -> None:
    map_fn = explain.make_map_fn(method, oracles.softplus_ridge().logits, 1)
    batch = images()
    expected = np.stack([map_fn(jnp.asarray(image)) for image in batch])
    np.testing.assert_allclose(jax.jit(jax.vmap(map_fn))(batch), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(jax.jit(map_fn)(batch[0]), expected[0], rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("float64")
def test_derivative_of_a_map_is_finite_and_equals_finite_differences(method: str) -> None:
    map_fn = jax.jit(explain.make_map_fn(method, oracles.softplus_ridge().logits, 1))
    image = images()[0].astype(np.float64)
    jacobian = jax.jacobian(map_fn)(jnp.asarray(image))
    assert np.all(np.isfinite(jacobian))
    assert oracles.relative_error(jacobian, oracles.central_difference(map_fn, image)) < 1e-6


def test_derivative_of_a_map_is_finite_on_a_black_image(method: str) -> None:
    map_fn = explain.make_map_fn(method, oracles.softplus_ridge().logits, 1)
    assert np.all(np.isfinite(jax.jacobian(map_fn)(jnp.zeros(SHAPE))))


@pytest.mark.parametrize("label", [-1, 3])
def test_label_out_of_range_is_an_input_error(method: str, label: int) -> None:
    map_fn = explain.make_map_fn(method, oracles.linear().logits, label)
    with pytest.raises(InputError, match=rf"label must be in 0 \.\. 2 .*got {label}"):
        map_fn(jnp.zeros(SHAPE))


# Norms.

NORM_SIZES = {
    "linf": (lambda d: np.abs(d).max(), lambda g: np.abs(g).sum()),
    "l2": (lambda d: np.sqrt((d**2).sum()), lambda g: np.sqrt((g**2).sum())),
}
"""name -> (the norm, its dual), in NumPy; a new norm needs its line."""


def test_every_norm_has_its_oracle() -> None:
    assert set(NORM_SIZES) == set(attack.NORMS)


perturbations = st.builds(
    lambda seed, exponent: (np.random.default_rng(seed).normal(size=SHAPE) * 10.0**exponent).astype(np.float32),
    st.integers(0, 10**6),
    st.floats(-6, 6),
)


@pytest.mark.parametrize("name", attack.NORMS)
@hypothesis.given(gradient=perturbations)
def test_step_has_unit_size_and_attains_the_dual_norm(name: str, gradient: np.ndarray) -> None:
    norm, (size, dual) = attack.NORMS[name], NORM_SIZES[name]
    step = np.asarray(norm.step(gradient), np.float64)
    assert size(step) == pytest.approx(1, rel=1e-6)
    assert float(norm.size(step.astype(np.float32))) == pytest.approx(1, rel=1e-6)
    assert (gradient.astype(np.float64) * step).sum() == pytest.approx(dual(gradient.astype(np.float64)), rel=1e-5)


@pytest.mark.parametrize("name", attack.NORMS)
def test_step_of_a_zero_gradient_is_zero_and_of_a_tiny_one_has_unit_size(name: str) -> None:
    norm = attack.NORMS[name]
    np.testing.assert_array_equal(norm.step(jnp.zeros(SHAPE)), np.zeros(SHAPE))
    assert float(norm.size(norm.step(jnp.full(SHAPE, 1e-30)))) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("name", attack.NORMS)
@hypothesis.given(delta=perturbations, epsilon=st.floats(0, 10), seed=st.integers(0, 100))
def test_projection_is_idempotent_in_the_ball_and_nearest(
    name: str, delta: np.ndarray, epsilon: float, seed: int
) -> None:
    norm, (size, _) = attack.NORMS[name], NORM_SIZES[name]
    epsilon = float(np.float32(epsilon))
    projected = np.asarray(norm.project(delta, epsilon), np.float64)
    assert size(projected) <= epsilon * (1 + 1e-6)
    np.testing.assert_allclose(norm.project(projected.astype(np.float32), epsilon), projected, rtol=1e-6, atol=1e-30)
    if size(delta.astype(np.float64)) <= epsilon * (1 - 1e-6):
        np.testing.assert_array_equal(projected, delta)
    # Nearest in the Euclidean distance: no other point of the ball makes an acute angle with the way out.
    other = np.random.default_rng(seed).normal(size=SHAPE)
    other *= epsilon / size(other)
    outward = delta - projected
    assert (outward * (other - projected)).sum() <= 1e-5 * np.linalg.norm(outward) * (epsilon * 24**0.5 + 1e-30)


@pytest.mark.parametrize("name", attack.NORMS)
def test_random_perturbations_fill_the_ball(name: str) -> None:
    norm, (size, _) = attack.NORMS[name], NORM_SIZES[name]
    draw = jax.jit(jax.vmap(lambda key: norm.random(key, (1, 2, 1), 0.5)))
    drawn = np.asarray(draw(jax.random.split(KEY, 4000)), np.float64)
    sizes = np.array([size(delta) for delta in drawn])
    assert sizes.max() <= 0.5 * (1 + 1e-6)
    # Uniform in two dimensions: the share within radius r is (r / epsilon)^2, and the mean is the centre.
    for radius in (0.1, 0.25, 0.4):
        assert np.mean(sizes < radius) == pytest.approx((radius / 0.5) ** 2, abs=0.03)
    np.testing.assert_allclose(drawn.mean(0), 0, atol=0.02)


# Training objectives.


@pytest.mark.parametrize("name", train.OBJECTIVES)
def test_objective_is_finite_with_its_gradient_and_falls_over_20_steps(name: str, digits: data.Dataset) -> None:
    model = models.ConvNet(num_classes=10, widths=(6,))
    config = train.PgdConfig(epsilon=0.05, alpha=0.03, num_steps=2)
    objective = train.OBJECTIVES[name](models.model_fn(model), models.batch_fn(model), config)
    shapes = jax.eval_shape(lambda: models.init(KEY, model, (8, 8, 1)))
    params = jax.device_put(oracles.random_variables(shapes)["params"])

    @jax.jit
    def step(params: Any) -> tuple[Any, Any, Any]:
        (loss, auxiliary), gradient = jax.value_and_grad(objective, argnums=1, has_aux=True)(
            KEY, params, {}, digits.images, digits.labels
        )
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), (loss, auxiliary.metrics), gradient

    losses = []
    for _ in range(21):
        params, (loss, metrics), gradient = step(params)
        losses.append(float(loss))
        assert {"cross_entropy", "accuracy"} <= set(metrics)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((loss, metrics, gradient)))
    assert losses[-1] < 0.9 * losses[0]
    assert all(np.any(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(gradient))


# Models.


def network(name: str) -> tuple[models.Classifier, Any, np.ndarray]:
    """The model of this name, narrow so that it compiles fast, with random variables, and three images."""
    model = models.create(name, num_classes=5, input_shape=(8, 8, 3), softplus_beta=5.0)
    if name == "resnet18":
        model = model.clone(width=2, stage_sizes=(1, 1, 1, 1))
    if name == "convnet":
        model = model.clone(widths=(4, 4, 4))
    variables = oracles.random_variables(jax.eval_shape(lambda: models.init(KEY, model, (8, 8, 3))))
    return model, variables, np.random.default_rng(0).uniform(size=(3, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("name", models.MODELS)
def test_model_maps_a_batch_to_logits_in_both_modes(name: str) -> None:
    model, variables, batch = network(name)
    for train_mode in (True, False):
        logits, stats = jax.eval_shape(
            lambda v, x, t=train_mode: models.batch_fn(model)(v, x, train=t), variables, batch
        )
        assert (logits.shape, logits.dtype) == ((3, 5), jnp.float32)
        assert jax.tree.structure(stats) == jax.tree.structure(variables.get("batch_stats", {}))
    logits = jax.eval_shape(models.model_fn(model), variables, batch[0])
    assert logits.shape == (5,)


@pytest.mark.parametrize("name", models.MODELS)
def test_model_in_evaluation_mode_treats_each_image_alone(name: str) -> None:
    model, variables, batch = network(name)
    apply = jax.jit(lambda v, x: models.batch_fn(model)(v, x, train=False)[0])
    first = apply(variables, batch)
    changed = batch.copy()
    changed[1:] = 1 - changed[1:]
    second = apply(variables, changed)
    np.testing.assert_allclose(first[0], second[0], rtol=1e-5, atol=1e-6)
    assert not np.allclose(first[1], second[1], rtol=1e-3), "the images do not matter"


@pytest.mark.parametrize("name", models.MODELS)
def test_model_with_softplus_has_finite_second_derivatives_that_are_not_zero(name: str) -> None:
    model, variables, batch = network(name)
    direction = np.random.default_rng(1).normal(size=batch[0].shape).astype(np.float32)

    @jax.jit
    def curvature(variables: Any, image: Array) -> tuple[Array, Any]:
        def along(variables: Any) -> Array:
            gradient = jax.grad(lambda z: models.model_fn(model)(variables, z)[0])
            return jnp.vdot(jax.jvp(gradient, (image,), (direction,))[1], direction)

        return jax.value_and_grad(along)(variables)

    value, gradient = curvature(variables, batch[0])
    assert np.isfinite(value)
    assert float(value) != 0
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
