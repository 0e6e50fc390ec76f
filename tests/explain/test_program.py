"""Reading a jaxpr into steps: what is inlined, what becomes an activation, what stays affine."""

import functools
from collections.abc import Callable

import equinox
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import models
from jsep.checks import InputError
from jsep.explain.gradient import score
from jsep.explain.layers import Layer, join_layers
from jsep.explain.program import backpropagate, trace, vjp_rule
from jsep.models.layers import softplus

SHAPE = (3, 4, 2)
IMAGE = np.random.default_rng(0).uniform(0.1, 0.9, SHAPE).astype(np.float32)


def by_where(x: jax.Array) -> jax.Array:
    return jnp.where(x > 0, x, 0.0)


def tanh_gelu(x: jax.Array) -> jax.Array:
    return 0.5 * x * (1 + jnp.tanh(0.79788456 * (x + 0.044715 * x**3)))


ACTIVATIONS = {
    "relu": jax.nn.relu, "maximum": lambda x: jnp.maximum(x, 0), "where": by_where, "softplus": jax.nn.softplus,
    "by hand softplus": lambda x: jnp.log1p(jnp.exp(x)), "gelu": jax.nn.gelu, "by hand gelu": tanh_gelu,
    "exact gelu": functools.partial(jax.nn.gelu, approximate=False), "silu": jax.nn.silu, "elu": jax.nn.elu,
    "leaky relu": jax.nn.leaky_relu, "tanh": jnp.tanh, "sharp softplus": lambda x: softplus(x, 10.0),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_elementwise_function_between_two_products_is_one_activation(name: str) -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 24, 24)).astype(np.float32)

    def fn(image: jax.Array) -> jax.Array:
        return (ACTIVATIONS[name](image.reshape(-1) @ first + 0.5) @ second)[0]

    program = join_layers(trace(fn, IMAGE))
    assert [step.name for step in program.steps if step.name in ("layer", "activation")] == [
        "layer", "activation", "layer"
    ]  # fmt: skip
    assert all(step.name in ("layer", "activation", "reshape", "squeeze", "slice", "copy") for step in program.steps)
    np.testing.assert_allclose(program.run({program.input: IMAGE})[program.output], fn(IMAGE), rtol=1e-5)


class Equinox(equinox.Module):
    layers: list

    def __init__(self) -> None:
        keys = jax.random.split(jax.random.key(0), 3)
        self.layers = [
            equinox.nn.Conv2d(2, 4, 3, padding=1, key=keys[0]),
            jax.nn.softplus,
            equinox.nn.Conv2d(4, 5, 3, padding=1, key=keys[1]),
            jax.nn.relu,
            equinox.nn.AvgPool2d((3, 4)),
            jnp.ravel,
            equinox.nn.Linear(5, 3, key=keys[2]),
        ]

    def __call__(self, image: jax.Array) -> jax.Array:
        x = jnp.transpose(image, (2, 0, 1))
        for layer in self.layers:
            x = layer(x)
        return x


class Normalised(nn.Module):
    """Convolution, batch norm, activation, remat and a dense head: what a Flax network is made of."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(4, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
        y = nn.remat(nn.Conv)(5, (3, 3), use_bias=False)(x)
        x = nn.gelu(nn.BatchNorm(use_running_average=True)(y) + nn.Dense(5)(x))
        return nn.Dense(3)(nn.max_pool(x, (3, 4)).reshape(1, -1))


def flax_network() -> Callable[[jax.Array], jax.Array]:
    variables = oracles.random_variables(jax.eval_shape(Normalised().init, jax.random.key(0), IMAGE[None]))
    return lambda image: Normalised().apply(variables, image[None])[0]


def jsep_network() -> Callable[[jax.Array], jax.Array]:
    model = models.ConvNet(num_classes=3, widths=(3, 4), mean=(0.1, 0.2), std=(0.5, 0.4))
    variables = oracles.random_variables(jax.eval_shape(lambda: models.init(jax.random.key(0), model, SHAPE)))
    return models.logits_fn(model, variables)


NETWORKS = {
    "by hand": oracles.conv_net,
    "transformer": oracles.transformer,
    "equinox": Equinox,
    "flax": flax_network,
    "convnet": jsep_network,
    "jit inside": lambda: jax.jit(oracles.conv_net()),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_program_computes_the_function_and_its_transposes_the_gradient(name: str) -> None:
    logits_fn = NETWORKS[name]()

    def fn(image: jax.Array) -> jax.Array:
        return score(logits_fn, image, 1)

    for make in (lambda p: p, join_layers):

        @jax.jit
        def through_program(image: jax.Array, make=make) -> tuple[jax.Array, jax.Array]:
            program = make(trace(fn, image))
            values = program.run({program.input: image})
            return values[program.output], backpropagate(program, values, jnp.ones(()), vjp_rule)

        value, gradient = through_program(IMAGE)
        expected, expected_gradient = jax.jit(jax.value_and_grad(fn))(IMAGE)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-6)


def test_batch_norm_and_bias_join_the_convolution_before_them() -> None:
    program = join_layers(trace(flax_network(), IMAGE))
    layers = [step for step in program.steps if isinstance(step, Layer)]
    assert [layer.product.name for layer in layers] == [
        "conv_general_dilated", "conv_general_dilated", "dot_general", "dot_general"
    ]  # fmt: skip
    assert [step.name for step in layers[0].tail] == ["add", "sub", "mul", "add"]


@pytest.mark.parametrize("sign", [1, -1])
def test_parts_of_a_folded_layer_are_those_of_the_folded_weights(sign: int) -> None:
    rng = np.random.default_rng(0)
    weights, shift, scale, bias = (rng.normal(size=s).astype(np.float32) for s in ((6, 5), (5,), (5,), (5,)))

    def fn(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.tanh(((x.reshape(4, 6) @ weights).reshape(2, 2, 5) - shift) * scale + bias))

    (layer,) = [step for step in join_layers(trace(fn, IMAGE)).steps if isinstance(step, Layer)]
    x = rng.normal(size=(4, 6)).astype(np.float32)
    folded, offset = weights * scale, bias - shift * scale
    part = (lambda v: np.maximum(v, 0)) if sign > 0 else (lambda v: np.minimum(v, 0))
    actual = layer.apply(jnp.asarray(x), sign=sign)
    np.testing.assert_allclose(actual, (x @ part(folded) + part(offset)).reshape(2, 2, 5), rtol=1e-5, atol=1e-6)
    without = layer.apply(jnp.asarray(x), sign=sign, bias=False)
    np.testing.assert_allclose(without, (x @ part(folded)).reshape(2, 2, 5), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        layer.apply(jnp.asarray(x)), (x @ folded + offset).reshape(2, 2, 5), rtol=1e-5, atol=1e-6
    )


def test_function_that_ignores_the_image_is_an_input_error() -> None:
    with pytest.raises(InputError, match="the logits do not depend on the image"):
        trace(lambda image: jnp.ones(3), IMAGE)
