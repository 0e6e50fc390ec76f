"""Verdicts on the paper's claims, each from results planted to hold, to fail and to leave it open."""

import copy

import pytest

from jsep.report import findings, landscape_claims, many_claims, paper, study_claims


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
        (-1e-7, 1e-7, findings.HOLDS),
        (1e-7, 1e-7, findings.FAILS),
        (-1e-7, 0.0, findings.OPEN),
        (0.0, -1e-7, findings.FAILS),  # one part against the claim is enough
    ],
)
def test_order_needs_both_intervals_on_their_side(sep_pos: float, sep_neg: float, verdict: str) -> None:
    found = study_claims.order_at_the_end(make_study(sep_pos, sep_neg))
    assert found.verdict == verdict
    assert found.basis == "3 seeds, 2 pairs"
    assert found.ours.startswith("sep_pos − mat ")


def test_degraded_and_missing_models_are_no_evidence() -> None:
    assert study_claims.order_at_the_end(make_study(-1e-7, 1e-7, degraded=True)).verdict == findings.UNKNOWN
    missing = make_study(-1e-7, 1e-7)
    missing["rows"] = [row for row in missing["rows"] if row["method"] != "sep_neg"]
    missing["statistics"]["comparisons"].pop()
    assert study_claims.order_at_the_end(missing).verdict == findings.UNKNOWN


def test_robust_accuracies_are_equal_within_two_points() -> None:
    study = make_study(-1e-7, 1e-7)
    assert study_claims.equal_accuracy(study).verdict == findings.HOLDS
    for row in study["rows"]:
        row["robust_accuracy"] += 0.005 * (row["method"] == "sep_neg")
    found = study_claims.equal_accuracy(study)
    assert found.verdict == findings.FAILS
    assert found.ours == "2.5 points apart (35.0 to 37.5 %) ± 0.0", "as in every seed"
    # 2 x 200 images cannot tell 2.5 points from 2.
    study["config"] = {"test_images": 200}
    study["rows"] = [row for row in study["rows"] if row["seed"] < 2]
    found = study_claims.equal_accuracy(study)
    half = 196 * ((0.35 * 0.65 + 0.375 * 0.625) / 400) ** 0.5
    assert found.verdict == findings.OPEN
    assert found.ours == f"2.5 points apart (35.0 to 37.5 %) ± {half:.1f}"


def test_published_number_stands_beside_ours_with_the_difference() -> None:
    found = study_claims.loss_of("mat", "end", 16.0, make_study(-1e-7, 1e-7))
    assert (found.paper, found.ours, found.verdict) == ("16", "20 [20, 20] (+25 %)", "")
    assert study_claims.loss_of("trades", "end", 16.0, make_study(-1e-7, 1e-7)).verdict == findings.UNKNOWN


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
    [((2.0,), (0.3,), findings.HOLDS), ((0.3,), (2.0,), findings.FAILS), ((1.0,), (1.02,), findings.OPEN),
     ((2.0, 2.1, 1.9), (0.3, 0.31, 0.29), findings.HOLDS), ((2.0, 0.1, 1.0), (0.3, 1.5, 0.9), findings.OPEN)],
)  # fmt: skip
def test_flatness_is_judged_by_the_interval_of_a_ratio(standard: tuple, mat: tuple, verdict: str) -> None:
    result = make_landscape({"standard": standard, "mat": mat}) | {"pairs": {"victims": list(range(60))}}
    found = landscape_claims.flatter_by_training("cross_entropy", "worst_sharpness", "worst rise", result)
    assert found.verdict == verdict
    assert found.basis.endswith(", 40 images"), "as many as were measured, not as the study has pairs"


def test_ratio_of_means_has_the_interval_of_the_delta_method() -> None:
    ratio = landscape_claims._ratio((2.0, 0.02, 10**9), (1.0, 0.01, 10**9))
    half = 1.959964 * (0.01**2 + 0.01**2) ** 0.5
    assert ratio == pytest.approx((0.5, 0.5 * 2.718281828 ** (-half), 0.5 * 2.718281828**half), rel=1e-5)


def test_trades_weights_are_ordered_as_numbers() -> None:
    rising = make_landscape({"trades 12": (3.0,), "trades 2": (1.0,), "trades 6": (2.0,)})
    assert landscape_claims.rise_together(rising).verdict == findings.HOLDS
    assert landscape_claims.same_landscape("worst_sharpness", "worst rise", rising).verdict == findings.FAILS
    level = make_landscape({"trades 12": (1.0,), "trades 2": (1.0,)})
    assert landscape_claims.rise_together(level).verdict == findings.FAILS
    assert landscape_claims.same_landscape("worst_sharpness", "worst rise", level).verdict == findings.HOLDS


def test_every_explanation_counts() -> None:
    rows = [
        {"trained_with": "gradient_x_input", "method": method, "explained_by": name, "seed": 0,
         "explanation_loss_end": loss}
        for name in ("gradient", "lrp_epsilon") for method, loss in (("sep_pos", 1.0), ("sep_neg", 2.0))
    ]  # fmt: skip
    assert study_claims.pos_below_neg_in_every_method({"rows": rows}).ours == "with 2 of 2"
    other = copy.deepcopy(rows)
    other[-1]["explanation_loss_end"] = 0.5
    found = study_claims.pos_below_neg_in_every_method({"rows": other})
    assert (found.ours, found.verdict) == ("with 1 of 2; not lrp_epsilon", findings.FAILS)


def interval(low: float, high: float) -> dict:
    return {"estimate": (low + high) / 2, "low": low, "high": high}


@pytest.mark.parametrize(
    ("low", "high", "trend", "strength"),
    [
        (-0.9, -0.75, findings.HOLDS, findings.FAILS),
        (-0.6, -0.2, findings.HOLDS, findings.HOLDS),
        (-0.8, 0.1, findings.OPEN, findings.OPEN),
        (0.2, 0.6, findings.FAILS, findings.HOLDS),
    ],
)
def test_rank_correlations_are_judged_by_their_interval(low: float, high: float, trend: str, strength: str) -> None:
    entry = {"metric": "scale_free_loss_end", "side": "both", "num_weights": 9, "num_models": 18, **interval(low, high)}
    found = many_claims.harder_as_the_weight_falls("scale_free_loss_end", {"trends": [entry]})
    assert (found.verdict, found.basis) == (trend, "9 weights, 18 models")
    counted = {
        "subset": "all models", "unit": "models", "measure": "excess_end", "num_models": 18, "num_settings": 9,
        "spearman": interval(low, high),
    }  # fmt: skip
    result = {"correlations": [{**counted, "with_degraded": True}, {**counted, "with_degraded": False}]}
    assert many_claims.not_strongly_correlated("excess_end", "loss / chance", result).verdict == strength
    assert many_claims.not_strongly_correlated("cosine_end", "cosine", result).verdict == findings.UNKNOWN


def test_table_has_a_row_a_question_and_names_what_has_not_been_run() -> None:
    table = paper.paper_table({"digits_sep": make_study(-1e-7, 1e-7)})
    rows = [line for line in table.splitlines() if line.startswith("| ") and "[digits_sep]" in line]
    assert len(rows) == 6
    assert all(line.count("|") == 8 for line in rows)
    assert "Not yet run: " in table
    assert "Table 1: TRADES sweep" in table


@pytest.mark.parametrize(("inter", "verdict"), [(2.0, findings.HOLDS), (0.9, findings.FAILS)])
def test_clusters_are_compared_by_the_loss_and_by_loss_over_chance(inter: float, verdict: str) -> None:
    entries = [
        {"loss_inter": 2.0, "loss_intra": 1.0, "excess_inter": each, "excess_intra": 1.0} for each in (3.0, inter)
    ]
    result = {"clusterings": entries}
    assert many_claims.between_clusters_above_within("loss", "loss", result).ours == "2.00 to 2.00, above 1 in 2 of 2"
    found = many_claims.between_clusters_above_within("excess", "loss / chance", result)
    assert (found.verdict, found.basis) == (verdict, "2 clusterings and models")
    assert many_claims.between_clusters_above_within("loss", "loss", {}).verdict == findings.UNKNOWN


@pytest.mark.parametrize("metric", many_claims.TRENDS)
def test_a_trend_has_the_sign_in_which_falling_weights_make_maps_harder_to_move(metric: str) -> None:
    sign, _ = many_claims.TRENDS[metric]
    for side, verdict in ((sign, findings.HOLDS), (-sign, findings.FAILS)):
        own = interval(*sorted((0.2 * side, 0.6 * side)))
        entry = {"metric": metric, "side": "both", "num_weights": 9, "num_models": 18, **own}
        assert many_claims.harder_as_the_weight_falls(metric, {"trends": [entry]}).verdict == verdict
    assert many_claims.harder_as_the_weight_falls(metric, {"trends": []}).verdict == findings.UNKNOWN


def test_every_judge_answers_a_result_that_has_nothing() -> None:
    for item in paper.PAPER_ITEMS:
        for judge in item.judges:
            answer = judge({"rows": []})
            for found in [answer] if isinstance(answer, findings.Finding) else answer:
                assert found.verdict == findings.UNKNOWN, (item.name, found)


def test_order_table_has_a_row_for_each_study_and_the_verdict_of_each_metric() -> None:
    study = make_study(-1e-7, 1e-7)
    comparisons = study["statistics"]["comparisons"]
    for metric, sign in (("excess_end", 1), ("relative_reduction", -1), ("cosine_end", 1)):
        comparisons += [
            {**c, "metric": metric, **{k: sign * c[k] for k in ("difference", "low", "high")}} for c in comparisons[:2]
        ]
    for entry in comparisons:
        entry["low"], entry["high"] = sorted((entry["low"], entry["high"]))
    *_, row = paper.order_table({"mnist_sep": study, "selection": {}}).splitlines()
    # The cosine rises where it should fall; the accuracies are 2 points apart without spread.
    study_cell = "[Table 2: MNIST, ConvNet](#mnist_sep) (3 seeds, 2 pairs)"
    assert row == f"| {study_cell} | holds | holds | holds | does not hold | holds |"
