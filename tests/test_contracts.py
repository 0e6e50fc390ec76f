"""One table for every family: what each explanation method, norm, training objective and model must do."""

import functools
import inspect
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


def model_for(method: str, seed: int = 0) -> Any:
    """A model that has what the method needs; with several layers where it has rules for them."""
    needs = explain.METHODS[method].needs
    if needs == "attention":
        return oracles.transformer(seed)
    if needs == "feature maps" or method.startswith(("guided", "deconvnet", "lrp")):
        return oracles.conv_net(seed)
    return oracles.softplus_ridge(seed).logits


OPTIONS = {
    "occlusion": {"window": 2, "stride": 1},
    "smooth_grad": {"num_samples": 4},
    "smooth_grad_squared": {"num_samples": 4},
    "var_grad": {"num_samples": 4},
    "integrated_gradients": {"num_steps": 4},
    "rise": {"num_samples": 8, "grid": 2},
    "lime": {"num_samples": 8, "segments": 2},
}
"""Smaller than the defaults, for speed."""

DIFFERENTIABLE = [name for name, entry in sorted(explain.METHODS.items()) if entry.differentiable]


@pytest.fixture(params=sorted(explain.METHODS))
def method(request: pytest.FixtureRequest) -> str:
    return request.param


def images(num: int = 3) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.1, 0.9, (num, *SHAPE)).astype(np.float32)


def make_map_fn(method: str, label: Any = 1, logits_fn: Any = None) -> Any:
    logits_fn = logits_fn or model_for(method)
    return explain.make_map_fn(method, logits_fn, label, key=KEY, **OPTIONS.get(method, {}))


def test_saliency_has_the_shape_and_dtype_of_the_image_and_the_map_its_pixels(method: str) -> None:
    entry, image = explain.METHODS[method], jnp.asarray(images()[0])
    logits_fn, options = model_for(method), {"key": KEY, **OPTIONS.get(method, {})}
    saliency = jax.jit(lambda z: entry.saliency(logits_fn, z, 1, **options))(image)
    assert saliency.shape in (SHAPE, (*SHAPE[:2], 1))
    assert saliency.dtype == jnp.float32
    assert np.ptp(np.asarray(saliency)) > 0
    map_ = jax.jit(make_map_fn(method))(image)
    assert (map_.shape, map_.dtype) == (SHAPE[:2], jnp.float32)
    assert float(map_.sum()) == pytest.approx(1, abs=1e-6)
    half = jax.eval_shape(lambda z: entry.saliency(logits_fn, z, 1, **options), image.astype(jnp.float16))
    assert half.dtype == jnp.float16


def test_jit_and_vmap_of_a_map_equal_a_python_loop(method: str) -> None:
    map_fn = make_map_fn(method)
    batch = images()
    jitted = jax.jit(map_fn)
    expected = np.stack([jitted(jnp.asarray(image)) for image in batch])
    assert jitted._cache_size() == 1
    np.testing.assert_allclose(jax.jit(jax.vmap(map_fn))(batch), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", DIFFERENTIABLE)
@pytest.mark.usefixtures("float64")
def test_derivative_of_a_map_is_finite_and_equals_finite_differences(method: str) -> None:
    map_fn = jax.jit(make_map_fn(method))
    image = images()[0].astype(np.float64)
    jacobian = jax.jit(jax.jacobian(map_fn))(jnp.asarray(image))
    assert np.all(np.isfinite(jacobian))
    assert oracles.relative_error(jacobian, oracles.central_difference(map_fn, image)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("method", DIFFERENTIABLE)
@pytest.mark.usefixtures("float64")
def test_derivative_in_the_parameters_equals_finite_differences(method: str) -> None:
    base, image = model_for(method), jnp.asarray(images()[0], jnp.float64)
    numbers = np.random.default_rng(1).uniform(0.5, 1.5, SHAPE)

    @jax.jit
    def loss(factors: jax.Array) -> jax.Array:
        # The parameters: one factor a pixel and channel.
        def logits(z: jax.Array) -> jax.Array:
            return base(z * factors)

        return jnp.sum(make_map_fn(method, logits_fn=logits)(image) ** 2)

    gradient = jax.grad(loss)(jnp.asarray(numbers))
    expected = oracles.central_difference(loss, numbers)
    assert np.abs(expected).max() > 0
    assert oracles.relative_error(gradient, expected) < 1e-6


@pytest.mark.parametrize("method", DIFFERENTIABLE)
def test_derivative_of_a_map_is_finite_on_a_black_image(method: str) -> None:
    assert np.all(np.isfinite(jax.jit(jax.jacobian(make_map_fn(method)))(jnp.zeros(SHAPE))))


@pytest.mark.parametrize("method", sorted(set(explain.METHODS) - set(DIFFERENTIABLE)))
def test_method_without_derivative_says_so_when_asked_for_one(method: str) -> None:
    with pytest.raises(InputError, match=f"{method} has no derivative here.* Attack a differentiable method"):
        jax.grad(lambda z: make_map_fn(method)(z)[0, 0])(jnp.asarray(images()[0]))
    with pytest.raises(InputError, match=f"'{method}' has no derivative: attack another one"):
        explain.check_differentiable(method)


def test_randomised_weights_change_the_map(method: str) -> None:
    # Adebayo et al.'s sanity check in small: an explanation of the model depends on the model.
    image = jnp.asarray(images()[0])
    first, second = (jax.jit(make_map_fn(method, logits_fn=model_for(method, seed)))(image) for seed in (0, 1))
    assert float(jnp.abs(first - second).sum()) > 0.01


@pytest.mark.parametrize("label", [-1, 3])
def test_label_out_of_range_is_an_input_error(method: str, label: int) -> None:
    with pytest.raises(InputError, match=rf"label must be in 0 \.\. 2 .*got {label}"):
        make_map_fn(method, label)(jnp.zeros(SHAPE))


def test_batch_is_an_input_error_that_names_vmap(method: str) -> None:
    with pytest.raises(InputError, match="for a batch use jax.vmap"):
        make_map_fn(method)(jnp.zeros((2, *SHAPE)))


@pytest.mark.parametrize("method", [name for name, entry in explain.METHODS.items() if entry.needs])
def test_model_without_what_the_method_needs_is_an_input_error(method: str) -> None:
    with pytest.raises(InputError, match="the model has no (feature maps|attention maps)"):
        make_map_fn(method, logits_fn=oracles.softplus_ridge().logits)(jnp.zeros(SHAPE))


@pytest.mark.parametrize("method", [name for name, entry in explain.METHODS.items() if entry.draws])
def test_method_that_samples_wants_a_key(method: str) -> None:
    with pytest.raises(InputError, match=f"'{method}' samples: pass key"):
        explain.make_map_fn(method, oracles.linear().logits, 0)
    with pytest.raises(InputError, match=f"'{method}' samples: pass key"):
        explain.METHODS[method].saliency(oracles.linear().logits, jnp.zeros(SHAPE), 0)


def test_methods_share_one_signature(method: str) -> None:
    parameters = list(inspect.signature(explain.METHODS[method].saliency).parameters.values())
    assert [(p.name, p.kind) for p in parameters[:4]] == [
        ("logits_fn", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        ("image", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        ("label", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        ("key", inspect.Parameter.KEYWORD_ONLY),
    ]
    assert parameters[3].default is None
    for option in parameters[4:]:
        assert option.kind is inspect.Parameter.KEYWORD_ONLY
        assert option.default is not inspect.Parameter.empty, option.name


@pytest.mark.parametrize("method", [name for name, entry in explain.METHODS.items() if not entry.draws])
def test_method_that_draws_nothing_ignores_the_key(method: str) -> None:
    entry, logits_fn, options = explain.METHODS[method], model_for(method), OPTIONS.get(method, {})
    jaxprs = [
        jax.make_jaxpr(lambda z, k=key: entry.saliency(logits_fn, z, 1, key=k, **options))(images()[0])
        for key in (None, KEY)
    ]
    assert str(jaxprs[0]) == str(jaxprs[1])


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


@functools.partial(jax.jit, static_argnames="name")
def jitted_to_hyperplane(image: Array, normal: Array, gap: Array, name: str) -> Array:
    return attack.NORMS[name].to_hyperplane(image, normal, gap)


@pytest.mark.parametrize("name", attack.NORMS)
@hypothesis.given(seed=st.integers(0, 10**6), share=st.floats(0.05, 0.95))
def test_smallest_way_to_a_hyperplane_ends_on_it_and_within_the_box(name: str, seed: int, share: float) -> None:
    size, _ = NORM_SIZES[name]
    rng = np.random.default_rng(seed)
    image, normal = rng.uniform(size=SHAPE).astype(np.float32), rng.normal(size=SHAPE).astype(np.float32)
    gap = np.float32(share * (normal * np.where(normal > 0, 1 - image, -image)).sum())
    delta = np.asarray(jitted_to_hyperplane(image, normal, gap, name), np.float64)
    assert (normal * delta).sum() == pytest.approx(gap, rel=1e-4)
    assert np.all((image + delta >= -1e-7) & (image + delta <= 1 + 1e-7))
    # No other point of the hyperplane and the box is nearer: scale any other valid change until it ends there.
    other = np.where(normal > 0, 1 - image, -image) * rng.uniform(0.2, 1, SHAPE)
    other *= gap / (normal * other).sum()
    if np.all((image + other >= 0) & (image + other <= 1)):
        assert size(delta) <= size(other) * (1 + 1e-5)


# Losses, and the attacks of an ensemble.


@pytest.mark.parametrize("name", attack.LOSSES)
def test_loss_rises_as_the_label_falls_and_has_the_gradient_of_its_differences(name: str) -> None:
    loss = attack.LOSSES[name]
    logits = np.random.default_rng(0).normal(size=5).astype(np.float32)
    for label in range(5):
        gradient = np.asarray(jax.jit(jax.grad(loss))(logits, label))
        expected = oracles.central_difference(lambda z, y=label: float(loss(jnp.asarray(z), y)), logits, 1e-3)
        np.testing.assert_allclose(gradient, expected, atol=5e-3)
        assert float(gradient.sum()) == pytest.approx(0, abs=1e-5)  # a shift of all logits changes nothing
        assert gradient[label] < 0


@pytest.mark.parametrize("name", attack.PREDICTION_ATTACKS)
def test_member_of_an_ensemble_breaks_what_it_can_and_ignores_what_it_is_not_given(name: str) -> None:
    member, oracle = attack.PREDICTION_ATTACKS[name], oracles.linear(num_classes=4)
    version = attack.AutoAttackConfig(attacks=(name,), num_steps=10, num_queries=100, pgd_steps=5)

    @jax.jit
    def one(image: Array, label: Array, target: Array, epsilon: Array) -> tuple[Array, Array]:
        return member.run(KEY, oracle.logits, image, label, target, "linf", epsilon, version)

    for image in images():
        label, target = np.argsort(-np.asarray(oracle.logits(image)))[:2]
        adversarial, objectives = one(image, label, target, jnp.float32(0.3))
        assert (adversarial.shape, adversarial.dtype) == (SHAPE, jnp.float32)
        assert objectives.shape in ((0,), (11,))
        assert np.all((adversarial >= 0) & (adversarial <= 1))
        assert int(np.argmax(oracle.logits(adversarial))) != label
        assert float(np.abs(adversarial - image).max()) <= 0.3 + 1e-6
        again, _ = one(image, label, target, jnp.float32(0.3))
        np.testing.assert_array_equal(adversarial, again)


# Training objectives.


@pytest.mark.parametrize("name", train.OBJECTIVES)
def test_objective_is_finite_with_its_gradient_and_falls_over_20_steps(name: str, digits: data.Dataset) -> None:
    model = models.ConvNet(num_classes=10, widths=(6,))
    config = train.PgdConfig(epsilon=0.05, alpha=0.03, num_steps=2)
    entry = train.OBJECTIVES[name]
    assert entry.weight is None or hasattr(entry.config(), entry.weight)
    inner = train.InnerAttack(config)
    objective = entry.make(models.model_fn(model), models.batch_fn(model), inner, entry.config())
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


# Explanation regularisers.


@pytest.mark.parametrize("name", train.EXPLANATION_REGULARISERS)
def test_regulariser_is_a_scalar_with_finite_parameter_gradients_that_are_not_zero(name: str) -> None:
    model = models.ConvNet(num_classes=4, widths=(5,))
    variables = oracles.random_variables(jax.eval_shape(lambda: models.init(KEY, model, (5, 4, 2))))
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(size=(3, 5, 4, 2)).astype(np.float32), np.array([0, 3, 1])
    config = train.RegulariserConfig(name, num_steps=2, path_steps=2, top_k=5, num_gaps=3)

    def term(variables: Any, key: Any, images: Array) -> Array:
        return train.batch_regulariser(key, config, models.model_fn(model), variables, images, labels)

    compiled = jax.jit(jax.value_and_grad(term))
    values = []
    for seed in (0, 1):
        value, gradient = compiled(variables, jax.random.key(seed), images)
        values.append(float(value))
        assert (value.shape, value.dtype) == ((), jnp.float32)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((value, gradient)))
        assert np.any(gradient["params"]["Conv_0"]["kernel"] != 0)
    assert (values[0] == values[1]) == (name == "cure"), "only cure draws nothing"
    assert compiled._cache_size() == 1


# Models.


def network(name: str) -> tuple[models.Classifier, Any, np.ndarray]:
    """The model of this name, narrow so that it compiles fast, with random variables, and three images."""
    model = models.create(name, num_classes=5, input_shape=(8, 8, 3), softplus_beta=5.0)
    if name == "resnet18":
        model = model.clone(width=2, stage_sizes=(1, 1, 1, 1))
    if name == "convnet":
        model = model.clone(widths=(4, 4, 4))
    if name.startswith("wrn"):
        model = model.clone(depth=10, widen=int(name == "wrn_34_10") + 1)
    if name == "mobilenet_v2":
        model = model.clone(stages=((1, 4, 1, 1), (2, 4, 1, 2)), last_width=8)
    if name == "vit_tiny":
        model = model.clone(width=6, depth=2)
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


SIZES_OF_OTHERS = ("wrn_28_10", "wrn_34_10", "vit_tiny")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.long] if n in SIZES_OF_OTHERS else [pytest.mark.slow] * (n == "vit_micro"))
        for n in models.MODELS
    ],
)
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
