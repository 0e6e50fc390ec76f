"""The classifiers: the activation, the layout of parameters, functions of one image, errors."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import models
from jsep.checks import InputError
from jsep.models.layers import activation_fn, softplus

KEY = jax.random.key(0)


def init(model: models.Classifier, shape: tuple[int, int, int]) -> dict:
    return jax.device_put(oracles.random_variables(jax.eval_shape(lambda: models.init(KEY, model, shape))))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet18", 11_173_962),
        ("wrn_16_2", 691_674),
        ("wrn_28_10", 36_479_194),
        ("wrn_34_10", 46_160_474),
        ("mobilenet_v2", 2_296_922),
    ],
)
def test_published_number_of_parameters(name: str, count: int) -> None:
    model = models.create(name, num_classes=10, input_shape=(32, 32, 3))
    variables = jax.eval_shape(lambda key: models.init(key, model, (32, 32, 3)), KEY)
    assert oracles.num_parameters(variables) == count
    assert set(variables) == {"params", "batch_stats"}


def test_convnet_has_the_parameters_of_its_layers() -> None:
    model = models.create("convnet", num_classes=7, input_shape=(8, 8, 2))
    variables = jax.eval_shape(lambda key: models.init(key, model, (8, 8, 2)), KEY)
    layers = [(9 * 2, 32), (9 * 32, 64), (9 * 64, 128), (2 * 2 * 128, 7)]
    assert oracles.num_parameters(variables) == sum((fan_in + 1) * fan_out for fan_in, fan_out in layers)
    assert set(variables) == {"params"}


def test_vit_tiny_has_the_parameters_of_its_layers() -> None:
    model = models.create("vit_tiny", num_classes=10, input_shape=(32, 32, 3))
    variables = jax.eval_shape(lambda: models.init(KEY, model, (32, 32, 3)))
    block = 2 * 2 * 192 + 193 * 3 * 192 + 193 * 192 + 193 * 768 + 769 * 192
    assert oracles.num_parameters(variables) == (48 + 1) * 192 + 192 + 65 * 192 + 12 * block + 2 * 192 + 193 * 10


def test_vit_cuts_images_into_patches_row_by_row() -> None:
    # With the identity as embedding and no attention blocks, the tokens are the patches.
    model = models.ViT(num_classes=2, width=12, depth=0, patch=2)
    image = jnp.arange(4 * 6 * 3, dtype=jnp.float32).reshape(4, 6, 3)
    variables = models.init(KEY, model, (4, 6, 3))
    params = {**variables["params"], "patches": {"kernel": jnp.eye(12), "bias": jnp.zeros(12)}}
    _, kept = model.apply({"params": params}, image[None], capture_intermediates=True)
    (tokens,) = kept["intermediates"]["patches"]["__call__"]
    expected = [np.asarray(image[r : r + 2, c : c + 2]).ravel() for r in (0, 2) for c in (0, 2, 4)]
    np.testing.assert_array_equal(tokens[0], expected)


def test_vit_whose_heads_do_not_divide_its_width_is_an_input_error() -> None:
    with pytest.raises(InputError, match="width must be a multiple of num_heads, got 64 and 3"):
        models.init(KEY, models.ViT(num_classes=2, width=64), (8, 8, 3))


@pytest.mark.parametrize("shape", [(7, 8, 3), (8, 9, 3)])
def test_vit_on_images_that_patches_do_not_fill_is_an_input_error(shape: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match=rf"images of {shape[0]}x{shape[1]} pixels are no grid of patches of 4x4"):
        models.init(KEY, models.ViT(num_classes=2, depth=1), shape)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("beta", [0.5, 10.0, 100.0])
def test_softplus_and_three_derivatives_equal_numpy(beta: float) -> None:
    x = np.linspace(-3, 3, 31)
    s = 1 / (1 + np.exp(-beta * x))
    expected = [np.logaddexp(0, beta * x) / beta, s, beta * s * (1 - s), beta**2 * s * (1 - s) * (1 - 2 * s)]
    function = lambda z: softplus(z, beta)  # noqa: E731
    for order, values in enumerate(expected):
        actual = jax.vmap(function)(jnp.asarray(x))
        np.testing.assert_allclose(actual, values, rtol=1e-10, atol=1e-14 * beta**order)
        function = jax.grad(function)


def test_softplus_and_three_derivatives_are_finite_for_large_inputs() -> None:
    x = jnp.array([-1e30, -1e4, -90.0, 0.0, 90.0, 1e4, 1e30])
    function = lambda z: softplus(z, 10.0)  # noqa: E731
    for _ in range(4):
        assert np.all(np.isfinite(jax.vmap(function)(x)))
        function = jax.grad(function)
    np.testing.assert_allclose(softplus(x, 10.0), [0, 0, 0, np.log(2) / 10, 90, 1e4, 1e30], rtol=1e-6)


def test_softplus_tends_to_relu_at_log_2_over_beta() -> None:
    x = jnp.linspace(-2, 2, 401)
    for beta in (10.0, 1e3, 1e5):
        gap = np.asarray(softplus(x, beta) - jax.nn.relu(x))
        assert gap.min() >= -2.5e-7
        assert gap.max() == pytest.approx(np.log(2) / beta, rel=1e-2, abs=2.5e-7)


def test_init_depends_on_the_key_and_scales_kernels_after_he() -> None:
    model = models.ConvNet(num_classes=10, widths=(64,))
    first, again, other = (models.init(jax.random.key(seed), model, (4, 4, 8)) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    kernel = first["params"]["Conv_0"]["kernel"]
    assert not np.array_equal(kernel, other["params"]["Conv_0"]["kernel"])
    assert float(kernel.std()) == pytest.approx((2 / (9 * 8)) ** 0.5, rel=0.05)
    assert kernel.dtype == jnp.float32


@pytest.fixture(scope="module")
def colour() -> tuple[models.Classifier, dict, np.ndarray]:
    """A small ResNet (batch statistics off their initial values) and a batch of images."""
    rng = np.random.default_rng(0)
    model = models.ResNet(
        num_classes=5, stage_sizes=(1, 1), width=4, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), softplus_beta=5.0
    )
    variables = init(model, (8, 8, 3))
    return model, variables, rng.uniform(size=(4, 8, 8, 3)).astype(np.float32)


def test_logits_of_one_image_are_a_row_of_the_batch(colour: tuple) -> None:
    model, variables, images = colour
    batch, stats = jax.jit(functools.partial(models.batch_fn(model), train=False))(variables, images)
    function = jax.jit(models.logits_fn(model, variables))
    for row, image in zip(batch, images, strict=True):
        np.testing.assert_allclose(function(image), row, rtol=1e-4, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, stats, variables["batch_stats"])


def test_features_times_head_are_the_logits(colour: tuple) -> None:
    model, variables, images = colour
    features = jax.jit(models.features_fn(model))(variables, images[0])
    head = variables["params"]["head"]
    assert features.shape == (8,)
    expected = features @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(jax.jit(models.model_fn(model))(variables, images[0]), expected, rtol=1e-5, atol=1e-6)


def test_normalisation_is_inside_the_model(colour: tuple) -> None:
    model, variables, images = colour
    plain = model.clone(mean=(0.0,), std=(1.0,))
    normalised = (images - np.float32([0.4, 0.5, 0.6])) / np.float32([0.2, 0.25, 0.3])
    np.testing.assert_allclose(model.apply(variables, images), plain.apply(variables, normalised), rtol=1e-4, atol=1e-5)


def test_training_mode_uses_and_updates_the_batch_statistics(colour: tuple) -> None:
    model, variables, images = colour
    _, stats = jax.jit(functools.partial(models.batch_fn(model), train=True))(variables, images)
    x = (images - np.float32([0.4, 0.5, 0.6])) / np.float32([0.2, 0.25, 0.3])
    kernel = np.asarray(variables["params"]["Conv_0"]["kernel"])
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    first = sum(padded[:, i : i + 8, j : j + 8] @ kernel[i, j] for i in range(3) for j in range(3))
    expected = 0.9 * variables["batch_stats"]["BatchNorm_0"]["mean"] + 0.1 * first.mean((0, 1, 2))
    np.testing.assert_allclose(stats["BatchNorm_0"]["mean"], expected, rtol=1e-4, atol=1e-6)


def test_convnet_is_softplus_of_dense_layers_by_numpy() -> None:
    # 1x1 images: the 3x3 kernels meet only their centre, so every layer is a matrix product.
    model = models.ConvNet(num_classes=3, widths=(4, 5), softplus_beta=2.0)
    variables = init(model, (1, 1, 2))
    parameters = jax.tree.map(lambda z: np.asarray(z, np.float64), variables["params"])
    x = image = np.array([0.3, 0.8])
    for name in ("Conv_0", "Conv_1"):
        x = np.logaddexp(0, 2 * (x @ parameters[name]["kernel"][1, 1] + parameters[name]["bias"])) / 2
    expected = x @ parameters["head"]["kernel"] + parameters["head"]["bias"]
    actual = jax.jit(models.model_fn(model))(variables, jnp.asarray(image, jnp.float32).reshape(1, 1, 2))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_model_fn_is_one_function_for_equal_models_and_takes_a_beta() -> None:
    model, same, other = (models.ConvNet(4, softplus_beta=b, widths=(3,)) for b in (3.0, 3.0, 9.0))
    assert models.model_fn(model) is models.model_fn(same) is not models.model_fn(other)
    variables, image = init(model, (4, 4, 1)), jnp.full((4, 4, 1), 0.3)
    function = jax.jit(models.model_fn(model))
    replaced = function(variables, image, jnp.float32(9.0))
    np.testing.assert_allclose(replaced, jax.jit(models.model_fn(other))(variables, image), rtol=1e-5)
    assert not np.allclose(replaced, function(variables, image), rtol=1e-3)


def test_relu_model_is_the_limit_of_large_beta() -> None:
    relu = models.ConvNet(4, activation="relu", widths=(3,))
    sharp = models.ConvNet(4, widths=(3,))
    variables, image = init(relu, (4, 4, 1)), jnp.full((4, 4, 1), 0.3)
    near = jax.jit(models.model_fn(sharp))(variables, image, 1e5)
    np.testing.assert_allclose(near, jax.jit(models.model_fn(relu))(variables, image), rtol=0, atol=1e-3)


def test_activation_is_swapped_without_other_variables() -> None:
    model = models.create("convnet", num_classes=4, input_shape=(4, 4, 1), activation="relu")
    variables, image = init(model, (4, 4, 1)), jnp.full((4, 4, 1), 0.3)
    smooth = models.with_activation(model, "softplus", softplus_beta=50.0)
    assert (smooth.activation, smooth.softplus_beta, model.activation) == ("softplus", 50.0, "relu")
    sharp = models.with_activation(smooth, "softplus", softplus_beta=1e5)
    relu, near, soft = (jax.jit(models.model_fn(m))(variables, image) for m in (model, sharp, smooth))
    np.testing.assert_allclose(near, relu, rtol=0, atol=1e-3)
    assert not np.allclose(soft, relu, atol=1e-3)
    assert models.with_activation(sharp, "gelu").softplus_beta == 1e5
    with pytest.raises(InputError, match="unknown activation 'tanh'"):
        models.with_activation(model, "tanh")
    with pytest.raises(InputError, match="softplus_beta must be a number > 0"):
        models.with_activation(model, "softplus", softplus_beta=0.0)


@pytest.mark.usefixtures("float64")
def test_gelu_is_the_exact_one() -> None:
    x = np.linspace(-4, 4, 33)
    expected = [z * (1 + math.erf(z / math.sqrt(2))) / 2 for z in x]
    np.testing.assert_allclose(activation_fn("gelu", 1.0)(jnp.asarray(x)), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"name": "resnet81"},
            "unknown model 'resnet81': expected one of convnet, resnet18, wrn_16_2, .*; did you mean 'resnet18'",
        ),
        ({"activation": "softplu"}, "unknown activation 'softplu': expected one of softplus, relu, gelu"),
        ({"num_classes": 1}, "num_classes must be an integer >= 2, got 1"),
        ({"num_classes": 10.0}, r"num_classes must be an integer >= 2, got 10\.0"),
        ({"softplus_beta": 0.0}, "softplus_beta must be a number > 0"),
        ({"input_shape": (1, 8, 8, 3)}, r"input_shape must be \(H, W, C\)"),
        ({"mean": (0.5,)}, "mean needs one value for each of the 3 channels"),
        ({"std": (0.5, 0.5)}, "std needs one value for each of the 3 channels"),
    ],
)
def test_bad_settings_are_input_errors(change: dict, message: str) -> None:
    settings = {"name": "convnet", "num_classes": 10, "input_shape": (8, 8, 3)} | change
    with pytest.raises(InputError, match=message):
        models.create(settings.pop("name"), **settings)


def test_unknown_activation_of_a_module_is_an_input_error() -> None:
    with pytest.raises(InputError, match="expected one of softplus, relu"):
        activation_fn("elu", 1.0)
