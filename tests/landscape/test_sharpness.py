"""Sharpness and Lipschitz estimates of functions whose worst cases are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import landscape
from jsep.checks import InputError

SHAPE = (3, 4, 2)
KEY = jax.random.key(0)
POINT = jnp.asarray(np.random.default_rng(0).uniform(0.3, 0.7, SHAPE), jnp.float32)
BALL = {"epsilon": 0.1, "alpha": 0.03}


@functools.partial(jax.jit, static_argnames=("norm", "num_samples", "chunk_size"))
def linear_sharpness(weights, norm="linf", num_samples=400, chunk_size=None):
    return landscape.sharpness(
        KEY, lambda z: jnp.sum(weights * z), POINT, norm=norm, num_steps=20, num_samples=num_samples,
        chunk_size=chunk_size, **BALL,
    )  # fmt: skip


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_worst_sharpness_of_a_linear_function_is_the_dual_norm_and_the_average_zero(norm):
    weights = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    found = linear_sharpness(weights, norm=norm)
    worst = oracles.worst_linear(weights, np.asarray(POINT), 0.1, norm)
    assert float(found.worst) == pytest.approx(float((weights * (worst - POINT)).sum()), rel=1e-3)
    assert abs(float(found.average)) < 3 * float(found.standard_error)


def test_average_sharpness_of_a_square_is_the_variance_of_the_uniform_ball():
    found = jax.jit(
        lambda: landscape.sharpness(
            KEY, lambda z: jnp.sum((z - POINT) ** 2), POINT, num_steps=10, num_samples=1000, **BALL
        )
    )()
    assert abs(float(found.average) - 24 * 0.1**2 / 3) < 3 * float(found.standard_error)
    assert float(found.worst) == pytest.approx(24 * 0.1**2, rel=1e-5)


def test_worst_sharpness_is_never_below_zero():
    found = jax.jit(
        lambda: landscape.sharpness(
            KEY, lambda z: -jnp.sum((z - POINT) ** 2), POINT, num_steps=0, num_samples=4, **BALL
        )
    )()
    assert float(found.worst) == 0
    assert float(found.average) < 0


def test_numbers_do_not_depend_on_the_chunk_size():
    weights = jnp.ones(SHAPE)
    whole, chunked = (linear_sharpness(weights, num_samples=10, chunk_size=size) for size in (None, 3))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), chunked, whole)


def test_lipschitz_estimate_of_a_linear_map_is_its_largest_singular_value():
    """The ratio of a linear map is the same along a line, so that the ball does not matter."""
    rng = np.random.default_rng(2)
    left, right = np.linalg.qr(rng.normal(size=(12, 12)))[0], np.linalg.qr(rng.normal(size=(24, 24)))[0][:12]
    singular = np.array([3.0, 1.0, *np.full(10, 0.5)])
    matrix = jnp.asarray((left * singular) @ right, jnp.float32)
    find = jax.jit(
        lambda key, steps: landscape.local_lipschitz(
            key, lambda z: (matrix @ z.ravel()).reshape(3, 4), POINT, norm="l2", epsilon=0.2, alpha=0.05, num_steps=60,
            num_starts=2, chunk_size=1,
        ),
        static_argnums=1,
    )  # fmt: skip
    found = float(find(KEY, 60))
    assert found == pytest.approx(3.0, rel=0.02)
    assert found <= 3.0 * (1 + 1e-4)


def test_lipschitz_estimate_of_a_constant_map_is_zero():
    assert float(jax.jit(
        lambda: landscape.local_lipschitz(KEY, lambda z: 0 * z[..., 0], POINT, num_steps=3, **BALL)
    )()) == 0  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_samples": 1}, "num_samples must be an integer >= 2"),
        ({"num_starts": 0}, "num_starts must be an integer >= 1"),
        ({"epsilon": 8}, "did you mean 8/255"),
        ({"norm": "l1"}, "unknown norm 'l1'"),
        ({"scalar_fn": lambda z: z}, "must return one real number"),
    ],
)
def test_bad_input_is_an_input_error(change, message):
    settings = {"scalar_fn": jnp.sum, "point": POINT, "num_steps": 1, "num_samples": 2, **BALL}
    with pytest.raises(InputError, match=message):
        landscape.sharpness(KEY, **{**settings, **change})
