"""Concentration of maps by hand and against SciPy; the split of the explanation loss and its chance level."""

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
import scipy.stats

from jsep import evaluate

SHAPE = (3, 4)
N = 12
ONE_PIXEL = np.eye(1, N, 5, dtype=np.float32).reshape(SHAPE)
ZERO = np.zeros(SHAPE, np.float32)
UNIFORM = np.full(SHAPE, 1 / N, np.float32)


def make_map(seed: int, concentration: float) -> np.ndarray:
    values = np.random.default_rng(seed).gamma(concentration, size=SHAPE) + 1e-30
    return (values / values.sum()).astype(np.float32)


maps = st.builds(make_map, st.integers(0, 10**6), st.sampled_from([0.05, 0.3, 1.0, 10.0]))
gini, entropy, split = (jax.jit(f) for f in (evaluate.gini, evaluate.entropy, evaluate.split_loss))


@pytest.mark.parametrize(
    ("map_", "expected_gini", "expected_entropy"),
    [
        (ONE_PIXEL, 1 - 1 / N, 0),
        (UNIFORM, 0, np.log(N)),
        (ZERO, 0, 0),
        (-2 * UNIFORM, 0, np.log(N)),
        (np.arange(N).reshape(SHAPE).astype(np.float32) < 3, 0.75, np.log(3)),
    ],
)
def test_gini_and_entropy_of_hand_computed_cases(
    map_: np.ndarray, expected_gini: float, expected_entropy: float
) -> None:
    map_ = map_.astype(np.float32)
    assert float(gini(map_)) == pytest.approx(expected_gini, abs=1e-6)
    assert float(entropy(map_)) == pytest.approx(expected_entropy, abs=1e-6)


@hypothesis.given(maps, st.floats(0.5, 4))
def test_gini_and_entropy_equal_their_definitions_and_ignore_scale_and_place(map_: np.ndarray, scale: float) -> None:
    exact = map_.ravel().astype(np.float64)
    differences = np.abs(exact[:, None] - exact[None]).mean() / (2 * exact.mean())
    shuffled = np.random.default_rng(0).permutation(exact).reshape(SHAPE).astype(np.float32)
    for variant in (map_, np.float32(scale) * map_, shuffled):
        assert float(gini(variant)) == pytest.approx(differences, abs=1e-5)
        assert float(entropy(variant)) == pytest.approx(scipy.stats.entropy(exact), abs=1e-5)
    # Renyi entropies fall with their order.
    assert np.exp(float(entropy(map_))) >= float(evaluate.effective_pixels(map_)) * (1 - 1e-4)


@hypothesis.given(maps, maps)
def test_split_adds_up_to_the_explanation_loss(first: np.ndarray, second: np.ndarray) -> None:
    parts = split(first, second)
    loss = float(evaluate.explanation_loss(first, second))
    assert float(parts.concentration_a + parts.concentration_b - parts.overlap) == pytest.approx(loss, abs=2e-7)
    for map_, part in [(first, parts.concentration_a), (second, parts.concentration_b)]:
        assert float(part) == pytest.approx(1 / (N * float(evaluate.effective_pixels(map_))), rel=1e-4)
    if float(parts.chance) > 1e-9:
        assert float(parts.one_minus_concordance) == pytest.approx(loss / float(parts.chance), rel=1e-3, abs=1e-6)


@hypothesis.given(maps, maps)
def test_chance_is_the_closed_form_of_maps_that_sum_to_one(first: np.ndarray, second: np.ndarray) -> None:
    inverse = sum((m.astype(np.float64) ** 2).sum() for m in (first, second))
    assert float(split(first, second).chance) == pytest.approx((inverse - 2 / N) / N, rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("concentration", [0.1, 1.0])
def test_chance_is_the_mean_over_permuted_pixels(concentration: float) -> None:
    first, second = (make_map(seed, concentration).astype(np.float64) for seed in (0, 1))
    rng = np.random.default_rng(0)
    losses = np.array([((first - rng.permutation(second.ravel()).reshape(SHAPE)) ** 2).mean() for _ in range(20_000)])
    error = losses.std() / np.sqrt(len(losses))
    assert abs(losses.mean() - float(split(first.astype(np.float32), second.astype(np.float32)).chance)) < 4 * error


def test_one_minus_concordance_tells_concentration_and_place_apart() -> None:
    """Sharper maps in the same places lose more and keep their ratio; maps that are moved apart have a higher one."""
    generator = np.random.default_rng(0)
    first, second = generator.gamma(1.0, size=(2, 16, 16)).astype(np.float32)
    wide = [m / m.sum() for m in (first, second)]
    sharp = [m / m.sum() for m in (first**3, second**3)]
    unrelated = [split(*wide), split(*sharp)]
    losses = [float(evaluate.explanation_loss(*pair)) for pair in (wide, sharp)]
    assert losses[1] > 4 * losses[0]
    for parts in unrelated:
        assert float(parts.one_minus_concordance) == pytest.approx(1, abs=0.15)
    assert float(split(wide[0], wide[0]).one_minus_concordance) == 0
    apart = np.zeros((2, 16, 16), np.float32)
    apart[0, :8], apart[1, 8:] = 1 / 128, 1 / 128
    assert float(split(*apart).one_minus_concordance) == pytest.approx(2)
    assert (
        float(split(np.full((4, 4), 1 / 16, np.float32), np.full((4, 4), 1 / 16, np.float32)).one_minus_concordance)
        == 0
    )
