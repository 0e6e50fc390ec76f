"""The claims on landscapes: ratios between models of the same seed, planted to hold, to fail and to be left open."""

import dataclasses
import math

import pytest

from jsep import record
from jsep.record import paper
from jsep.record.landscape import log_ratio

QUANTITIES = tuple(
    f"{scalar}/{quantity}"
    for scalar in ("cross_entropy", "explanation_to_own")
    for quantity in ("worst_sharpness", "top_eigenvalue")
)
FLAT = (0.3, 0.31, 0.29)
MIDDLE = (1.0, 1.01, 0.99)
STEEP = (2.0, 2.1, 1.9)


def make_landscape(
    values: dict[str, tuple[float, ...]],
    error: float = 0.02,
    *,
    classification: float | None = None,
    clean: float = 0.9,
) -> dict:
    """Every quantity of a method at its values, one a seed; classification: those of the cross-entropy instead."""
    rows = []
    for method, seeds in values.items():
        for seed, value in enumerate(seeds):
            means = dict.fromkeys((*QUANTITIES, "explanation_loss_end"), value)
            if classification is not None:
                means |= dict.fromkeys(QUANTITIES[:2], classification * (1 + 0.01 * seed))
            numbers = {
                name: {"mean": mean, "standard_error": error * mean, "num_finite": 40} for name, mean in means.items()
            }
            accuracies = {"clean_accuracy": clean, "robust_accuracy": value / 10}
            rows.append({"method": method, "seed": seed, **accuracies, "numbers": numbers})
    pairs = {"victims": list(range(60)), "targets": list(range(60)), "num_images": 400}
    return {"format": 1, "kind": "landscape", "rows": rows, "num_images": 40, "pairs": pairs}


def judged(content: dict) -> dict[str, str]:
    """question -> the worst of its verdicts."""
    found = record.verdicts(record.judge(record.Result.from_dict(content)))
    return {
        name: record.worst(verdict for (question, _), verdict in found.items() if question == name) for name, _ in found
    }


@pytest.mark.parametrize(
    ("standard", "mat", "verdict"),
    [
        (STEEP, FLAT, record.HOLDS),
        (FLAT, STEEP, record.FAILS),
        ((2.0, 0.1, 1.0), (0.3, 1.5, 0.9), record.UNDECIDED),
        (STEEP[:1], FLAT[:1], record.UNKNOWN),
    ],
)
def test_flatness_is_judged_by_ratios_of_the_same_seed(standard: tuple, mat: tuple, verdict: str) -> None:
    content = make_landscape({"standard": standard, "mat": mat})
    assert judged(content) == {"flatter_loss": verdict, "flatter_explanation": verdict}
    found, _ = paper.questions("flatter_loss")(content)
    assert found.verdict == verdict
    assert found.basis.endswith(", 40 images"), "as many as were measured, not as the study has pairs"


def test_sep_moves_the_landscape_of_the_explanation_and_leaves_that_of_the_loss() -> None:
    order = {"mat": MIDDLE, "sep_pos": FLAT, "sep_neg": STEEP}
    held = judged(make_landscape(order, 0.005, classification=1.0))
    assert held == {"sep_landscape": record.HOLDS, "same_loss": record.EQUAL}
    assert judged(make_landscape(order))["same_loss"] == record.FAILS, "all quantities move in this one"
    turned = {"mat": MIDDLE, "sep_pos": STEEP, "sep_neg": FLAT}
    assert judged(make_landscape(turned, classification=1.0))["sep_landscape"] == record.FAILS
    assert judged(make_landscape({"mat": MIDDLE, "sep_pos": FLAT}))["sep_landscape"] == record.UNKNOWN, "one sign alone"


def test_two_seeds_tell_of_their_models_alone() -> None:
    order = {"mat": MIDDLE[:2], "sep_pos": FLAT[:2], "sep_neg": STEEP[:2]}
    findings = record.judge(record.Result.from_dict(make_landscape(order)))
    assert {each.verdict for each in findings} == {record.UNKNOWN}
    first = findings[0]
    assert first.these_models is not None
    assert first.these_models.low < first.interval.estimate < first.these_models.high
    # Seeds are drawn anew in none of it: the width is that of the images.
    assert first.interval.estimate == pytest.approx(math.log(0.3035), abs=0.01)
    assert "2 seeds" in first.reason


def test_degraded_models_are_left_out_and_rows_say_their_baseline() -> None:
    content = make_landscape({"mat": MIDDLE, "sep_pos": FLAT, "sep_neg": STEEP})
    for row in content["rows"]:
        if row["method"] == "sep_pos":
            row["clean_accuracy"] = 0.5
    result = record.Result.from_dict(content)
    assert {(row.method, row.baseline) for row in result.rows} == {
        ("mat", None), ("sep_pos", "mat"), ("sep_neg", "mat"),
    }  # fmt: skip
    assert {row.method for row in result.rows if row.degraded} == {"sep_pos"}
    assert judged(content)["sep_landscape"] == record.UNKNOWN
    # A row that names its fields keeps them.
    own = dataclasses.replace(result.rows[0], baseline="other", degraded=True).as_dict()
    (row,) = record.Result.from_dict({**content, "format": 2, "rows": [own]}).rows
    assert (row.baseline, row.degraded) == ("other", True)


def test_images_add_to_the_uncertainty_of_a_ratio() -> None:
    sure, unsure = (
        log_ratio(*([row["numbers"] for row in rows if row["method"] == m] for m in ("mat", "standard")), QUANTITIES[0])
        for error in (0.01, 0.1)
        for rows in (make_landscape({"standard": STEEP, "mat": FLAT}, error)["rows"],)
    )
    assert sure is not None
    assert unsure is not None
    assert sure.estimate == unsure.estimate
    assert unsure.of_images == pytest.approx(2 * 0.1**2)
    assert unsure.p_value() > sure.p_value()


def test_the_same_landscape_is_a_finding_within_a_factor_and_not_the_absence_of_a_difference() -> None:
    level = {"trades 12": (1.0, 1.01, 0.99), "trades 2": (1.0, 1.0, 1.01)}
    assert judged(make_landscape(level, 0.01))["same_landscape"] == record.EQUAL
    assert judged(make_landscape(level, 0.3))["same_landscape"] == record.UNDECIDED, "too few images to say equal"
    assert judged(make_landscape({"trades 12": STEEP, "trades 2": FLAT}))["same_landscape"] == record.FAILS
    assert judged(make_landscape({"trades 12": STEEP})) == {}


def test_both_robustnesses_rise_with_the_largest_weight_against_the_smallest() -> None:
    rising = {"trades 12": (3.0, 3.1, 2.9), "trades 2": (1.0, 1.1, 1.0), "trades 6": (9.0, 9.0, 9.0)}
    assert judged(make_landscape(rising))["rise_together"] == record.HOLDS
    findings = record.judge(record.Result.from_dict(make_landscape(rising)))
    own = [each.claim.scale for each in findings if each.claim.question == "rise_together"]
    assert own == [record.DIFFERENCE, record.RATIO]
    falling = {"trades 12": rising["trades 2"], "trades 2": rising["trades 12"]}
    assert judged(make_landscape(falling))["rise_together"] == record.FAILS
