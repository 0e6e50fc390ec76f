"""conv2d against lax.conv_general_dilated: values and derivatives up to the third, under every transformation."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import devices
from jsep.checks import InputError
from jsep.models.convolution import conv2d
from jsep.models.cpu import lax_conv, patches, strided
from jsep.types import Array

CASES = [
    (size, strides, shape, channels)
    for size in (1, 3)
    for strides in (1, 2)
    for shape in [(5, 4), (4, 6)]
    for channels in ((5,) if size == 1 else (2, 5))
]


paddings = st.tuples(st.integers(0, 3), st.integers(0, 3))


def library(images: Array, kernel: Array, *, strides: int, padding: int) -> Array:
    pads = [(padding, padding)] * 2
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(images, kernel, (strides, strides), pads, dimension_numbers=numbers)


def inputs(
    size: int, shape: tuple[int, int], batch: int = 2, channels: int = 5, features: int = 3, dtype: Any = np.float64
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, *shape, channels)).astype(dtype)
    return images, rng.normal(size=(size, size, channels, features)).astype(dtype)


def scalar(conv: Callable[..., Array], strides: int, padding: int) -> Callable[[Array, Array], Array]:
    """A scalar with all derivatives non-zero."""
    return lambda x, w: jnp.sum(jnp.sin(conv(x, w, strides=strides, padding=padding)))


def derivatives(conv: Callable[..., Array], strides: int, padding: int) -> Callable[..., list[Array]]:
    """Orders 1 to 3 in images, kernel and both: reverse over reverse, forward over reverse, reverse over forward."""
    f = scalar(conv, strides, padding)

    def directional(x: Array, w: Array, dx: Array, dw: Array) -> Array:
        return jax.jvp(f, (x, w), (dx, dw))[1]

    def along(x: Array, w: Array, dx: Array, dw: Array) -> Array:
        gx, gw = jax.grad(f, (0, 1))(x, w)
        return jnp.vdot(gx, dx) + jnp.vdot(gw, dw)

    def everything(x: Array, w: Array, dx: Array, dw: Array) -> list[Array]:
        first = jax.grad(f, (0, 1))
        forward_over_reverse = jax.jvp(first, (x, w), (dx, dw))[1]
        reverse_over_reverse = jax.grad(along, (0, 1))(x, w, dx, dw)
        reverse_over_forward = jax.grad(directional, (0, 1))(x, w, dx, dw)
        third = jax.jvp(lambda x, w: jax.grad(along, (0, 1))(x, w, dx, dw), (x, w), (dx, dw))[1]
        return jax.tree.leaves(
            [f(x, w), first(x, w), forward_over_reverse, reverse_over_reverse, reverse_over_forward, third]
        )

    return jax.jit(everything)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("size", "strides", "shape", "channels"), CASES)
def test_value_and_derivatives_to_the_third_equal_the_library_in_float64(
    size: int, strides: int, shape: tuple[int, int], channels: int
) -> None:
    x, w = inputs(size, shape, channels=channels)
    arguments = (x, w, 1 + x, 1 + w)
    mine = derivatives(conv2d, strides, size // 2)(*arguments)
    theirs = derivatives(library, strides, size // 2)(*arguments)
    assert len(mine) == 11
    for actual, expected in zip(mine, theirs, strict=True):
        assert np.abs(expected).max() > 1e-3, "a derivative that vanishes proves nothing"
        assert oracles.relative_error(actual, expected) < 1e-9
    # The three ways to the second derivative are one derivative.
    for reverse, forward in [(3, 5), (3, 7), (4, 6), (4, 8)]:
        assert oracles.relative_error(mine[reverse], mine[forward]) < 1e-9


@pytest.fixture
def by_phases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No patches are small: gradients of a strided convolution go by phases, as those of many images do."""
    monkeypatch.setattr(strided, "_SMALL_PATCHES", 0)
    jax.clear_caches()  # what was traced before knows the other form
    yield
    jax.clear_caches()


@pytest.mark.usefixtures("float64", "by_phases")
@pytest.mark.parametrize(("size", "strides", "shape"), [(3, 2, (5, 4)), (3, 2, (4, 6)), (5, 3, (7, 5)), (2, 3, (6, 7))])
def test_gradients_by_phases_and_their_derivatives_equal_the_library(
    size: int, strides: int, shape: tuple[int, int]
) -> None:
    x, w = inputs(size, shape)
    arguments = (x, w, 1 + x, 1 + w)
    mine = derivatives(conv2d, strides, size // 2)(*arguments)
    theirs = derivatives(library, strides, size // 2)(*arguments)
    for actual, expected in zip(mine, theirs, strict=True):
        assert np.abs(expected).max() > 1e-3, "a derivative that vanishes proves nothing"
        assert oracles.relative_error(actual, expected) < 1e-9


@pytest.mark.parametrize(
    ("count", "order", "form"),
    [(64, 1, "phases"), (32, 1, "patches"), (32, 2, "patches added by phase"), (64, 2, "patches added by phase")],
)
def test_form_of_the_gradient_in_the_images_goes_by_their_number_after_vmap(count: int, order: int, form: str) -> None:
    x, w = inputs(3, (8, 8), count, 5, 3, np.float32)
    f = scalar(conv2d, 2, 1)
    gradient = jax.grad(f) if order == 1 else jax.grad(lambda x, w: jnp.sum(jax.grad(f)(x, w) ** 2))
    lowered = jax.jit(jax.vmap(lambda x: gradient(x[None], w)[0])).lower(x).as_text()
    marks = {
        "phases": f"{count}x5x2x5x2x5xf32",  # 10 rows and columns, two phases of each
        "patches": f"-> tensor<{count}x4x4x9x5xf32>",
        "patches added by phase": f"{count}x4x4x3x3x5xf32",
    }
    found = {name for name, mark in marks.items() if mark in lowered}
    assert form in found
    # What the outer derivative makes of the inner one is not differentiated again.
    assert order == 2 or found == {form}


@pytest.mark.parametrize("channels", [2, 5])
@pytest.mark.parametrize(("size", "strides"), [(3, 1), (3, 2)])
def test_value_and_derivatives_equal_the_library_in_float32(size: int, strides: int, channels: int) -> None:
    arguments = (*inputs(size, (5, 4), channels=channels, dtype=np.float32),) * 2
    mine = derivatives(conv2d, strides, size // 2)(*arguments)
    theirs = derivatives(library, strides, size // 2)(*arguments)
    for actual, expected in zip(mine, theirs, strict=True):
        assert actual.dtype == jnp.float32
        # The third derivative sums hundreds of terms of both signs.
        assert oracles.relative_error(actual, expected) < 1e-5


shapes = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 4), *(st.integers(1, 7) for _ in range(2)))


@hypothesis.settings(max_examples=10)
@hypothesis.given(shapes, st.sampled_from([1, 3, 5]), st.sampled_from([1, 2, 3]))
def test_value_and_gradients_equal_the_library_for_any_shape(shape: tuple[int, ...], size: int, strides: int) -> None:
    batch, channels, features, height, width = shape
    x, w = inputs(size, (height, width), batch, channels, features, np.float32)
    mine, theirs = (
        jax.jit(
            lambda x, w, f=f: (
                f(x, w, strides=strides, padding=size // 2),
                jax.grad(scalar(f, strides, size // 2), (0, 1))(x, w),
            )
        )(x, w)
        for f in (conv2d, library)
    )
    for actual, expected in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        assert oracles.relative_error(actual, expected) < 1e-4


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("in_axes", [(0, None), (None, 0), (0, 0), (1, 3)])
def test_gradients_under_vmap_equal_a_python_loop(in_axes: tuple[Any, Any], strides: int) -> None:
    rng = np.random.default_rng(1)
    x, w = inputs(3, (5, 4))
    stacked = [
        z if axis is None else np.stack([z, rng.normal(size=z.shape), 2 * z], axis)
        for z, axis in zip((x, w), in_axes, strict=True)
    ]
    gradient = jax.jit(jax.grad(scalar(conv2d, strides, 1), (0, 1)))
    expected_gradient = jax.jit(jax.grad(scalar(library, strides, 1), (0, 1)))
    batched = jax.jit(jax.vmap(gradient, in_axes=in_axes))(*stacked)
    for index in range(3):
        row = [z if axis is None else np.take(z, index, axis) for z, axis in zip(stacked, in_axes, strict=True)]
        for actual, expected in zip(batched, expected_gradient(*row), strict=True):
            assert oracles.relative_error(actual[index], expected) < 1e-9


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("strides", [1, 2])
def test_gradient_inside_fori_loop_equals_the_library(strides: int) -> None:
    x, w = inputs(3, (5, 4))

    def descend(conv: Callable[..., Array]) -> Array:
        gradient = jax.grad(scalar(conv, strides, 1), 1)
        return jax.jit(lambda w: jax.lax.fori_loop(0, 4, lambda _, w: w - 0.01 * gradient(x, w), w))(w)

    mine, theirs = descend(conv2d), descend(library)
    assert oracles.relative_error(mine, theirs) < 1e-9
    assert np.abs(mine - w).max() > 1e-3


def test_eager_equals_jit() -> None:
    x, w = inputs(3, (5, 4), dtype=np.float32)
    for strides in (1, 2):
        eager = conv2d(x, w, strides=strides, padding=1)
        compiled = jax.jit(lambda x, w, s=strides: conv2d(x, w, strides=s, padding=1))(x, w)
        np.testing.assert_allclose(eager, compiled, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("batch", "shape", "strides"),
    [(70, (6, 5), 1), (72, (6, 5), 1), (64, (4, 4), 1), (33, (6, 5), 2), (72, (6, 5), 2)],
)
def test_gradients_of_many_images_are_those_of_the_library(batch: int, shape: tuple[int, int], strides: int) -> None:
    x, w = inputs(3, shape, batch)
    for order in (1, 2):
        mine, theirs = (nested(scalar(conv, strides, 1), order)(x, w) for conv in (conv2d, library))
        for actual, expected in zip(mine, theirs, strict=True):
            assert oracles.relative_error(actual, expected) < 1e-9


@hypothesis.settings(max_examples=15)
@hypothesis.given(st.integers(1, 3), st.integers(3, 9), st.integers(3, 9), st.integers(1, 4), paddings, paddings)
def test_two_columns_at_once_equal_the_library_for_any_shape_and_padding(
    size: int, rows: int, columns: int, channels: int, above: tuple[int, int], beside: tuple[int, int]
) -> None:
    columns += (columns + sum(beside) - size + 1) % 2  # an even number of them leaves
    x, w = inputs(size, (rows, columns), 2, channels, 3, np.float32)
    actual = patches.im2col_conv_by_two_columns(jnp.asarray(x), jnp.asarray(w), padding=(above, beside))
    expected = jax.lax.conv_general_dilated(x, w, (1, 1), (above, beside), dimension_numbers=lax_conv.NHWC)
    assert actual.shape == expected.shape
    assert oracles.relative_error(actual, expected) < 1e-5


def nested(f: Callable[[Array, Array], Array], order: int) -> Callable[..., Any]:
    """The gradient, or that of the sum of the squares of the gradient."""
    gradient = jax.grad(f, (0, 1))
    if order == 1:
        return jax.jit(gradient)
    return jax.jit(jax.grad(lambda x, w: sum(jnp.sum(g**2) for g in gradient(x, w)), (0, 1)))


def depthwise(images: Array, kernel: Array, *, strides: int, padding: int) -> Array:
    return conv2d(images, kernel, strides=strides, padding=padding, groups=images.shape[-1])


def grouped(images: Array, kernel: Array, *, strides: int, padding: int) -> Array:
    return jax.lax.conv_general_dilated(
        images, kernel, (strides, strides), [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=images.shape[-1],
    )  # fmt: skip


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("strides", [1, 2])
def test_depthwise_convolution_and_derivatives_to_the_third_equal_the_library(strides: int) -> None:
    rng = np.random.default_rng(0)
    arguments = [rng.normal(size=shape) for shape in ((2, 5, 4, 3), (3, 3, 1, 3)) * 2]
    mine, theirs = (derivatives(conv, strides, 1)(*arguments) for conv in (depthwise, grouped))
    for actual, expected in zip(mine, theirs, strict=True):
        assert np.abs(expected).max() > 1e-3
        assert oracles.relative_error(actual, expected) < 1e-9


def test_other_groups_than_one_or_the_channels_are_an_input_error() -> None:
    with pytest.raises(InputError, match="groups must be 1 or the 4 channels of the images, got 2"):
        conv2d(jnp.zeros((1, 3, 3, 4)), jnp.zeros((3, 3, 2, 4)), strides=1, padding=1, groups=2)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("in_axes", "strides"), [((0, None), 1), ((None, 2), 2), ((1, 3), 1)])
def test_derivatives_of_the_depthwise_convolution_under_vmap_equal_a_loop(
    in_axes: tuple[Any, Any], strides: int
) -> None:
    rng = np.random.default_rng(1)
    images, kernel = rng.normal(size=(2, 5, 4, 3)), rng.normal(size=(3, 3, 1, 3))
    stacked = [
        z if axis is None else np.stack([z, rng.normal(size=z.shape), 2 * z], axis)
        for z, axis in zip((images, kernel), in_axes, strict=True)
    ]

    mine, theirs = (nested(scalar(conv, strides, 1), 2) for conv in (depthwise, grouped))
    batched = jax.jit(jax.vmap(mine, in_axes=in_axes))(*stacked)
    for index in range(3):
        row = [z if axis is None else np.take(z, index, axis) for z, axis in zip(stacked, in_axes, strict=True)]
        for actual, expected in zip(batched, theirs(*row), strict=True):
            assert oracles.relative_error(actual[index], expected) < 1e-9


@pytest.mark.parametrize(
    ("batch", "rows", "channels", "strides", "size"),
    [
        pytest.param(32, 8, 1, 1, 3, id="few channels"),
        pytest.param(32, 4, 8, 1, 3, id="few pixels"),
        pytest.param(72, 8, 8, 1, 3, id="blocks of images"),
        pytest.param(32, 8, 8, 2, 3, id="patches"),
        pytest.param(72, 8, 8, 2, 3, id="phases, blocks"),
        pytest.param(32, 8, 8, 2, 1, id="1x1"),
    ],
)
def test_gradients_of_a_batch_on_eight_devices_only_add_up(
    batch: int, rows: int, channels: int, strides: int, size: int
) -> None:
    mesh = devices.make_mesh(8)
    assert mesh is not None
    along, whole = devices.along_batch(mesh), devices.on_all(mesh)
    x, w = inputs(size, (rows, rows), batch, channels, 3, dtype=np.float32)
    arguments = jax.device_put(x, along), jax.device_put(w, whole)
    f = scalar(conv2d, strides, size // 2)
    for gradient in (jax.grad(f, 1), jax.grad(lambda x, w: jnp.sum(jax.grad(f)(x, w) ** 2), 1)):
        compiled = jax.jit(gradient, out_shardings=whole).lower(*arguments).compile()
        crossing = set(re.findall(r"= \S+ (all-[a-z-]+|collective-permute|reduce-scatter)\(", compiled.as_text()))
        assert crossing <= {"all-reduce"}
        assert oracles.relative_error(compiled(*arguments), jax.jit(gradient)(x, w)) < 1e-5
    # The first order needs the sum over devices.
    assert "all-reduce" in jax.jit(jax.grad(f, 1), out_shardings=whole).lower(*arguments).compile().as_text()
