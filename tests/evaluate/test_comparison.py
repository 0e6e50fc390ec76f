"""What a row holds of the maps of attacked pairs: every metric of each pair, the split of the loss, the means."""

import jax
import numpy as np
import pytest

from jsep import evaluate
from jsep.checks import InputError
from jsep.evaluate.comparison import PER_PAIR

P, SHAPE = 5, (4, 5)


@pytest.fixture(scope="module")
def results() -> evaluate.PairResults:
    rng = np.random.default_rng(0)
    victim, target = rng.gamma(0.5, size=(2, P, *SHAPE)).astype(np.float32)
    manipulated = 0.3 * victim + 0.7 * target
    maps = [m / m.sum((1, 2), keepdims=True) for m in (victim, target, manipulated)]
    fields = dict.fromkeys(evaluate.PairResults._fields, np.zeros(P, np.float32))
    fields |= {"victim_map": maps[0], "target_map": maps[1], "manipulated_map": maps[2]}
    for when, map_ in (("start", maps[0]), ("end", maps[2])):
        fields[f"loss_{when}"] = ((map_ - maps[1]) ** 2).mean((1, 2))
        fields[f"cosine_{when}"] = np.asarray(jax.vmap(evaluate.cosine_similarity)(map_, maps[1]))
    return evaluate.PairResults(**fields)


@pytest.fixture(scope="module")
def found(results: evaluate.PairResults) -> dict[str, np.ndarray]:
    return evaluate.compare_maps(results.victim_map, results.target_map, results.manipulated_map)


def test_every_metric_is_that_of_each_pair(results: evaluate.PairResults, found: dict[str, np.ndarray]) -> None:
    for when, maps in (("start", results.victim_map), ("end", results.manipulated_map)):
        for name in ("pearson", "ssim", "spearman", "kendall", "top_k_near", "earth_movers_distance"):
            metric = jax.jit(evaluate.PAIR_METRICS[name])
            expected = [float(metric(a, b)) for a, b in zip(maps, results.target_map, strict=True)]
            np.testing.assert_allclose(found[f"{name}_{when}"], expected, atol=1e-5, err_msg=name)
        for name, measure in evaluate.MAP_METRICS.items():
            np.testing.assert_allclose(found[f"{name}_{when}"], [measure(m) for m in maps], rtol=1e-4)


def test_split_adds_up_at_start_and_end(results: evaluate.PairResults, found: dict[str, np.ndarray]) -> None:
    for when, loss in (("start", results.loss_start), ("end", results.loss_end)):
        total = found[f"concentration_{when}"] + found["concentration_target"] - found[f"overlap_{when}"]
        np.testing.assert_allclose(total, loss, atol=1e-7)
        np.testing.assert_allclose(
            found[f"one_minus_concordance_{when}"], loss / found[f"chance_loss_{when}"], rtol=1e-3
        )


def test_row_holds_the_means_and_the_values_of_every_pair(
    results: evaluate.PairResults, found: dict[str, np.ndarray]
) -> None:
    described = evaluate.describe_pairs(results)
    per_pair = described.pop("per_pair")
    assert isinstance(per_pair, dict)
    assert set(per_pair) == set(PER_PAIR)
    assert all(type(value) is float for value in described.values())
    assert set(described) == set(found) - {"effective_pixels_start"}
    assert not set(described) & set(results.summary())
    for name in described:
        assert described[name] == pytest.approx(found[name].mean(), rel=1e-6)
    np.testing.assert_allclose(per_pair["explanation_loss_end"], results.loss_end, rtol=1e-5)
    np.testing.assert_allclose(per_pair["one_minus_concordance_end"], found["one_minus_concordance_end"], rtol=1e-5)
    assert np.mean(per_pair["explanation_loss_end"]) == pytest.approx(
        results.summary()["explanation_loss_end"], rel=1e-5
    )


@pytest.mark.slow
def test_comparison_does_not_depend_on_the_chunk_size(
    results: evaluate.PairResults, found: dict[str, np.ndarray]
) -> None:
    chunked = evaluate.compare_maps(results.victim_map, results.target_map, results.manipulated_map, chunk_size=2)
    for name, values in found.items():
        np.testing.assert_allclose(values, chunked[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_arrays_of_different_shape_are_an_input_error(results: evaluate.PairResults) -> None:
    with pytest.raises(InputError, match=r"expected three arrays of maps \(P, H, W\) of one shape"):
        evaluate.compare_maps(results.victim_map, results.target_map[:3], results.manipulated_map)
