"""The SEP term: closed forms, and the directional-derivative identity against reverse over reverse."""

import dataclasses
import itertools
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import explain, models, train
from jsep.checks import InputError
from jsep.train.sep import draw_noise, map_distance, worst_noise
from jsep.types import Array, PyTree

SHAPE = (3, 3, 2)
KEY = jax.random.key(7)


def dense_model(variables: PyTree, image: Array) -> Array:
    """Two softplus layers, written by hand: any function of variables and image will do."""
    hidden = jnp.logaddexp(4 * (variables["first"] @ image.reshape(-1)), 0) / 4
    return variables["last"] @ jnp.logaddexp(2 * (variables["middle"] @ hidden), 0)


def dense_inputs() -> tuple[PyTree, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"first": (7, 18), "middle": (5, 7), "last": (4, 5)}
    variables = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return variables, rng.uniform(size=(3, *SHAPE)), np.array([0, 3, 1])


@hypothesis.given(st.integers(0, 10**6), st.floats(0, 1))
def test_penalty_of_a_squaring_map_is_its_closed_form(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    image = rng.uniform(size=(4, 5, 1)).astype(np.float32)
    noise = (scale * rng.normal(size=(4, 5, 1))).astype(np.float32)
    penalty = train.sep_penalty(lambda z: z[..., 0] ** 2, image, noise)
    # (x + n)^2 - x^2 = n (2 x + n).
    expected = np.mean((noise.astype(np.float64) * (2 * image + noise)) ** 2)
    assert float(penalty) == pytest.approx(expected, rel=1e-4, abs=1e-12)


def test_penalty_is_zero_without_noise_and_refuses_noise_of_another_shape() -> None:
    image = jnp.ones((4, 5, 1))
    assert float(train.sep_penalty(lambda z: z[..., 0] ** 3, image, jnp.zeros((4, 5, 1)))) == 0
    with pytest.raises(InputError, match=r"noise must have the image's shape \(4, 5, 1\), got \(4, 5\)"):
        train.sep_penalty(lambda z: z[..., 0], image, jnp.zeros((4, 5)))


def value_and_gradient(config: train.SepConfig, model_fn: Any, variables: PyTree, images: Any, labels: Any) -> Any:
    def penalty(variables: PyTree) -> Array:
        return train.batch_penalty(KEY, config, model_fn, variables, images, labels)

    return jax.value_and_grad(penalty)(variables)


def gradient_error(actual: PyTree, expected: PyTree) -> float:
    """Relative, over the whole gradient: entries that cancel to nothing carry only rounding."""
    flat = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (actual, expected)]
    assert np.abs(flat[1]).max() > 0
    return float(np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1]))


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_directional_equals_reverse_for_every_method_form_and_noise_in_float64() -> None:
    # Not compiled as one, and one test: the cases of this table share operations, which so are compiled once.
    variables, images, labels = dense_inputs()
    methods = [name for name, entry in explain.METHODS.items() if entry.from_gradient]
    cases = [
        {"method": method, "form": form, "noise": noise}
        for method, form, noise in itertools.product(methods, train.FORMS, ("gaussian", "uniform"))
    ]
    # For normalised maps <v, g> is 0 by Euler's theorem, which hides what the identity adds to the value.
    cases.append({"map_config": explain.MapConfig("sum", "none")})
    cases.append({"noise": "worst", "noise_steps": 2})
    values = set()
    for case in cases:
        directional, reverse = (
            value_and_gradient(train.SepConfig(gradient=gradient, **case), dense_model, variables, images, labels)
            for gradient in train.GRADIENTS
        )
        assert float(directional[0]) == pytest.approx(float(reverse[0]), rel=1e-12), case
        assert gradient_error(directional[1], reverse[1]) < 1e-9, case
        values.add(float(reverse[0]))
    assert len(values) == 14, "two cases of the table are the same"


def test_directional_equals_reverse_in_float32_on_a_convolutional_network(tiny: Any, digits: Any) -> None:
    images, labels = digits.images[:6], digits.labels[:6]

    @jax.jit
    def both(variables: PyTree) -> Any:
        return [
            value_and_gradient(train.SepConfig(gradient=g), tiny.model_fn, variables, images, labels)
            for g in train.GRADIENTS
        ]

    directional, reverse = both(tiny.variables)
    assert float(directional[0]) == pytest.approx(float(reverse[0]), rel=1e-4)
    assert gradient_error(directional[1], reverse[1]) < 1e-4


def test_directional_equals_reverse_on_a_residual_network_with_batch_statistics(digits: Any) -> None:
    model = models.ResNet(num_classes=10, stage_sizes=(1,), width=2)
    shapes = jax.eval_shape(lambda: models.init(KEY, model, (8, 8, 1)))
    variables = oracles.random_variables(shapes)

    @jax.jit
    def both(params: PyTree) -> Any:
        def penalty(params: PyTree, gradient: str) -> Array:
            config = train.SepConfig(gradient=gradient, method="gradient")
            held = {**variables, "params": params}
            return train.batch_penalty(KEY, config, models.model_fn(model), held, digits.images[:3], digits.labels[:3])

        return [jax.value_and_grad(penalty)(params, g) for g in train.GRADIENTS]

    directional, reverse = both(variables["params"])
    assert float(directional[0]) == pytest.approx(float(reverse[0]), rel=1e-4)
    assert gradient_error(directional[1], reverse[1]) < 1e-4


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("gradient", train.GRADIENTS)
def test_parameter_gradient_equals_finite_differences(gradient: str) -> None:
    variables, images, labels = dense_inputs()
    config = train.SepConfig(gradient=gradient)
    compiled = jax.jit(lambda v: value_and_gradient(config, dense_model, v, images, labels))
    expected = oracles.central_difference(lambda w: compiled({**variables, "middle": w})[0], variables["middle"])
    assert oracles.relative_error(compiled(variables)[1]["middle"], expected) < 1e-6


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("form", train.FORMS)
def test_value_equals_numpy_on_the_softplus_ridge(form: str) -> None:
    oracle = oracles.softplus_ridge(shape=SHAPE)
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(size=(4, *SHAPE)), np.array([0, 1, 2, 1])
    config = train.SepConfig(form=form, noise="uniform", noise_scale=0.3)
    noises = np.asarray(jax.jit(jax.vmap(lambda key: draw_noise(key, config, SHAPE)))(jax.random.split(KEY, 4)))

    def map_of(z: np.ndarray, label: int) -> np.ndarray:
        return oracles.explanation_map(z * oracle.gradient(z, label), "abs_sum", "l1")

    squares = [np.sum((map_of(x + n, k) - map_of(x, k)) ** 2) for x, n, k in zip(images, noises, labels, strict=True)]
    expected = {"mse": np.mean(squares) / 9, "sum": np.mean(squares), "root": np.mean(np.sqrt(squares))}[form]
    actual = jax.jit(lambda: train.batch_penalty(KEY, config, lambda _, z: oracle.logits(z), {}, images, labels))()
    assert float(actual) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("gradient", train.GRADIENTS)
def test_term_of_a_linear_model_vanishes_under_gradient(gradient: str) -> None:
    # Its gradient map is the same everywhere: value and derivative are 0, not NaN, also for the root.
    config = train.SepConfig(method="gradient", form="root", gradient=gradient)
    weights = jnp.asarray(oracles.linear(shape=SHAPE).weights, jnp.float32)
    images, labels = jnp.full((2, *SHAPE), 0.5), jnp.array([0, 1])
    value, derivative = jax.jit(
        lambda w: value_and_gradient(config, lambda w, z: jnp.tensordot(w, z, 3), w, images, labels)
    )(weights)
    assert float(value) == 0
    np.testing.assert_array_equal(derivative, np.zeros_like(derivative))


def test_worst_noise_of_the_identity_map_is_a_corner_of_the_ball_or_the_box() -> None:
    image = np.full((4, 5, 1), 0.5, np.float32)
    image[0] = 0.95  # the box ends nearer than the ball, upwards
    config = train.SepConfig(noise="worst", noise_scale=0.2, noise_steps=4)
    noise = np.asarray(worst_noise(KEY, config, lambda z: z[..., 0], image))
    np.testing.assert_allclose(np.abs(noise[1:]), 0.2, rtol=1e-5)
    up = noise[0] > 0
    np.testing.assert_allclose(noise[0], np.where(up, 0.05, -0.2), rtol=1e-4)


@pytest.mark.usefixtures("float64")
def test_worst_noise_is_worse_than_drawn_noise_of_the_same_box() -> None:
    variables, images, labels = dense_inputs()
    drawn, worst = (
        float(train.batch_penalty(KEY, train.SepConfig(noise=noise), dense_model, variables, images, labels))
        for noise in ("uniform", "worst")
    )
    assert worst > 1.5 * drawn


def test_noises_have_the_scale_that_they_are_given() -> None:
    for name, deviation, largest in [("gaussian", 0.2, np.inf), ("uniform", 0.2 / 3**0.5, 0.2)]:
        noise = np.asarray(draw_noise(KEY, train.SepConfig(noise=name, noise_scale=0.2), (100, 100, 1)))
        assert noise.std() == pytest.approx(deviation, rel=0.02)
        assert abs(noise.mean()) < 0.01
        assert np.abs(noise).max() <= largest


def test_map_distances_are_their_definitions() -> None:
    first, second = np.random.default_rng(0).dirichlet(np.ones(12), 2).reshape(2, 3, 4).astype(np.float32)
    square = float(((first.astype(np.float64) - second) ** 2).sum())
    expected = {"mse": square / 12, "sum": square, "root": square**0.5}
    for form in train.FORMS:
        assert float(map_distance(form, first, second)) == pytest.approx(expected[form], rel=1e-5)


def test_scale_free_weight_of_the_papers_lambda() -> None:
    assert train.scale_free_weight(50_000, 32 * 32) == pytest.approx(0.0477, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "lrp"}, "unknown explanation method 'lrp'"),
        ({"noise": "normal"}, "unknown SEP noise 'normal': expected one of gaussian, uniform"),
        ({"form": "rms"}, "unknown SEP form 'rms': expected one of mse, sum, root"),
        ({"gradient": "forward"}, "unknown SEP gradient 'forward': expected one of directional, reverse"),
        ({"noise_scale": 0.0}, "noise_scale must be a number > 0"),
    ],
)
def test_bad_settings_are_input_errors(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train.SepConfig(**change)


def test_directional_is_refused_for_a_method_that_is_no_function_of_the_gradient() -> None:
    with pytest.raises(
        InputError, match="'lrp_epsilon' is not a function of the input gradient alone; use .*'reverse'"
    ):
        train.SepConfig(method="lrp_epsilon")
    variables, images, labels = dense_inputs()
    reverse = train.SepConfig(method="lrp_epsilon", gradient="reverse")
    assert jax.eval_shape(lambda: train.batch_penalty(KEY, reverse, dense_model, variables, images, labels)).shape == ()


@pytest.mark.parametrize("ratio", [0.3, -0.1])
def test_weight_for_a_ratio_gives_that_ratio_in_the_first_steps(tiny, digits, ratio: float) -> None:
    config = train.TrainConfig(
        objective="mat", epochs=1, batch_size=16, attack=train.PgdConfig("linf", 0.1, 0.05, 2),
        optimizer=train.OptimizerConfig("sgd", 1e-30, "constant", 0.0, 0.0),
    )  # fmt: skip
    key = jax.random.key(3)
    found = train.sep_weight_for_ratio(key, tiny.model, digits, config, ratio, initial=tiny.variables, num_batches=4)
    assert np.sign(found) == np.sign(ratio)
    records: list[dict] = []
    trained = dataclasses.replace(config, sep_weight=found)
    train.fit(key, tiny.model, digits, trained, initial=tiny.variables, log_every=4, on_log=records.append)
    assert records[0]["sep_gradient_ratio"] == pytest.approx(abs(ratio), rel=1e-4)
    again = train.sep_weight_for_ratio(key, tiny.model, digits, trained, ratio, initial=tiny.variables, num_batches=4)
    assert again == pytest.approx(found, rel=1e-6), "the configuration's own weight takes no part"


def test_weight_for_a_ratio_refuses_what_cannot_be(tiny, digits) -> None:
    config = train.TrainConfig(objective="standard", epochs=1, batch_size=16)
    for ratio in (0.0, float("nan")):
        with pytest.raises(InputError, match="must be a finite number and not 0"):
            train.sep_weight_for_ratio(jax.random.key(0), tiny.model, digits, config, ratio)
    with pytest.raises(InputError, match="num_batches must be an integer >= 1"):
        train.sep_weight_for_ratio(jax.random.key(0), tiny.model, digits, config, 0.1, num_batches=0)
