"""Verdicts on the paper's claims, each from results planted to hold, to fail and to leave it open."""

import copy

import pytest

from jsep.report import paper


def make_study(sep_pos: float, sep_neg: float, half: float = 1e-8, degraded: bool = False) -> dict:
    """A study whose losses at the end differ from MAT's by `sep_pos` and `sep_neg`, each ± `half`."""
    rows = [
        {"method": method, "seed": seed, "sep_weight": 0.0, "robust_accuracy": 0.35 + 0.01 * place,
         "explanation_loss_start": 2e-6, "explanation_loss_end": 1e-6 * (1 + place), "degraded": False}
        for place, method in enumerate(("sep_pos", "mat", "sep_neg")) for seed in range(3)
    ]  # fmt: skip
    comparisons = [
        {"method": method, "baseline": "mat", "metric": "explanation_loss_end", "difference": value,
         "low": value - half, "high": value + half, "degraded": degraded}
        for method, value in (("sep_pos", sep_pos), ("sep_neg", sep_neg))
    ]  # fmt: skip
    return {"rows": rows, "pairs": {"victims": [0, 1]}, "statistics": {"comparisons": comparisons}}


@pytest.mark.parametrize(
    ("sep_pos", "sep_neg", "verdict"),
    [
        (-1e-7, 1e-7, paper.HOLDS),
        (1e-7, 1e-7, paper.FAILS),
        (-1e-7, 0.0, paper.OPEN),
        (0.0, -1e-7, paper.FAILS),  # one part against the claim is enough
    ],
)
def test_order_needs_both_intervals_on_their_side(sep_pos: float, sep_neg: float, verdict: str) -> None:
    found = paper.order_at_the_end(make_study(sep_pos, sep_neg))
    assert found.verdict == verdict
    assert found.basis == "3 seeds, 2 pairs"
    assert found.ours.startswith("sep_pos − mat ")


def test_degraded_and_missing_models_are_no_evidence() -> None:
    assert paper.order_at_the_end(make_study(-1e-7, 1e-7, degraded=True)).verdict == paper.UNKNOWN
    missing = make_study(-1e-7, 1e-7)
    del missing["statistics"]
    assert paper.order_at_the_end(missing).verdict == paper.UNKNOWN


def test_robust_accuracies_are_equal_within_two_points() -> None:
    study = make_study(-1e-7, 1e-7)
    assert paper.equal_robust_accuracy(study).verdict == paper.HOLDS
    for row in study["rows"]:
        row["robust_accuracy"] += 0.005 * (row["method"] == "sep_neg")
    found = paper.equal_robust_accuracy(study)
    assert found.verdict == paper.FAILS
    assert found.ours == "2.5 points apart (35.0 to 37.5 %)"
    # 3 x 200 images cannot tell 2.5 points from 2.
    study["config"] = {"test_images": 200}
    found = paper.equal_robust_accuracy(study)
    half = 196 * ((0.35 * 0.65 + 0.375 * 0.625) / 600) ** 0.5
    assert found.verdict == paper.OPEN
    assert found.ours == f"2.5 points apart (35.0 to 37.5 %) ± {half:.1f}"


def test_published_number_stands_beside_ours_with_the_difference() -> None:
    found = paper.loss_of("mat", "end", 16.0, make_study(-1e-7, 1e-7))
    assert (found.paper, found.ours, found.verdict) == ("16", "20 (+25 %)", "")
    assert paper.loss_of("trades", "end", 16.0, make_study(-1e-7, 1e-7)).verdict == paper.UNKNOWN


def make_landscape(values: dict[str, tuple[float, ...]], error: float = 0.05) -> dict:
    names = ("cross_entropy/worst_sharpness", "explanation_to_own/worst_sharpness", "explanation_loss_end")
    rows = [
        {"method": method, "seed": seed, "robust_accuracy": value / 10,
         "numbers": {name: {"mean": value, "standard_error": error * value, "num_finite": 40} for name in names}}
        for method, seeds in values.items() for seed, value in enumerate(seeds)
    ]  # fmt: skip
    return {"rows": rows, "num_images": 40}


@pytest.mark.parametrize(
    ("standard", "mat", "verdict"),
    [((2.0,), (0.3,), paper.HOLDS), ((0.3,), (2.0,), paper.FAILS), ((1.0,), (1.02,), paper.OPEN),
     ((2.0, 2.1, 1.9), (0.3, 0.31, 0.29), paper.HOLDS), ((2.0, 0.1, 1.0), (0.3, 1.5, 0.9), paper.OPEN)],
)  # fmt: skip
def test_flatness_is_judged_by_the_interval_of_a_ratio(standard: tuple, mat: tuple, verdict: str) -> None:
    result = make_landscape({"standard": standard, "mat": mat}) | {"pairs": {"victims": list(range(60))}}
    found = paper.flatter_by_training("cross_entropy", "worst_sharpness", "worst rise", result)
    assert found.verdict == verdict
    assert found.basis.endswith(", 40 images"), "as many as were measured, not as the study has pairs"


def test_ratio_of_means_has_the_interval_of_the_delta_method() -> None:
    ratio = paper._ratio((2.0, 0.02, 10**9), (1.0, 0.01, 10**9))
    half = 1.959964 * (0.01**2 + 0.01**2) ** 0.5
    assert ratio == pytest.approx((0.5, 0.5 * 2.718281828 ** (-half), 0.5 * 2.718281828**half), rel=1e-5)


def test_trades_weights_are_ordered_as_numbers() -> None:
    rising = make_landscape({"trades 12": (3.0,), "trades 2": (1.0,), "trades 6": (2.0,)})
    assert paper.rise_together(rising).verdict == paper.HOLDS
    assert paper.same_landscape("worst_sharpness", "worst rise", rising).verdict == paper.FAILS
    level = make_landscape({"trades 12": (1.0,), "trades 2": (1.0,)})
    assert paper.rise_together(level).verdict == paper.FAILS
    assert paper.same_landscape("worst_sharpness", "worst rise", level).verdict == paper.HOLDS


def test_every_explanation_counts() -> None:
    rows = [
        {"trained_with": "gradient_x_input", "method": method, "explained_by": name, "seed": 0,
         "explanation_loss_end": loss}
        for name in ("gradient", "lrp_epsilon") for method, loss in (("sep_pos", 1.0), ("sep_neg", 2.0))
    ]  # fmt: skip
    assert paper.pos_below_neg_in_every_method({"rows": rows}).ours == "with 2 of 2"
    other = copy.deepcopy(rows)
    other[-1]["explanation_loss_end"] = 0.5
    found = paper.pos_below_neg_in_every_method({"rows": other})
    assert (found.ours, found.verdict) == ("with 1 of 2; not lrp_epsilon", paper.FAILS)


def interval(low: float, high: float) -> dict:
    return {"estimate": (low + high) / 2, "low": low, "high": high}


@pytest.mark.parametrize(
    ("low", "high", "trend", "strength"),
    [
        (-0.9, -0.75, paper.HOLDS, paper.FAILS),
        (-0.6, -0.2, paper.HOLDS, paper.HOLDS),
        (-0.8, 0.1, paper.OPEN, paper.OPEN),
        (0.2, 0.6, paper.FAILS, paper.HOLDS),
    ],
)
def test_rank_correlations_are_judged_by_their_interval(low: float, high: float, trend: str, strength: str) -> None:
    entry = {"metric": "scale_free_loss_end", "side": "both", "num_weights": 9, "num_models": 18, **interval(low, high)}
    found = paper.grows_as_the_weight_falls({"trends": [entry]})
    assert (found.verdict, found.basis) == (trend, "9 weights, 18 models")
    counted = {
        "subset": "all models", "unit": "models", "measure": "excess_end", "num_models": 18, "num_settings": 9,
        "spearman": interval(low, high),
    }  # fmt: skip
    result = {"correlations": [{**counted, "with_degraded": True}, {**counted, "with_degraded": False}]}
    assert paper.not_strongly_correlated("excess_end", "loss / chance", result).verdict == strength
    assert paper.not_strongly_correlated("cosine_end", "cosine", result).verdict == paper.UNKNOWN


def test_table_has_a_row_a_question_and_names_what_has_not_been_run() -> None:
    table = paper.paper_table({"digits_sep": make_study(-1e-7, 1e-7)})
    rows = [line for line in table.splitlines() if line.startswith("| ") and "[digits_sep]" in line]
    assert len(rows) == 2
    assert all(line.count("|") == 8 for line in rows)
    assert "Not yet run: " in table
    assert "Table 1: TRADES sweep" in table
