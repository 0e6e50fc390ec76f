"""Distances of maps against SciPy, hand-computed cases and their identities."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from jsep import evaluate
from jsep.checks import InputError
from jsep.evaluate.metrics import DISTANCES

SHAPE = (3, 4)
N = 12
ONE_PIXEL = np.eye(1, N, 5, dtype=np.float32).reshape(SHAPE)
ZERO = np.zeros(SHAPE, np.float32)
UNIFORM = np.full(SHAPE, 1 / N, np.float32)


def make_map(seed: int, concentration: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    values = np.random.default_rng(seed).gamma(concentration, size=shape) + 1e-30
    return (values / values.sum()).astype(np.float32)


maps = st.builds(make_map, st.integers(0, 10**6), st.sampled_from([0.05, 0.3, 1.0, 10.0]))

unit_l2 = jax.jit(evaluate.unit_l2_distance)
pearson = jax.jit(evaluate.pearson)
ssim = jax.jit(evaluate.ssim, static_argnames="filter_size")
earth_movers = jax.jit(evaluate.earth_movers_distance, static_argnames="num_directions")


@hypothesis.given(maps, maps)
def test_unit_l2_is_the_distance_of_unit_vectors_and_ignores_scale(first: np.ndarray, second: np.ndarray) -> None:
    units = [m.astype(np.float64) / np.linalg.norm(m.astype(np.float64)) for m in (first, second)]
    assert float(unit_l2(first, second)) == pytest.approx(np.linalg.norm(units[0] - units[1]), rel=1e-4, abs=1e-6)
    assert float(unit_l2(8 * first, second)) == pytest.approx(float(unit_l2(first, second)), rel=1e-5, abs=1e-6)
    cosine = float(evaluate.cosine_similarity(first, second))
    assert float(unit_l2(first, second)) ** 2 == pytest.approx(2 - 2 * cosine, abs=1e-5)


@hypothesis.given(maps, maps)
def test_pearson_equals_scipy_and_ignores_scale_and_shift(first: np.ndarray, second: np.ndarray) -> None:
    expected = scipy.stats.pearsonr(first.ravel().astype(np.float64), second.ravel().astype(np.float64)).statistic
    assert float(pearson(first, second)) == pytest.approx(expected, abs=1e-4)
    assert float(pearson(3 * first + 0.5, second)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("constant", [UNIFORM, ZERO, np.full(SHAPE, 0.1, np.float32)])
def test_constant_maps_have_defined_values(constant: np.ndarray) -> None:
    assert float(pearson(constant, ONE_PIXEL)) == 0
    assert float(ssim(constant, constant)) == pytest.approx(1)
    assert float(earth_movers(constant, UNIFORM)) == pytest.approx(0, abs=1e-6)
    assert float(unit_l2(constant, constant)) == 0
    assert float(unit_l2(ZERO, ONE_PIXEL)) == 1


def ssim_by_definition(first: np.ndarray, second: np.ndarray, side: int) -> float:
    """Wang et al. 2004, equation 13, window by window."""
    axis = np.arange(side) - side // 2
    window = np.exp(-0.5 * (axis / (1.5 * side / 11)) ** 2)
    window = np.outer(window, window) / window.sum() ** 2
    value_range = max(first.max(), second.max()) - min(first.min(), second.min())
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    values = []
    for row in range(first.shape[0] - side + 1):
        for column in range(first.shape[1] - side + 1):
            a, b = (m[row : row + side, column : column + side].astype(np.float64) for m in (first, second))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
            values.append(above / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return float(np.mean(values))


@pytest.mark.parametrize(("shape", "side"), [((12, 13), 11), ((8, 8), 7), ((8, 8), 5), ((3, 4), 3)])
def test_ssim_equals_its_definition(shape: tuple[int, int], side: int) -> None:
    first, second = make_map(0, 0.3, shape), make_map(1, 1.0, shape)
    given = None if side in (11, 7, 3) else side
    assert float(ssim(first, second, filter_size=given)) == pytest.approx(
        ssim_by_definition(first, second, side), abs=1e-5
    )
    # As small as maps of many pixels are: the range goes with the maps.
    assert float(ssim(first / 1000, second / 1000, filter_size=given)) == pytest.approx(
        float(ssim(first, second, filter_size=given)), abs=1e-5
    )


@hypothesis.given(maps, maps)
def test_earth_movers_distance_is_the_mean_of_scipys_in_one_dimension(first: np.ndarray, second: np.ndarray) -> None:
    rows, columns = np.divmod(np.arange(N), SHAPE[1])
    weights = [m.ravel().astype(np.float64) for m in (first, second)]
    expected = []
    for k in range(4):
        places = np.cos(np.pi * k / 4) * columns + np.sin(np.pi * k / 4) * rows
        expected.append(scipy.stats.wasserstein_distance(places, places, *weights))
    assert float(earth_movers(first, second, num_directions=4)) == pytest.approx(np.mean(expected), rel=1e-4, abs=1e-6)


def exact_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The 2-D 1-Wasserstein distance by linear programming."""
    places = np.stack(np.divmod(np.arange(first.size), first.shape[1]), axis=1)
    cost = np.linalg.norm(places[:, None] - places[None], axis=-1)
    out_of, into = np.kron(np.eye(first.size), np.ones(first.size)), np.kron(np.ones(first.size), np.eye(first.size))
    masses = [m.ravel().astype(np.float64) / m.astype(np.float64).sum() for m in (first, second)]
    solved = scipy.optimize.linprog(cost.ravel(), A_eq=np.vstack([out_of, into]), b_eq=np.concatenate(masses))
    return solved.fun


@pytest.mark.parametrize("seed", range(4))
def test_sliced_distance_is_at_most_the_exact_one_and_not_far_below(seed: int) -> None:
    first, second = make_map(seed, 0.3), make_map(seed + 10, 0.3)
    exact, sliced = exact_distance(first, second), float(earth_movers(first, second, num_directions=16))
    assert 0.4 * exact < sliced <= exact * (1 + 1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (2, 0), (2, 3)])
def test_shifted_pixel_has_two_over_pi_of_its_way(rows: int, columns: int) -> None:
    first, second = np.zeros((2, 5, 6), np.float32)
    first[1, 1] = second[1 + rows, 1 + columns] = 1
    way = np.hypot(rows, columns)
    assert float(earth_movers(first, second, num_directions=64)) == pytest.approx(2 / np.pi * way, rel=1e-3)
    # The marginals alone.
    assert float(earth_movers(first, second, num_directions=2)) == pytest.approx((rows + columns) / 2, rel=1e-5)


@hypothesis.given(maps, maps, maps)
def test_distances_are_metrics(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> None:
    for distance in (unit_l2, earth_movers):
        one, two, both = (float(distance(a, b)) for a, b in [(first, second), (second, third), (first, third)])
        assert float(distance(first, first)) == pytest.approx(0, abs=1e-6)
        assert one == pytest.approx(float(distance(second, first)), rel=1e-4, abs=1e-6)
        assert both <= one + two + 1e-5


@pytest.mark.parametrize("name", evaluate.PAIR_METRICS)
def test_every_pair_metric_is_batched_by_vmap_and_extreme_at_equal_maps(name: str) -> None:
    metric = evaluate.PAIR_METRICS[name]
    first, second = (np.stack([make_map(seed + shift, 0.5) for seed in range(3)]) for shift in (0, 10))
    together = np.asarray(jax.jit(jax.vmap(metric))(first, second))
    alone = [float(jax.jit(metric)(a, b)) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)
    same = float(jax.jit(metric)(first[0], first[0]))
    is_distance = name in DISTANCES
    assert same == pytest.approx(0 if is_distance else 1, abs=1e-5)
    assert all(value > same if is_distance else value < same for value in alone)


@pytest.mark.parametrize("name", [*evaluate.PAIR_METRICS])
def test_every_pair_metric_is_finite_at_zero_and_constant_maps(name: str) -> None:
    metric = jax.jit(evaluate.PAIR_METRICS[name])
    for first in (ZERO, UNIFORM, ONE_PIXEL):
        for second in (ZERO, UNIFORM):
            assert np.isfinite(float(metric(first, second)))


@pytest.mark.parametrize("name", [*evaluate.PAIR_METRICS])
def test_maps_of_different_size_are_input_errors(name: str) -> None:
    with pytest.raises(InputError, match=r"both maps must be \(H, W\) of the same size, got \(3, 4\) and \(4, 3\)"):
        evaluate.PAIR_METRICS[name](jnp.asarray(UNIFORM), jnp.asarray(UNIFORM.T))


def test_ssim_window_that_does_not_fit_is_an_input_error() -> None:
    for size in (5, 2):
        with pytest.raises(InputError, match=rf"filter_size must be odd and at most 3 .*, got {size}"):
            evaluate.ssim(UNIFORM, UNIFORM, filter_size=size)
    with pytest.raises(InputError, match="num_directions must be an integer >= 1, got 0"):
        evaluate.earth_movers_distance(UNIFORM, UNIFORM, num_directions=0)
