"""The mean over seeds and images: by hand, by properties, and by simulated studies without and with an effect."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats

from jsep import stats
from jsep.checks import InputError

NOMINAL = 0.05


def study(
    rng: np.random.Generator, num_seeds: int, num_pairs: int, parts: dict[str, float], effect: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """A table of differences and the images of its pairs: every image is a victim once, targets are drawn again."""
    targets = (np.arange(num_pairs) + rng.integers(1, num_pairs, num_pairs)) % num_pairs
    victims = np.arange(num_pairs)
    size = {"seeds": 0.0, "images": 0.0, "seeds_and_images": 0.0, "pairs": 0.0, "rest": 0.0, **parts}
    table = effect + size["seeds"] * rng.normal(size=(num_seeds, 1)) + np.zeros((num_seeds, num_pairs))
    for of_image in (victims, targets):
        table = table + size["images"] * rng.normal(size=num_pairs)[of_image]
        table = table + size["seeds_and_images"] * rng.normal(size=(num_seeds, num_pairs))[:, of_image]
    table = table + size["pairs"] * rng.normal(size=num_pairs) + size["rest"] * rng.normal(size=table.shape)
    return table, np.stack([victims, targets], axis=1)


SITUATIONS = {
    "rest alone": {"rest": 1.0},
    "pairs": {"pairs": 1.0, "rest": 0.3},
    "images": {"images": 1.0, "rest": 0.3},
    "seeds": {"seeds": 0.3, "rest": 1.0},
    "all": {"seeds": 0.2, "images": 0.7, "seeds_and_images": 0.3, "pairs": 0.5, "rest": 0.5},
}


@pytest.mark.parametrize(("num_seeds", "num_pairs"), [(3, 24), (5, 60)])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_at_most_the_nominal_share_of_studies_without_an_effect_is_called_one(
    situation: str, num_seeds: int, num_pairs: int
) -> None:
    """Whatever varies: seeds, images, both, or neither; 600 studies, so up to three standard errors above 5 %."""
    rng, count = np.random.default_rng(0), 600
    wrong = 0
    for _ in range(count):
        table, images = study(rng, num_seeds, num_pairs, SITUATIONS[situation])
        _, low, high = stats.crossed_mean(table, images).interval()
        wrong += not low <= 0 <= high
    assert wrong / count < NOMINAL + 3 * np.sqrt(NOMINAL * (1 - NOMINAL) / count)


def test_pairs_taken_as_independent_are_called_an_effect_far_too_often() -> None:
    """What the clustering by images and the seeds are for: without them it happens three times as often."""
    rng, count = np.random.default_rng(1), 400
    wrong = {"crossed": 0, "pairs alone": 0}
    for _ in range(count):
        table, images = study(rng, 3, 40, {"seeds": 0.2, "images": 0.7, "rest": 0.5})
        _, low, high = stats.crossed_mean(table, images).interval()
        wrong["crossed"] += not low <= 0 <= high
        _, low, high = stats.t_interval(table.mean(axis=0))
        wrong["pairs alone"] += not low <= 0 <= high
    assert wrong["crossed"] / count < 0.08
    assert wrong["pairs alone"] / count > 0.12


def test_power_grows_with_seeds_and_the_plan_names_a_number_that_decides() -> None:
    rng = np.random.default_rng(2)
    parts = {"seeds": 0.3, "rest": 0.5}
    power = {}
    for num_seeds in (3, 5, 10):
        found = [stats.crossed_mean(*study(rng, num_seeds, 40, parts, effect=0.4)) for _ in range(200)]
        power[num_seeds] = np.mean([mean.p_value() < 0.05 for mean in found])
    assert power[3] < power[5] < power[10]
    assert power[10] > 0.9
    mean = stats.crossed_mean(*study(rng, 3, 40, parts, effect=0.4))
    planned = mean.with_seeds(10)
    assert planned.of_seeds == pytest.approx(mean.of_seeds * 0.3)
    assert planned.p_value() < mean.p_value()


def test_without_shared_images_it_is_students_interval_over_the_means_of_the_seeds() -> None:
    """Where the pairs do not differ but for the rest, other images add nothing."""
    table = np.array([[1.0, 3.0], [3.0, 5.0], [5.0, 7.0]])
    mean = stats.crossed_mean(table - np.array([-1.0, 1.0]))
    assert mean.of_images == 0
    np.testing.assert_allclose(mean.interval(), stats.t_interval([2.0, 4.0, 6.0]))


def test_parts_by_their_definitions() -> None:
    rng = np.random.default_rng(3)
    table, images = study(rng, 4, 12, SITUATIONS["all"])
    found = stats.crossed_mean(table, images)
    shared = np.array([[bool(set(p) & set(q)) for q in images.tolist()] for p in images.tolist()], float)
    centre = np.eye(12) - 1 / 12
    projected = centre @ shared @ centre

    def variance(rows: np.ndarray) -> float:
        dependent = sum(row @ shared @ row for row in rows) / np.trace(projected)
        return max(dependent, (rows**2).sum() / 11) / 12 / len(rows) ** 2

    of_pairs = table.mean(0)
    rest = table - table.mean(1, keepdims=True) - of_pairs + table.mean()
    assert found.of_seeds == pytest.approx(table.mean(1).var(ddof=1) / 4)
    expected = variance(of_pairs[None] - table.mean()) - variance(rest) * 4 / 3
    assert found.of_images == pytest.approx(max(expected, 0), rel=1e-9, abs=1e-15)
    assert found.freedom_of_images == pytest.approx(np.trace(projected) ** 2 / np.trace(projected @ projected))
    quantiles = scipy.stats.t.ppf(0.975, [3, found.freedom_of_images])
    half = np.sqrt((quantiles**2 * [found.of_seeds, found.of_images]).sum())
    assert found.half_width() == pytest.approx(half)


def test_one_seed_speaks_of_its_own_models_alone() -> None:
    table = np.random.default_rng(4).normal(size=(1, 30))
    unknown = stats.crossed_mean(table)
    assert np.isnan(unknown.p_value())
    assert np.isnan(unknown.interval()[1:]).all()
    fixed = stats.crossed_mean(table, seeds_are_fixed=True)
    np.testing.assert_allclose(fixed.interval(), stats.t_interval(table[0]), rtol=1e-12)


@hypothesis.given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(1e-8, 1e8), st.integers(2, 5))
def test_p_is_where_the_interval_begins_and_moves_with_the_data(
    seed: int, shift: float, scale: float, num_seeds: int
) -> None:
    rng = np.random.default_rng(seed)
    table, images = study(rng, num_seeds, 10, SITUATIONS["all"])
    mean = stats.crossed_mean(table, images)
    p = mean.p_value()
    assert 0 <= p <= 1
    if 1e-9 < p < 1:
        assert mean.half_width(1 - p) == pytest.approx(abs(mean.estimate), rel=1e-6)
    scaled = stats.crossed_mean(scale * (table + shift), images)
    np.testing.assert_allclose(
        scaled.interval(), scale * (np.array(mean.interval()) + shift), rtol=1e-9, atol=1e-9 * scale
    )


@hypothesis.given(st.integers(0, 10**6), st.floats(0.01, 2))
def test_equivalence_is_the_ninety_per_cent_interval_inside_of_the_margin(seed: int, margin: float) -> None:
    values = 0.3 * np.random.default_rng(seed).normal(size=5)
    mean = stats.mean_over_seeds(values)
    _, low, high = mean.interval(0.9)
    assert (mean.equivalence_p(margin) < 0.05) == (-margin < low and high < margin)
    assert mean.one_sided_p(0.0, 1) + mean.one_sided_p(0.0, -1) == pytest.approx(1)


def test_two_one_sided_tests_keep_their_level_at_the_margin_and_have_power_inside() -> None:
    rng = np.random.default_rng(5)
    at, inside = ([stats.mean_over_seeds(m + 0.5 * rng.normal(size=5)) for _ in range(800)] for m in (2.0, 0.0))
    assert np.mean([mean.equivalence_p(2.0) < 0.05 for mean in at]) < 0.075
    assert np.mean([mean.equivalence_p(2.0) < 0.05 for mean in inside]) > 0.95


def test_values_without_spread_and_bad_input_are_defined() -> None:
    same = stats.crossed_mean(np.full((3, 4), 2.0))
    assert tuple(same.interval()) == (2, 2, 2)
    assert same.p_value() == 0
    assert stats.crossed_mean(np.zeros((3, 4))).p_value() == 1
    assert np.isnan(stats.crossed_mean(np.ones((3, 1))).p_value()), "one pair tells nothing of others"
    one_image = stats.crossed_mean(np.arange(6.0).reshape(2, 3), [(0, 1), (0, 2), (0, 3)])
    assert np.isnan(one_image.p_value()), "an image that all pairs share tells nothing of others"
    with pytest.raises(InputError, match="table must be 2-dimensional"):
        stats.crossed_mean(np.ones(3))
    with pytest.raises(InputError, match="images must name those of each of the 4 pairs"):
        stats.crossed_mean(np.ones((3, 4)), [(0, 1)])
    with pytest.raises(InputError, match="table must be finite"):
        stats.crossed_mean(np.array([[1.0, np.nan]]))


def test_an_interval_from_elsewhere_keeps_its_ends() -> None:
    mean = stats.mean_of_interval(stats.Interval(0.5, 0.1, 0.9), 7)
    np.testing.assert_allclose(mean.interval(), (0.5, 0.1, 0.9))
    assert mean.p_value() == pytest.approx(2 * scipy.stats.norm.sf(0.5 / (0.4 / scipy.stats.norm.ppf(0.975))), rel=1e-6)
