"""PGD: ball and box, closed forms, transformations, errors."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import attack
from jsep.checks import InputError
from jsep.types import Array

SHAPE = (3, 4, 2)
# A perturbed pixel is image + delta, rounded twice in float32 below 1: half an ulp (6e-8) each.
ROUNDING = 1.2e-7


@jax.jit
def objective(image: Array) -> Array:
    """Not convex, not monotone."""
    return jnp.sum(jnp.sin(7 * image) * jnp.roll(image, 1, axis=1)) + jnp.sum(image**2)


@jax.jit
def both_norms(key: Array, image: Array, epsilon: Array, alpha: Array) -> dict[str, Array]:
    """One compilation for every property: norm -> images with and without random start."""
    return {
        norm: jnp.stack(
            [
                attack.pgd(
                    key, objective, image, norm=norm, epsilon=epsilon, alpha=alpha, num_steps=steps, random_start=start
                )[0]
                for steps, start in [(0, True), (5, True), (5, False)]
            ]
        )
        for norm in attack.NORMS
    }


def image_of(seed: int, corners: bool) -> np.ndarray:
    """A random image; with `corners` half of its pixels are exactly 0 or 1."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(size=SHAPE)
    return np.where(rng.uniform(size=SHAPE) < 0.5 * corners, np.round(image), image).astype(np.float32)


@hypothesis.given(st.floats(0, 1), st.floats(0, 2), st.integers(0, 10**6), st.booleans())
def test_pgd_stays_in_ball_and_box(epsilon: float, alpha: float, seed: int, corners: bool) -> None:
    image = image_of(seed, corners)
    results = both_norms(jax.random.key(seed), image, jnp.float32(epsilon), jnp.float32(alpha))
    for norm, images in results.items():
        images = np.asarray(images, np.float64)
        assert images.min() >= 0
        assert images.max() <= 1
        delta = (images - image).reshape(3, -1)
        size = np.abs(delta).max(1) if norm == "linf" else np.sqrt((delta**2).sum(1))
        # l2 adds up the rounding of 24 pixels.
        slack = ROUNDING if norm == "linf" else ROUNDING * 24**0.5 + 3e-7 * epsilon
        assert np.all(size <= np.float32(epsilon) + slack), (norm, size)


@hypothesis.given(st.floats(0, 1), st.floats(0, 2), st.integers(0, 10**6))
def test_zero_epsilon_returns_the_image(unused: float, alpha: float, seed: int) -> None:
    image = image_of(seed, True)
    for images in both_norms(jax.random.key(seed), image, jnp.float32(0), jnp.float32(alpha)).values():
        np.testing.assert_array_equal(images, np.stack([image] * 3))


@pytest.mark.parametrize("norm", attack.NORMS)
def test_zero_steps_without_random_start_return_the_image(norm: str) -> None:
    image = image_of(0, True)
    adversarial, info = attack.pgd(
        jax.random.key(0), objective, image, norm=norm, epsilon=0.5, alpha=0.1, num_steps=0, random_start=False
    )
    np.testing.assert_array_equal(adversarial, image)
    assert info.objectives.shape == (0,)
    assert float(info.distance) == 0


def test_random_starts_differ_by_key_and_are_not_the_image() -> None:
    image = image_of(0, False)
    first, second = (both_norms(jax.random.key(k), image, jnp.float32(0.1), jnp.float32(0.1)) for k in (0, 1))
    for norm in attack.NORMS:
        assert not np.array_equal(first[norm][0], second[norm][0])
        assert not np.array_equal(first[norm][0], image)
        np.testing.assert_array_equal(first[norm][2], second[norm][2])


@pytest.mark.parametrize("epsilon", [0.05, 0.4])
@pytest.mark.parametrize("random_start", [True, False])
def test_pgd_linf_on_a_linear_objective_is_clip_of_x_plus_epsilon_sign_w(epsilon: float, random_start: bool) -> None:
    oracle, image = oracles.linear(), image_of(1, True)
    weights = oracle.weights[1]
    adversarial, info = attack.pgd(
        jax.random.key(0), lambda z: oracle.logits(z)[1], image,
        norm="linf", epsilon=epsilon, alpha=epsilon / 4, num_steps=8, random_start=random_start,
    )  # fmt: skip
    expected = oracles.worst_linear(weights, image, epsilon, "linf")
    np.testing.assert_allclose(adversarial, expected, rtol=0, atol=2 * ROUNDING)
    assert float(info.distance) == pytest.approx(np.abs(expected - image).max(), abs=2 * ROUNDING)


def test_pgd_linf_on_cross_entropy_of_a_linear_model_with_two_classes() -> None:
    oracle, image = oracles.linear(num_classes=2), image_of(2, True)
    adversarial, info = attack.pgd(
        jax.random.key(0), attack.cross_entropy(oracle.logits, 0), image,
        norm="linf", epsilon=0.1, alpha=0.03, num_steps=10,
    )  # fmt: skip
    expected = oracles.worst_linear(oracle.weights[1] - oracle.weights[0], image, 0.1, "linf")
    np.testing.assert_allclose(adversarial, expected, rtol=0, atol=2 * ROUNDING)
    start = oracles.cross_entropy(np.tensordot(oracle.weights, image, 3) + oracle.bias, 0)
    end = oracles.cross_entropy(np.tensordot(oracle.weights, expected, 3) + oracle.bias, 0)
    assert info.objectives.shape == (10,)
    assert info.objectives[-1] == pytest.approx(end, rel=1e-5)
    assert end > start


def test_pgd_l2_on_a_linear_objective_is_x_plus_epsilon_w_over_its_norm() -> None:
    oracle = oracles.linear()
    image = np.random.default_rng(0).uniform(0.4, 0.6, SHAPE).astype(np.float32)
    adversarial, info = attack.pgd(
        jax.random.key(0), lambda z: oracle.logits(z)[1], image,
        norm="l2", epsilon=0.3, alpha=0.1, num_steps=6, random_start=False,
    )  # fmt: skip
    expected = oracles.worst_linear(oracle.weights[1], image, 0.3, "l2")
    np.testing.assert_allclose(adversarial, expected, rtol=0, atol=3e-7)
    assert float(info.distance) == pytest.approx(0.3, rel=1e-5)


@pytest.mark.parametrize("norm", attack.NORMS)
def test_pgd_reaches_the_worst_case_of_a_softplus_ridge(norm: str) -> None:
    oracle = oracles.softplus_ridge(num_units=1)
    image = np.random.default_rng(0).uniform(0.4, 0.6, SHAPE).astype(np.float32)
    sign = np.sign(oracle.amplitudes[0, 0])
    adversarial, _ = attack.pgd(
        jax.random.key(0), lambda z: oracle.logits(z)[0], image,
        norm=norm, epsilon=0.2, alpha=0.05, num_steps=8, random_start=False,
    )  # fmt: skip
    expected = oracles.worst_linear(sign * oracle.directions[0], image, 0.2, norm)
    np.testing.assert_allclose(adversarial, expected, rtol=0, atol=5e-7)


def test_pgd_linf_reaches_the_worst_case_of_a_diagonal_quadratic() -> None:
    diagonal = np.random.default_rng(0).normal(size=24)
    oracle = oracles.Quadratic(np.diag(diagonal)[None], np.zeros(1))
    image = np.random.default_rng(1).uniform(size=SHAPE).astype(np.float32)
    adversarial, _ = attack.pgd(
        jax.random.key(0), lambda z: oracle.logits(z)[0], image,
        norm="linf", epsilon=0.2, alpha=0.05, num_steps=12,
    )  # fmt: skip
    expected = oracles.worst_diagonal_quadratic(diagonal, image.ravel(), 0.2)
    np.testing.assert_allclose(adversarial.ravel(), expected, rtol=0, atol=2 * ROUNDING)


@pytest.mark.usefixtures("float64")
def test_pgd_l2_reaches_the_worst_case_of_a_concave_quadratic() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    matrix, image = -root @ root.T / 6 - np.eye(6), rng.uniform(0.4, 0.6, (1, 3, 2))
    oracle = oracles.Quadratic(matrix[None], np.zeros(1))
    # A step of fixed length walks around the optimum at a distance of its own order: the steps must be short.
    adversarial, _ = attack.pgd(
        jax.random.key(0), lambda z: oracle.logits(z)[0], jnp.asarray(image),
        norm="l2", epsilon=0.2, alpha=1e-3, num_steps=2000,
    )  # fmt: skip
    expected = oracles.worst_concave_quadratic_l2(matrix, image, 0.2)
    assert expected.min() > 0, "the box binds: another image is needed for the closed form"
    np.testing.assert_allclose(adversarial, expected, rtol=0, atol=1e-4)


def test_vmap_equals_a_python_loop() -> None:
    images, keys = np.stack([image_of(seed, True) for seed in range(3)]), jax.random.split(jax.random.key(0), 3)
    budget = jnp.float32(0.1), jnp.float32(0.03)
    batched = jax.jit(jax.vmap(both_norms, in_axes=(0, 0, None, None)))(keys, images, *budget)
    for index in range(3):
        alone = both_norms(keys[index], images[index], *budget)
        for norm in attack.NORMS:
            np.testing.assert_allclose(batched[norm][index], alone[norm], rtol=0, atol=1e-6)


def test_jit_equals_no_jit() -> None:
    image, key = image_of(0, True), jax.random.key(0)
    compiled = both_norms(key, image, jnp.float32(0.1), jnp.float32(0.03))
    for norm in attack.NORMS:
        eager, _ = attack.pgd(key, objective, image, norm=norm, epsilon=0.1, alpha=0.03, num_steps=5)
        np.testing.assert_allclose(compiled[norm][1], eager, rtol=0, atol=1e-6)


def test_one_compilation_serves_every_traced_budget() -> None:
    @jax.jit
    def run(key: Array, image: Array, epsilon: Array, alpha: Array) -> Array:
        return attack.pgd(key, objective, image, epsilon=epsilon, alpha=alpha, num_steps=3)[0]

    image = image_of(0, False)
    sizes = [
        float(jnp.abs(run(jax.random.key(0), image, jnp.float32(epsilon), jnp.float32(epsilon)) - image).max())
        for epsilon in (0.01, 0.05, 0.2)
    ]
    np.testing.assert_allclose(sizes, [0.01, 0.05, 0.2], atol=2 * ROUNDING)
    assert run._cache_size() == 1


def test_compile_size_does_not_grow_with_the_number_of_steps() -> None:
    def num_equations(steps: int) -> int:
        jaxpr = jax.make_jaxpr(
            lambda key, z: attack.pgd(key, objective, z, epsilon=0.1, alpha=0.1, num_steps=steps)[0]
        )(jax.random.key(0), image_of(0, False))
        return len(str(jaxpr).splitlines())

    assert num_equations(2) == num_equations(200)


def test_cross_entropy_is_minus_log_softmax_in_nats() -> None:
    oracle, image = oracles.linear(), image_of(0, False)
    logits = np.tensordot(oracle.weights, image, 3) + oracle.bias
    for label in range(3):
        actual = attack.cross_entropy(oracle.logits, label)(jnp.asarray(image))
        assert float(actual) == pytest.approx(oracles.cross_entropy(logits, label), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 8}, r"epsilon must be in \[0, 1\] .*got 8; did you mean 8/255\?"),
        ({"epsilon": -0.1}, "epsilon must be a number >= 0"),
        ({"epsilon": float("nan")}, "epsilon must be a number >= 0"),
        ({"epsilon": np.float32(2)}, "did you mean 2/255"),
        ({"alpha": -1.0}, "alpha must be a number >= 0"),
        ({"alpha": float("inf")}, "alpha must be a number >= 0"),
        ({"num_steps": -1}, "num_steps must be an integer >= 0, got -1"),
        ({"num_steps": 2.5}, "num_steps must be an integer >= 0, got 2.5"),
        ({"num_steps": True}, "num_steps must be an integer >= 0, got True"),
        ({"norm": "linff"}, "unknown norm 'linff': expected one of linf, l2; did you mean 'linf'"),
    ],
)
def test_bad_settings_are_input_errors(change: dict, message: str) -> None:
    settings = {"epsilon": 0.1, "alpha": 0.1, "num_steps": 1} | change
    with pytest.raises(InputError, match=message):
        attack.pgd(jax.random.key(0), objective, image_of(0, False), **settings)


def test_l2_budget_may_exceed_one() -> None:
    _, info = attack.pgd(
        jax.random.key(0), objective, jnp.full(SHAPE, 0.5), norm="l2", epsilon=1.5, alpha=0.5, num_steps=4
    )
    assert float(info.distance) > 1


@pytest.mark.parametrize("shape", [(4, 2), (5, 3, 4, 2)])
def test_image_of_wrong_rank_is_an_input_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"image must be one \(H, W, C\) image"):
        attack.pgd(jax.random.key(0), objective, jnp.zeros(shape), epsilon=0.1, alpha=0.1, num_steps=1)
