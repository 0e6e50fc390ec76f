"""Metrics whose formula does not depend on the scale of a map do not, from 1e-30 to 1e30; a batch is not merged."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import evaluate, explain
from jsep.attack.explanation_terms import one_minus_cosine

RNG = np.random.default_rng(0)
A, B = (jnp.asarray(RNG.exponential(size=(6, 7)), jnp.float32) for _ in range(2))

PAIR = {
    "cosine_similarity": evaluate.cosine_similarity,
    "unit_l2_distance": evaluate.unit_l2_distance,
    "pearson": evaluate.pearson,
    "earth_movers_distance": evaluate.earth_movers_distance,
    "spearman": evaluate.spearman,
    "kendall": evaluate.kendall,
    "top_k": lambda a, b: evaluate.top_k_intersection(a, b, 5),
    "one_minus_cosine": one_minus_cosine,
}
COMMON = {
    "ssim": evaluate.ssim,
    "one_minus_concordance": lambda a, b: evaluate.split_loss(a, b).one_minus_concordance,
}
ONE = {"effective_pixels": evaluate.effective_pixels, "gini": evaluate.gini, "entropy": evaluate.entropy}
scales = st.integers(-99, 99)  # powers of two, 1e-30 .. 1e30: the scaled maps have the same digits


@hypothesis.given(first=scales, second=scales)
def test_similarities_do_not_depend_on_the_scale_of_either_map(first: int, second: int) -> None:
    a, b = np.float32(2.0**first), np.float32(2.0**second)
    for name, metric in PAIR.items():
        assert float(metric(A * a, B * b)) == pytest.approx(float(metric(A, B)), rel=2e-6), name


@hypothesis.given(exponent=scales)
def test_ratios_do_not_depend_on_the_common_scale(exponent: int) -> None:
    scale = np.float32(2.0**exponent)
    for name, metric in COMMON.items():
        assert float(metric(A * scale, B * scale)) == pytest.approx(float(metric(A, B)), rel=1e-5), name
    for name, one in ONE.items():
        assert float(one(A * scale)) == pytest.approx(float(one(A)), rel=2e-6), name
    own, moved = A * scale, (A + 0.1 * B) * scale
    near = jnp.full((1, 6, 7, 1), 0.5)
    sensitivity = evaluate.max_sensitivity(
        lambda z: jnp.where(z[0, 0, 0] == 0.5, moved, own), jnp.full((6, 7, 1), 0.25), near
    )
    expected = np.linalg.norm(0.1 * B) / np.linalg.norm(A)
    assert float(sensitivity) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("normalize", explain.NORMALIZATIONS[:3])
@pytest.mark.parametrize("reduce", explain.REDUCTIONS)
@hypothesis.given(exponent=scales)
def test_normalised_map_does_not_depend_on_the_scale_of_the_saliency(
    normalize: str, reduce: str, exponent: int
) -> None:
    saliency = jnp.stack([A, -B], axis=-1)
    expected = explain.explanation_map(saliency, reduce=reduce, normalize=normalize)
    found = explain.explanation_map(saliency * np.float32(2.0**exponent), reduce=reduce, normalize=normalize)
    np.testing.assert_allclose(found, expected, rtol=2e-6)


@pytest.mark.parametrize("scale", [1.0, 2.0**-90, 2.0**90])
def test_scaling_by_a_power_of_two_changes_no_digit(scale: float) -> None:
    for metric in (evaluate.cosine_similarity, evaluate.unit_l2_distance, evaluate.pearson):
        assert float(metric(A * np.float32(scale), B)) == float(metric(A, B))


def test_only_the_zero_map_is_special() -> None:
    zero = jnp.zeros((6, 7))
    tiny = A * np.float32(1e-30)
    assert float(evaluate.cosine_similarity(zero, tiny)) == 0
    assert float(evaluate.cosine_similarity(tiny, tiny)) == pytest.approx(1)
    assert float(evaluate.effective_pixels(zero)) == 0
    derivative = jax.grad(lambda m: evaluate.cosine_similarity(m, B))(tiny)
    assert np.all(np.isfinite(derivative))
    expected = jax.grad(lambda m: evaluate.cosine_similarity(m, B))(A) * 1e30
    np.testing.assert_allclose(derivative, expected, rtol=1e-3, atol=1e27)


@pytest.mark.parametrize("name", ONE)
def test_batch_of_maps_is_refused_and_mapped_over(name: str) -> None:
    batch = jnp.stack([A, B])
    with pytest.raises(ValueError, match=r"one \(H, W\) map, got shape \(2, 6, 7\); for a batch use jax.vmap"):
        ONE[name](batch)
    np.testing.assert_allclose(jax.vmap(ONE[name])(batch), [ONE[name](A), ONE[name](B)], rtol=1e-6)


@pytest.mark.parametrize("metric", [evaluate.spearman, evaluate.kendall, PAIR["top_k"]])
def test_order_of_a_map_that_is_not_finite_is_nan_under_jit(metric: object) -> None:
    bad = A.at[0, 0].set(jnp.nan)
    assert np.isnan(jax.jit(metric)(bad, B))
    assert np.isnan(jax.jit(metric)(B, bad))
