"""Lines and planes through known functions, directions of the stated size, and bad input."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import landscape
from jsep.checks import InputError

SHAPE = (3, 4, 2)
KEY = jax.random.key(0)
IMAGE = jnp.asarray(np.random.default_rng(0).uniform(0.4, 0.6, SHAPE), jnp.float32)
SIZES = {"linf": lambda d: np.abs(d).max(), "l2": lambda d: np.sqrt((d.astype(np.float64) ** 2).sum())}


def lines(num=3, scale=0.05, seed=1):
    return scale * np.random.default_rng(seed).normal(size=(num, *SHAPE))


@pytest.mark.usefixtures("float64")
def test_slice_of_a_quadratic_is_the_parabola_known_by_hand():
    oracle, point, directions = oracles.quadratic(), np.asarray(IMAGE, np.float64), lines()
    found = jax.jit(lambda z: landscape.slice_1d(lambda y: oracle.logits(y)[1], z, directions, 1.5, 11))(point)
    matrix, flat = oracle.matrices[1], directions.reshape(3, -1)
    t = np.linspace(-1.5, 1.5, 11)
    x = point.ravel()
    value = x @ matrix @ x + oracle.bias[1]
    slope, bend = 2 * flat @ matrix @ x, np.einsum("di,ij,dj->d", flat, matrix, flat)
    expected = value + slope[:, None] * t + bend[:, None] * t**2
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)  # t is float32
    np.testing.assert_allclose(found.coordinates, t, rtol=1e-7)


@pytest.mark.usefixtures("float64")
def test_plane_through_a_softplus_ridge_is_the_ridge_in_numpy():
    oracle, point, directions = oracles.softplus_ridge(), np.asarray(IMAGE, np.float64), lines(2)
    found = jax.jit(lambda z: landscape.slice_2d(lambda y: oracle.logits(y)[0], z, directions, 1.0, 5))(point)
    for i, s in enumerate(found.coordinates):
        for j, t in enumerate(found.coordinates):
            z = point + float(s) * directions[0] + float(t) * directions[1]
            along = np.tensordot(oracle.directions, z, 3)
            value = oracle.amplitudes[0] @ (np.logaddexp(oracle.beta * along, 0) / oracle.beta) + oracle.bias[0]
            assert float(found.values[i, j]) == pytest.approx(value, rel=1e-9)


def test_middle_of_slice_and_surface_is_the_loss_itself():
    function = lambda z: oracles.softplus_ridge().logits(z)[2]  # noqa: E731
    own = float(jax.jit(function)(IMAGE))
    line = jax.jit(lambda z: landscape.slice_1d(function, z, lines(), 2.0, 9))(IMAGE)
    plane = jax.jit(lambda z: landscape.slice_2d(function, z, lines(2), 2.0, 9))(IMAGE)
    np.testing.assert_allclose(line.values[:, 4], own, rtol=1e-6)
    assert float(plane.values[4, 4]) == pytest.approx(own, rel=1e-6)
    assert float(line.coordinates[4]) == 0


@pytest.mark.parametrize("chunk_size", [1, 4, pytest.param(100, marks=pytest.mark.slow)])
def test_values_do_not_depend_on_the_chunk_size(chunk_size):
    function = lambda z: oracles.conv_net()(z)[0]  # noqa: E731
    whole, chunked = (
        jax.jit(lambda z: landscape.slice_1d(function, z, lines(), 1.0, 5, chunk_size=size))(IMAGE)
        for size in (None, chunk_size)
    )
    np.testing.assert_allclose(chunked.values, whole.values, rtol=1e-5)
    plane, cut = (
        jax.jit(lambda z: landscape.slice_2d(function, z, lines(2), 1.0, 3, chunk_size=size))(IMAGE)
        for size in (None, chunk_size)
    )
    np.testing.assert_allclose(cut.values, plane.values, rtol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@hypothesis.given(seed=st.integers(0, 10**6), exponent=st.floats(-12, 12), epsilon=st.floats(1e-4, 1))
def test_normalised_direction_has_exactly_the_budget(norm, seed, exponent, epsilon):
    raw = (np.random.default_rng(seed).normal(size=SHAPE) * 10.0**exponent).astype(np.float32)
    found = np.asarray(landscape.normalize(jnp.asarray(raw), epsilon=epsilon, norm=norm))
    assert SIZES[norm](found) == pytest.approx(epsilon, rel=1e-6)
    cosine = (found.astype(np.float64) * raw).sum() / np.linalg.norm(found) / np.linalg.norm(raw)
    assert cosine == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", landscape.DIRECTIONS)
def test_every_named_direction_has_the_budget_and_points_where_its_name_says(name, norm):
    oracle = oracles.quadratic(seed=3)
    context = landscape.DirectionContext(
        lambda z: oracle.logits(z)[0], IMAGE, attacked=IMAGE + 0.01, other=1 - IMAGE, num_matvecs=24
    )
    make = jax.jit(lambda key: landscape.direction(key, name, context, epsilon=8 / 255, norm=norm))
    found = np.asarray(make(KEY))
    assert SIZES[norm](found) == pytest.approx(8 / 255, rel=1e-6)
    gradient = oracle.gradient(np.asarray(IMAGE, np.float64), 0)
    values, vectors = np.linalg.eigh(oracle.hessian(gradient, 0))
    known = {
        "gradient": gradient,
        "gradient_sign": np.sign(gradient),
        "attack": np.ones(SHAPE),
        "to_image": np.asarray(1 - 2 * IMAGE),
        "eigenvector": vectors[:, np.argmax(np.abs(values))].reshape(SHAPE),
    }
    if name in known:
        cosine = (found * known[name]).sum() / np.linalg.norm(found) / np.linalg.norm(known[name])
        assert abs(cosine) == pytest.approx(1, abs=1e-4)
        assert cosine > 0 or name == "eigenvector"
    elif name == "rademacher":
        assert np.ptp(np.abs(found)) < 1e-8
    assert (not np.array_equal(found, make(jax.random.key(1)))) == (
        name in landscape.RANDOM_DIRECTIONS
    ) or name == "eigenvector"


def test_points_outside_are_clipped_or_kept_and_their_share_is_told():
    point, direction = jnp.full(SHAPE, 0.9), np.zeros((1, *SHAPE))
    direction[0, 0] = 0.1  # 8 of 24 entries move
    total = lambda z: jnp.sum(z)  # noqa: E731
    clipped = jax.jit(lambda: landscape.slice_1d(total, point, direction, 2.0, 5))()
    np.testing.assert_allclose(clipped.values[0], 24 * 0.9 + 8 * 0.1 * np.array([-2, -1, 0, 1, 1]), rtol=1e-6)
    np.testing.assert_allclose(clipped.share_outside[0], [0, 0, 0, 0, 1 / 3], atol=0.34)
    assert float(clipped.share_outside[0, -1]) == pytest.approx(1 / 3)
    with pytest.warns(UserWarning, match=r"the slice leaves \[0, 1\]: up to 33% of the entries"):
        kept = landscape.slice_1d(total, point, direction, 2.0, 5, outside="warn")
    np.testing.assert_allclose(kept.values[0], 24 * 0.9 + 8 * 0.1 * np.array([-2, -1, 0, 1, 2]), rtol=1e-6)


def test_values_that_are_not_finite_are_kept_and_counted():
    line = jax.jit(lambda: landscape.slice_1d(lambda z: jnp.log(z[0, 0, 0] - 0.4), jnp.full(SHAPE, 0.5),
                                              np.full((1, *SHAPE), 0.1), 2.0, 5))()  # fmt: skip
    assert np.isfinite(np.asarray(line.values[0])).tolist() == [False, False, True, True, True]
    assert int(line.num_non_finite) == 2


def scalar(z):
    return jnp.sum(z)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"directions": np.zeros((1, *SHAPE))}, r"directions\[0\] is zero everywhere"),
        ({"directions": np.full((1, *SHAPE), np.nan)}, r"directions\[0\] has values that are not finite"),
        ({"directions": np.ones(SHAPE)}, r"directions must be \(D, \*\(3, 4, 2\)\) with D >= 1, got shape \(3, 4, 2\)"),
        ({"directions": np.ones((0, *SHAPE))}, "with D >= 1"),
        ({"scalar_fn": lambda z: z}, r"must return one real number of shape \(\), got shape \(3, 4, 2\)"),
        ({"scalar_fn": lambda z: (jnp.sum(z), z)}, "must return one real number.*got tuple"),
        ({"extent": 0.0}, "extent must be a number > 0"),
        ({"extent": (1.0, -1.0)}, r"got \(1.0, -1.0\)"),
        ({"num_points": 1}, "num_points must be an integer >= 2"),
        ({"chunk_size": 0}, "chunk_size must be an integer >= 1"),
        ({"outside": "cut"}, "unknown outside 'cut'"),
        ({"point": np.zeros(SHAPE, np.uint8)}, "point must be floating point, got dtype uint8"),
    ],
)
def test_bad_input_is_an_input_error(change, message):
    settings = {"scalar_fn": scalar, "point": IMAGE, "directions": lines(), "extent": 1.0, "num_points": 3}
    with pytest.raises(InputError, match=message):
        landscape.slice_1d(**{**settings, **change})


def test_a_plane_wants_two_directions():
    with pytest.raises(InputError, match="a plane has 2 directions, got 3; use slice_1d for lines"):
        landscape.slice_2d(scalar, IMAGE, lines(3), 1.0, 3)


@pytest.mark.parametrize(
    ("name", "context", "message"),
    [
        ("gaussan", {}, "did you mean 'gaussian'"),
        ("attack", {}, "'attack' needs `attacked`"),
        ("to_image", {}, "'to_image' needs `other`"),
        ("gradient", {"scalar_fn": lambda z: jnp.sum((z - IMAGE) ** 2)}, "direction 'gradient' is zero everywhere"),
    ],
)
def test_bad_direction_is_an_input_error(name, context, message):
    made = landscape.DirectionContext(**{"scalar_fn": scalar, "point": IMAGE, **context})
    with pytest.raises(InputError, match=message):
        landscape.direction(KEY, name, made, epsilon=0.1)


def test_zero_direction_and_budget_of_pixel_values_are_input_errors():
    with pytest.raises(InputError, match="direction is zero everywhere"):
        landscape.normalize(jnp.zeros(SHAPE), epsilon=0.1)
    with pytest.raises(InputError, match="did you mean 8/255"):
        landscape.normalize(jnp.ones(SHAPE), epsilon=8)
