"""Convolutions of any model, computed by those of the package: values, derivatives, layouts, calls, what is left."""

import functools
from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jsep import models
from jsep.models.conv_replacement import with_own_convolutions
from jsep.models.cpu import use_lax_conv
from jsep.types import Array

SIZES = {"N": 2, "C": 4, "H": 7, "W": 6}


def library(images: Array, kernel: Array, **settings: Any) -> Array:
    defaults: dict[str, Any] = {"window_strides": (1, 1), "padding": "SAME"}
    return jax.lax.conv_general_dilated(images, kernel, **{**defaults, **settings})


def names(function: Callable[..., Any], *args: Any) -> str:
    return str(jax.make_jaxpr(function)(*args))


def inputs(
    numbers: tuple[str, str, str] = ("NHWC", "HWIO", "NHWC"), *, features: int = 8, groups: int = 1, side: int = 3
) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    sizes = {"O": features, "I": SIZES["C"] // groups, "H": side, "W": 2 if side > 1 else 1}
    images = rng.normal(size=[SIZES[axis] for axis in numbers[0]])
    kernel = rng.normal(size=[sizes[axis] for axis in numbers[1]])
    return jnp.asarray(images, jnp.float32), jnp.asarray(kernel, jnp.float32)


orders = st.tuples(*(st.permutations(axes).map("".join) for axes in ("NHWC", "HWIO", "NHWC")))
pads = st.one_of(st.sampled_from(["SAME", "VALID"]), st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2))


@hypothesis.settings(max_examples=8, deadline=None)
@hypothesis.given(orders, pads, st.sampled_from([1, 2, 3]), st.sampled_from([1, 2]), st.booleans())
def test_values_and_derivatives_are_those_of_the_library(
    numbers: tuple[str, str, str], padding: Any, strides: int, dilation: int, is_depthwise: bool
) -> None:
    groups = SIZES["C"] if is_depthwise else 1
    images, kernel = inputs(numbers, groups=groups, features=groups if is_depthwise else 5)
    conv = functools.partial(
        library, window_strides=(strides, strides), padding=padding, rhs_dilation=(dilation, 1),
        dimension_numbers=numbers, feature_group_count=groups,
    )  # fmt: skip
    assert "jsep_" in names(functools.partial(with_own_convolutions, conv), images, kernel)

    def results(function: Callable[..., Array]) -> list[Array]:
        gradient = jax.grad(lambda x, w: jnp.sum(jnp.sin(function(x, w))), argnums=(0, 1))
        second = jax.grad(lambda x, w: sum(jnp.sum(jnp.sin(g)) for g in gradient(x, w)), argnums=(0, 1))
        return [function(images, kernel), *gradient(images, kernel), *second(images, kernel)]

    expected, found = (
        jax.jit(results, static_argnums=0)(conv),
        jax.jit(results, static_argnums=0)(functools.partial(with_own_convolutions, conv)),
    )
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(a).max()))


@pytest.mark.parametrize(
    "settings",
    [
        {"feature_group_count": 2}, {"window_strides": (1, 2)}, {"lhs_dilation": (2, 2), "padding": ((1, 1), (1, 1))},
        {"rhs_dilation": (4, 4)},
        {"precision": "highest"}, {"preferred_element_type": jnp.float32},
    ],
    ids=lambda settings: next(iter(settings)),
)  # fmt: skip
def test_other_convolutions_stay(settings: dict[str, Any]) -> None:
    numbers = ("NHWC", "HWIO", "NHWC")
    images, kernel = inputs(numbers, groups=settings.get("feature_group_count", 1))
    if "preferred_element_type" in settings:
        images, kernel = images.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    conv = functools.partial(library, dimension_numbers=numbers, **settings)
    own = functools.partial(with_own_convolutions, conv)
    assert names(own, images, kernel) == names(conv, images, kernel)
    np.testing.assert_array_equal(jax.jit(own)(images, kernel), jax.jit(conv)(images, kernel))


def test_negative_padding_crops() -> None:
    numbers = ("NHWC", "HWIO", "NHWC")
    images, kernel = inputs(numbers)
    own = functools.partial(
        with_own_convolutions,
        functools.partial(library, dimension_numbers=numbers, padding=((-1, 1), (2, -2))),
    )
    expected = library(images[:, 1:, :-2], kernel, dimension_numbers=numbers, padding=((0, 1), (2, 0)))
    np.testing.assert_allclose(jax.jit(own)(images, kernel), expected, rtol=1e-5, atol=1e-5)


def test_one_dimensional_convolutions_stay() -> None:
    images, kernel = jnp.ones((2, 5, 3)), jnp.ones((3, 3, 4))
    conv = functools.partial(
        jax.lax.conv_general_dilated, window_strides=(1,), padding="SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    own = functools.partial(with_own_convolutions, conv)
    np.testing.assert_array_equal(jax.jit(own)(images, kernel), conv(images, kernel))


@jax.custom_jvp
def _with_own_derivative(images: Array, kernel: Array) -> Array:
    return library(images, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"))


_with_own_derivative.defjvp(lambda primals, tangents: (_with_own_derivative(*primals), 7 * tangents[0] @ jnp.eye(4)))


def in_calls(call: str, images: Array, kernel: Array) -> Array:
    """A convolution in a call of each kind."""
    conv = functools.partial(library, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    if call == "jit":
        return jax.jit(jax.jit(conv))(images, kernel)
    if call == "checkpoint":
        return jax.checkpoint(lambda x: jnp.sin(conv(x, kernel)))(images)
    if call == "scan":
        return jax.lax.scan(lambda x, w: (jnp.sin(conv(x, w)), None), images, jnp.stack([kernel, 2 * kernel]))[0]
    if call == "while":
        return jax.lax.fori_loop(0, jnp.asarray(2), lambda _, x: jnp.sin(conv(x, kernel)), images)
    return jax.lax.cond(images[0, 0, 0, 0] > 0, lambda x: conv(x, kernel), jnp.cos, images)


@pytest.mark.parametrize("call", ["jit", "checkpoint", "scan", "while", "cond"])
def test_convolutions_inside_calls(call: str) -> None:
    images, kernel = inputs(features=SIZES["C"])
    plain = functools.partial(in_calls, call)
    own = functools.partial(with_own_convolutions, plain)
    assert "conv_general_dilated" not in names(own, images, kernel)
    np.testing.assert_allclose(jax.jit(own)(images, kernel), plain(images, kernel), rtol=1e-5, atol=1e-5)
    if call != "while":  # no gradient
        gradients = [jax.jit(jax.grad(lambda x, f=f: jnp.sum(f(x, kernel) ** 2)))(images) for f in (plain, own)]
        np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-5 * float(jnp.abs(gradients[0]).max()))


def test_a_derivative_of_its_own_is_kept() -> None:
    images, kernel = inputs(features=SIZES["C"])
    own = functools.partial(with_own_convolutions, _with_own_derivative)
    tangent = jax.jvp(lambda x: own(x, kernel), (images,), (jnp.ones_like(images),))[1]
    np.testing.assert_array_equal(tangent, 7 * jnp.ones_like(images))


def test_outputs_keep_their_structure_and_plain_calls_are_left_alone() -> None:
    images, kernel = inputs()

    def model(x: Array, w: Array) -> dict[str, Any]:
        return {"logits": library(x, w, dimension_numbers=("NHWC", "HWIO", "NHWC")), "given": (x, None)}

    own = functools.partial(with_own_convolutions, model)
    traced = jax.jit(own)(images, kernel)
    assert jax.tree.structure(traced) == jax.tree.structure(model(images, kernel))
    np.testing.assert_array_equal(own(images, kernel)["logits"], model(images, kernel)["logits"])


def test_operations_are_counted_by_the_definition() -> None:
    images, kernel = inputs()
    conv = functools.partial(library, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    own = functools.partial(with_own_convolutions, conv)
    with use_lax_conv():
        counted, expected = (jax.jit(lambda x, w, f=f: f(x, w)).lower(images, kernel) for f in (own, conv))
        assert counted.cost_analysis()["flops"] == expected.cost_analysis()["flops"]


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x: Array) -> Array:
        x = linen.softplus(linen.Conv(4, (3, 3), strides=2)(x))
        return linen.Dense(3)(x.reshape(len(x), -1))


def test_wrapped_models_and_networks_to_train_use_them() -> None:
    network = Linen()
    variables = network.init(jax.random.key(0), jnp.zeros((1, 6, 6, 2)))
    image = jnp.asarray(np.random.default_rng(0).uniform(size=(6, 6, 2)), jnp.float32)
    logits_fn = models.wrap(network, variables, input_shape=(6, 6, 2))
    assert "conv_general_dilated" not in names(logits_fn, image)
    np.testing.assert_allclose(jax.jit(logits_fn)(image), network.apply(variables, image[None])[0], rtol=1e-5)

    conv = nnx.Conv(2, 3, (3, 3), rngs=nnx.Rngs(0))

    class Pooled(nnx.Module):
        def __init__(self) -> None:
            self.conv = conv

        def __call__(self, x: Array) -> Array:
            return self.conv(x).mean((1, 2))

    functional = models.from_module(Pooled())
    own = functional.variables(jax.random.key(0), (6, 6, 2))
    for train in (False, True):
        outputs = functools.partial(functional.outputs, train=train)
        assert "conv_general_dilated" not in names(outputs, own, image[None])
        np.testing.assert_allclose(jax.jit(outputs)(own, image[None])[0], conv(image[None]).mean((1, 2)), rtol=1e-5)
