"""The claims of the definitive study, on planted effects: slope on the training budget, arms, interaction."""

from typing import Any

import numpy as np
import pytest

from jsep import record

BUDGETS = (0, 2, 4, 8)
ARMS = {"continued": 0.0, "sep_pos": -1.0, "sep_neg": 1.0}


def planted(
    *, slope: float = 0.0, arm: float = 0.0, interaction: float = 0.0, num_seeds: int = 5, num_pairs: int = 80
) -> dict[str, Any]:
    """A result whose loss left rises by `slope` a unit of budget, falls under SEP_pos and rises under SEP_neg by `arm`,
    and by `interaction` more at budget 8; both outcomes alike, noise of seeds 0.1, of pairs 1, of the rest 0.3."""
    rng = np.random.default_rng(7)
    pairs = rng.normal(size=num_pairs)
    cells = {f"base_{budget}": 10 + slope * budget for budget in BUDGETS}
    for budget in (0, 8):
        for name, sign in ARMS.items():
            cells[f"{name}_{budget}"] = 10 + slope * budget + sign * (arm + interaction * (budget == 8))
    rows = []
    for cell, level in cells.items():
        for seed in range(num_seeds):
            end = level + 0.1 * rng.normal() + pairs + 0.3 * rng.normal(size=num_pairs)
            per_pair = {"explanation_loss_end": end, "one_minus_concordance_end": end}
            means = {name: float(values.mean()) for name, values in per_pair.items()}
            listed = {name: values.tolist() for name, values in per_pair.items()}
            rows.append({"method": cell, "seed": seed, "robust_accuracy": 0.3, "per_pair": listed, **means})
    places = np.arange(num_pairs)
    return {
        "format": record.FORMAT,
        "config": {"claims": "definitive"},
        "data": {"num_images": 10_000},
        "pairs": {"victims": places.tolist(), "targets": (places + num_pairs).tolist()},
        "rows": rows,
    }


def findings(content: dict[str, Any]) -> dict[tuple[str, str], str]:
    return dict(record.verdicts(record.judge(record.Result.from_dict(content))))


def test_the_family_is_that_of_the_plan() -> None:
    claims = record.claims_of(record.Result.from_dict(planted()))
    assert len(claims) == 18
    slope = next(claim for claim in claims if claim.question == "grows_by_loss")
    assert sum(slope.weights.values()) == pytest.approx(0)
    of_a_line = sum(weight * budget for weight, budget in zip(slope.weights.values(), BUDGETS, strict=True))
    assert of_a_line == pytest.approx(1)


def test_planted_effects_are_found_and_measured() -> None:
    content = planted(slope=0.5, arm=1.0, interaction=1.0)
    found = findings(content)
    assert {verdict for (question, _), verdict in found.items() if question != "equal_accuracy"} == {record.HOLDS}
    judged = record.judge(record.Result.from_dict(content))
    by_metric = {(f.claim.question, f.claim.subject): f for f in judged if f.claim.metric == "explanation_loss_end"}
    for key, planted_value in ((("grows_by_loss", "base"), 0.5), (("interaction_by_loss", "sep_neg"), 1.0)):
        low, high = by_metric[key].interval[1:]
        assert low < planted_value < high


def test_opposite_effects_do_not_hold_and_none_is_undecided() -> None:
    opposite = findings(planted(slope=-0.5, arm=-1.0))
    for key in (("belief_by_loss", "base_8"), ("grows_by_loss", "base"), ("order_by_loss", "continued_0")):
        assert opposite[key] == record.FAILS
    assert opposite["interaction_by_loss", "sep_pos"] == record.UNDECIDED, "the arms move alike at both budgets"
    nothing = findings(planted())
    assert {verdict for (question, _), verdict in nothing.items() if question != "equal_accuracy"} == {record.UNDECIDED}


def test_an_interaction_of_either_sign_holds() -> None:
    for interaction in (2.0, -2.0):
        assert findings(planted(arm=1.0, interaction=interaction))["interaction_by_loss", "sep_neg"] == record.HOLDS


def test_a_slope_needs_the_same_seed_at_every_budget() -> None:
    content = planted(slope=0.5)
    content["rows"] = [row for row in content["rows"] if not (row["method"] == "base_4" and row["seed"] > 1)]
    assert findings(content)["grows_by_loss", "base"] == record.UNKNOWN
    assert findings(content)["belief_by_loss", "base_8"] == record.HOLDS
