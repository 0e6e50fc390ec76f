"""The spread over draws of pairs: planted orders and spreads are found, and the standard error falls as it must."""

from typing import Any

import numpy as np
import pytest

from jsep import evaluate
from jsep.checks import InputError

KEY = "explanation_loss_end"


def make_draws(gap: float = 1.0, spread_of_draws: float = 0.0, num_draws: int = 20) -> list[dict[str, Any]]:
    """Three methods, two seeds, two rules; pairs of standard deviation 2 that all methods share."""
    rng = np.random.default_rng(0)
    entries = []
    for selection in ("kmeans", "random"):
        for draw in range(num_draws):
            pairs = 10 + 2 * rng.normal(size=25) + spread_of_draws * rng.normal()
            for place, method in enumerate(("a", "b", "c")):
                for seed in range(2):
                    noise = 0.2 * rng.normal(size=25)
                    entry = {"selection": selection, "draw": draw, "method": method, "seed": seed}
                    entries.append({**entry, KEY: pairs - gap * place + noise})
    return entries


def test_planted_order_and_standard_errors_are_found() -> None:
    found = evaluate.pair_sampling_variability(make_draws())
    assert found["methods"] == ["a", "b", "c"]
    for entry in found["selections"]:
        assert entry["order"] == ["c", "b", "a"]
        assert entry["draws_in_order"] == 1
        assert entry["mean_tau"] == pytest.approx(1)
        assert entry["same_order"][-1] == 1
        assert entry["mean"]["a"] == pytest.approx(10, abs=0.3)
        # A mean of 25 pairs of deviation 2, by the bootstrap and by drawing anew.
        assert entry["standard_error"]["a"] == pytest.approx(2 / 5, rel=0.15)
        assert entry["std_of_draws"]["a"] == pytest.approx(2 / 5, rel=0.4)
        relative = np.array(entry["standard_errors"]["a"]) * entry["mean"]["a"]
        np.testing.assert_allclose(relative, 2 / np.sqrt(found["counts"]), rtol=0.15)


def test_draws_that_differ_more_than_their_pairs_show_it() -> None:
    entry = evaluate.pair_sampling_variability(make_draws(spread_of_draws=3.0))["selections"][0]
    assert entry["std_of_draws"]["a"] > 3 * entry["standard_error"]["a"]
    assert entry["draws_in_order"] == 1, "what all methods share moves no order"


def test_equal_methods_have_no_stable_order() -> None:
    entry = evaluate.pair_sampling_variability(make_draws(gap=0.0))["selections"][0]
    assert entry["draws_in_order"] < 0.7
    assert entry["same_order"][0] < 0.7


def test_one_draw_and_one_method_are_defined_and_gaps_are_input_errors() -> None:
    one = [entry for entry in make_draws(num_draws=1) if entry["method"] == "a"]
    found = evaluate.pair_sampling_variability(one)["selections"][0]
    assert found["std_of_draws"] == {"a": 0}
    assert found["mean_tau"] == 1
    with pytest.raises(InputError, match="expected at least one draw, got none"):
        evaluate.pair_sampling_variability([])
    broken = make_draws(num_draws=2)
    broken[0] = {**broken[0], KEY: np.full(25, np.nan)}
    with pytest.raises(InputError, match="every method must have every draw, with finite losses"):
        evaluate.pair_sampling_variability(broken)
