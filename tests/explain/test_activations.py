"""Activations are recognised by what they do, however they are written, and what has no rule is said."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import explain
from jsep.explain.activations import find_activations
from jsep.explain.program import trace

SHAPE = (3, 4, 2)
IMAGE = jnp.asarray(np.random.default_rng(0).uniform(0.1, 0.9, SHAPE), jnp.float32)
RNG = np.random.default_rng(1)
FIRST, SECOND, LAST = (jnp.asarray(RNG.normal(size=s), jnp.float32) for s in ((24, 7), (7, 6), (6, 3)))

RECTIFIERS: dict[str, tuple[Callable, Callable]] = {
    "relu": (jax.nn.relu, jax.nn.relu),
    "maximum": (lambda x: jnp.maximum(x, 0), jax.nn.relu),
    "half the sum with |x|": (lambda x: (x + jnp.abs(x)) / 2, jax.nn.relu),
    "where": (lambda x: jnp.where(x > 0, x, 0.0), jax.nn.relu),
    "times its sign": (lambda x: x * (x > 0), jax.nn.relu),
    "clip": (lambda x: jnp.clip(x, 0, None), jax.nn.relu),
    "relu6": (lambda x: jnp.minimum(jnp.maximum(x, 0), 6), jax.nn.relu6),
    "leaky_relu": (jax.nn.leaky_relu, jax.nn.leaky_relu),
    "log(1 + exp(x))": (lambda x: jnp.log(1 + jnp.exp(x)), jax.nn.softplus),
    "logaddexp": (lambda x: jnp.logaddexp(x, 0.0), jax.nn.softplus),
    "softplus, sharp": (lambda x: jnp.log(1 + jnp.exp(5 * x)) / 5, lambda x: jax.nn.softplus(5 * x) / 5),
    "squareplus": (lambda x: (x + jnp.sqrt(x**2 + 4)) / 2, jax.nn.squareplus),
    "elu": (jax.nn.elu, jax.nn.elu),
    "elu written out": (lambda x: jnp.where(x > 0, x, jnp.exp(jnp.minimum(x, 0)) - 1), jax.nn.elu),
    "selu": (jax.nn.selu, jax.nn.selu),
    "silu": (lambda x: x / (1 + jnp.exp(-x)), jax.nn.silu),
    "gelu": (lambda x: jax.nn.gelu(x, approximate=False), lambda x: jax.nn.gelu(x, approximate=False)),
    "gelu by tanh": (jax.nn.gelu, jax.nn.gelu),
    "mish": (lambda x: x * jnp.tanh(jnp.log1p(jnp.exp(x))), jax.nn.mish),
    "hard_swish": (jax.nn.hard_swish, jax.nn.hard_swish),
    "squared relu": (lambda x: jnp.maximum(x, 0) ** 2, lambda x: jax.nn.relu(x) ** 2),
}
"""name -> (the activation as somebody wrote it, its plain function)."""


def network(act: Callable) -> Callable[[jax.Array], jax.Array]:
    return lambda image: act(act(image.reshape(-1) @ FIRST - 0.1) @ SECOND) @ LAST


def by_hand(act: Callable, rule: Callable[[Any, Any], Any], label: int) -> jax.Array:
    slope = jax.vmap(jax.grad(act))
    first = IMAGE.reshape(-1) @ FIRST - 0.1
    second = act(first) @ SECOND
    back = rule(LAST[:, label], slope(second))
    return (FIRST @ rule(SECOND @ back, slope(first))).reshape(SHAPE)


@pytest.mark.parametrize("name", RECTIFIERS)
def test_guided_backpropagation_and_deconvnet_have_their_rule_at_every_activation(name: str) -> None:
    written, plain = RECTIFIERS[name]
    logits_fn = network(written)
    guided = explain.guided_backprop(logits_fn, IMAGE, 1, variant="relu")
    expected = by_hand(plain, lambda back, slope: jnp.maximum(back, 0) * slope, 1)
    np.testing.assert_allclose(guided, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(guided - explain.gradient(logits_fn, IMAGE, 1)).max() > 1e-3
    deconvolved = explain.deconvnet(logits_fn, IMAGE, 1)
    np.testing.assert_allclose(deconvolved, by_hand(plain, lambda back, _: jnp.maximum(back, 0), 1), rtol=1e-4)


@pytest.mark.parametrize("name", ["half the sum with |x|", "where", "clip"])
def test_captum_variant_sees_a_relu_however_it_is_written(name: str) -> None:
    found = explain.guided_backprop(network(RECTIFIERS[name][0]), IMAGE, 1, variant="captum")
    np.testing.assert_allclose(
        found, explain.guided_backprop(network(jax.nn.relu), IMAGE, 1, variant="captum"), rtol=1e-5
    )


def test_activation_with_traced_parameters_is_recognised() -> None:
    def saliency(slope: jax.Array) -> jax.Array:
        act = lambda x: jnp.where(x > 0, x, slope * x)  # noqa: E731
        return explain.guided_backprop(network(act), IMAGE, 1, variant="relu")

    np.testing.assert_allclose(jax.jit(saliency)(0.2), saliency(jnp.float32(0.2)), rtol=1e-4, atol=1e-6)


def test_both_halves_of_a_concatenated_relu_are_rectifiers() -> None:
    def logits_fn(image: jax.Array) -> jax.Array:
        z = image.reshape(-1) @ FIRST
        return jnp.concatenate([jnp.maximum(z, 0), jnp.maximum(-z, 0)]) @ jnp.concatenate([LAST, LAST, LAST])[:14]

    found = find_activations(trace(lambda z: logits_fn(z)[0], IMAGE))
    assert len(found.rectifiers) == 2
    weights = np.concatenate([LAST, LAST, LAST])[:14, 1]
    z = np.asarray(IMAGE.reshape(-1) @ FIRST)
    back = np.maximum(weights, 0) * np.concatenate([z > 0, z < 0])
    expected = (np.asarray(FIRST) @ (back[:7] - back[7:])).reshape(SHAPE)
    np.testing.assert_allclose(
        explain.guided_backprop(logits_fn, IMAGE, 1, variant="relu"), expected, rtol=1e-4, atol=1e-6
    )
    signs = np.maximum(weights, 0)
    expected = (np.asarray(FIRST) @ (signs[:7] - signs[7:])).reshape(SHAPE)
    np.testing.assert_allclose(explain.deconvnet(logits_fn, IMAGE, 1), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("act", [jnp.tanh, jax.nn.sigmoid, jax.nn.soft_sign, jax.nn.hard_tanh, lambda x: x**3])
def test_functions_alike_on_both_sides_keep_their_derivative(act: Callable) -> None:
    logits_fn = network(act)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = explain.guided_backprop(logits_fn, IMAGE, 1)
    np.testing.assert_allclose(found, explain.gradient(logits_fn, IMAGE, 1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("act", "name"), [(jnp.abs, "abs"), (jnp.sin, "sin"), (jnp.square, "square")])
def test_non_linearity_without_a_rule_is_named(act: Callable, name: str) -> None:
    with pytest.warns(UserWarning, match=rf"pass no side more than the other \({name}\)"):
        explain.guided_backprop(network(act), IMAGE, 1)


def test_pooling_after_an_activation_hides_nothing_and_norms_are_no_activations() -> None:
    def logits_fn(image: jax.Array) -> jax.Array:
        z = jnp.stack([image.reshape(-1) @ FIRST, image.reshape(-1) @ FIRST[::-1]])
        z = z / jnp.sqrt(jnp.sum(z**2) + 1e-5)
        return jnp.mean(jax.nn.relu(z), axis=0)[:6] @ LAST

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        guided = explain.guided_backprop(logits_fn, IMAGE, 1)
    assert len(find_activations(trace(lambda z: logits_fn(z)[0], IMAGE)).rectifiers) == 1
    assert np.abs(guided - explain.gradient(logits_fn, IMAGE, 1)).max() > 1e-4
