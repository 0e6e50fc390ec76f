"""The paper's items: each question asked of each result, planted to hold, to fail and to leave it open."""

import pytest
from planted import planted_result

from jsep import record
from jsep.record import landscape, many, paper, paper_items

NAMES = {
    "cross_entropy/worst_sharpness": "worst rise of the cross-entropy",
    "explanation_to_own/worst_sharpness": "worst rise of the loss",
}


def make_landscape(values: dict[str, tuple[float, ...]], error: float = 0.02) -> dict:
    rows = [
        {"method": method, "seed": seed, "robust_accuracy": value / 10,
         "numbers": {name: {"mean": value, "standard_error": error * value, "num_finite": 40}
                     for name in (*NAMES, "explanation_loss_end")}}
        for method, seeds in values.items() for seed, value in enumerate(seeds)
    ]  # fmt: skip
    return {"format": 1, "rows": rows, "num_images": 40}


FLAT = (0.3, 0.31, 0.29)
STEEP = (2.0, 2.1, 1.9)


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
    result = make_landscape({"standard": standard, "mat": mat}) | {"pairs": {"victims": list(range(60))}}
    (found,) = landscape.flatter_by_training({"cross_entropy/worst_sharpness": "worst rise"})(result)
    assert found.verdict == verdict
    assert found.basis.endswith(", 40 images"), "as many as were measured, not as the study has pairs"


def test_images_add_to_the_uncertainty_of_a_ratio() -> None:
    sure, unsure = (
        landscape.log_ratio(make_landscape({"standard": STEEP, "mat": FLAT}, error), "mat", "standard", name)
        for error in (0.01, 0.1)
        for name in ("cross_entropy/worst_sharpness",)
    )
    assert sure is not None
    assert unsure is not None
    assert sure.estimate == unsure.estimate
    assert unsure.of_images == pytest.approx(2 * 0.1**2)
    assert unsure.p_value() > sure.p_value()


def test_the_same_landscape_is_a_finding_within_a_factor_and_not_the_absence_of_a_difference() -> None:
    same = landscape.same_landscape({"explanation_to_own/worst_sharpness": "worst rise"})
    level = {"trades 12": (1.0, 1.01, 0.99), "trades 2": (1.0, 1.0, 1.01)}
    assert same(make_landscape(level, 0.01))[0].verdict == record.EQUAL
    assert same(make_landscape(level, 0.3))[0].verdict == record.UNDECIDED, "too few images to say equal"
    assert same(make_landscape({"trades 12": STEEP, "trades 2": FLAT}))[0].verdict == record.FAILS
    assert same(make_landscape({"trades 12": STEEP}))[0].verdict == record.UNKNOWN


def test_both_robustnesses_rise_with_the_largest_weight_against_the_smallest() -> None:
    rising = {"trades 12": (3.0, 3.1, 2.9), "trades 2": (1.0, 1.1, 1.0), "trades 6": (9.0, 9.0, 9.0)}
    (found,) = landscape.rise_together(make_landscape(rising))
    assert found.verdict == record.HOLDS
    assert [f.claim.scale for f in found.findings] == [record.DIFFERENCE, record.RATIO]
    falling = {"trades 12": rising["trades 2"], "trades 2": rising["trades 12"]}
    assert landscape.rise_together(make_landscape(falling))[0].verdict == record.FAILS


def test_published_number_stands_beside_ours_with_the_difference() -> None:
    (found,) = paper.published("mat", "explanation_loss_end", 800.0)(planted_result(1e-5))
    assert found.published == 800
    assert found.number is not None
    assert 1000 < found.number.low < found.number.estimate < found.number.high < 1100
    assert found.verdict == ""
    (missing,) = paper.published("trades", "explanation_loss_end", 800.0)(planted_result(1e-5))
    assert missing.verdict == record.UNKNOWN


def test_the_attack_works_where_the_loss_falls() -> None:
    (found,) = paper.attack_works("mat")(planted_result(1e-5))
    assert found.verdict == record.HOLDS
    assert "label kept 100.0 %" in found.note
    assert paper.attack_works("trades")(planted_result(1e-5))[0].verdict == record.UNKNOWN


def make_matrix(effects: dict[str, float], **changes) -> dict:
    """A matrix of explanations whose SEP models were trained with gradient_x_input."""
    rows = []
    for explanation, effect in effects.items():
        for row in planted_result(effect, **changes)["rows"]:
            rows.append({**row, "explained_by": explanation, "trained_with": "gradient_x_input"})
    return {**planted_result(0.0), "rows": rows, "kind": "cross_method"}


def test_every_explanation_counts() -> None:
    assert paper.sharpened_above_flattened(make_matrix({"a": 2e-5, "b": 2e-5}))[0].verdict == record.HOLDS
    (found,) = paper.sharpened_above_flattened(make_matrix({"a": 2e-5, "b": -2e-5}))
    assert found.verdict == record.FAILS
    assert [f.claim.subject for f in found.findings] == ["a", "b"]
    assert found.findings[1].interval.estimate < 0
    (one,) = paper.sharpened_above_flattened(make_matrix({"a": 2e-5}, num_seeds=1))
    assert one.verdict == record.UNKNOWN
    assert paper.sharpened_above_flattened({"format": 1, "rows": []})[0].verdict == record.UNKNOWN


def test_a_cell_of_the_matrix_is_judged_as_a_study() -> None:
    name = "gradient_x_input"
    matrix = make_matrix({name: 2e-5, "other": -2e-5})
    rows = paper.questions_in_cell(name, "order_by_loss", "equal_accuracy")(matrix)
    found = {row.subject: row.verdict for row in rows}
    assert found == {
        "Gradient x Input: loss left by the attack (MAT)": record.HOLDS,
        "Gradient x Input: equal robust accuracy (MAT)": record.EQUAL,
    }


def interval(low: float, high: float) -> dict:
    return {"estimate": (low + high) / 2, "low": low, "high": high}


@pytest.mark.parametrize(
    ("low", "high", "trend", "strength"),
    [
        (-0.9, -0.8, record.HOLDS, record.FAILS),
        (-0.6, -0.2, record.HOLDS, record.EQUAL),
        (-0.8, 0.1, record.UNDECIDED, record.UNDECIDED),
        (0.2, 0.6, record.FAILS, record.EQUAL),
    ],
)
def test_rank_correlations_are_judged_by_their_interval(low: float, high: float, trend: str, strength: str) -> None:
    entry = {"metric": "scale_free_loss_end", "side": "both", "num_weights": 9, "num_models": 18, **interval(low, high)}
    found = many.harder_as_the_weight_falls({"format": 1, "trends": [entry]})
    by_what = {row.subject: row for row in found}
    row = by_what["rank correlation of SEP weight and loss at end"]
    assert (row.verdict, row.basis) == (trend, "9 weights, 18 models")
    assert [each.verdict for each in found].count(record.UNKNOWN) == 3
    counted = {
        "subset": "all models", "unit": "models", "measure": "excess_end", "num_models": 18, "num_settings": 9,
        "spearman": interval(low, high),
    }  # fmt: skip
    result = {"format": 1, "correlations": [{**counted, "with_degraded": True}, {**counted, "with_degraded": False}]}
    asked = many.not_strongly_correlated({"one_minus_concordance_end": "1 − concordance", "cosine_end": "cosine"})
    verdicts = {row.subject.rsplit("and ")[-1]: row.verdict for row in asked(result)}
    assert verdicts == {"1 − concordance": strength, "cosine": record.UNKNOWN}


@pytest.mark.parametrize("metric", many.TRENDS)
def test_a_trend_has_the_sign_in_which_falling_weights_make_maps_harder_to_move(metric: str) -> None:
    rises = metric in ("relative_reduction", "cosine_end")
    for side, verdict in ((1 if rises else -1, record.HOLDS), (-1 if rises else 1, record.FAILS)):
        own = interval(*sorted((0.3 * side, 0.6 * side)))
        entry = {"metric": metric, "side": "both", "num_weights": 9, "num_models": 18, **own}
        found = many.harder_as_the_weight_falls({"format": 1, "trends": [entry]})
        assert verdict in {row.verdict for row in found}


@pytest.mark.parametrize(("inter", "verdict"), [(2.0, record.HOLDS), (0.5, record.FAILS)])
def test_clusters_are_compared_over_models_by_the_loss_and_by_one_minus_concordance(inter: float, verdict: str) -> None:
    entries = [
        {"model": f"mat_seed{seed}", "loss_inter": 2.0 + 0.01 * seed, "loss_intra": 1.0,
         "excess_inter": inter + 0.01 * seed, "excess_intra": 1.0}
        for seed in range(4) for _ in range(3)
    ]  # fmt: skip
    asked = many.between_clusters_above_within({"loss": "loss", "one_minus_concordance": "1 − concordance"})
    loss, other = asked({"format": 1, "clusterings": entries})
    assert loss.verdict == record.HOLDS
    assert other.verdict == verdict
    assert loss.basis == "4 models, 12 clusterings of them"
    assert {row.verdict for row in asked({"format": 1})} == {record.UNKNOWN}


def test_every_item_answers_a_result_that_has_nothing() -> None:
    for item in paper_items.PAPER_ITEMS:
        for ask in item.asks:
            for row in ask({"format": 1, "rows": []}):
                assert row.verdict == record.UNKNOWN, (item.name, row)


def test_trends_of_all_sides_are_one_family() -> None:
    """One trend, tested alone or beside those of the other sides: its corrected p grows with the number of tests."""
    trend = {
        "metric": many.TRENDS[0], "side": "negative", "estimate": -0.8, "low": -0.95, "high": -0.3,
        "num_weights": 9, "num_models": 27,
    }  # fmt: skip
    weak = {**trend, "estimate": -0.1, "low": -0.5, "high": 0.4}
    others = [{**weak, "side": "both"}, {**weak, "side": "positive"}]
    (alone, *_), (beside, *_) = (
        many.harder_as_the_weight_falls({"format": 1, "trends": trends}, "negative")
        for trends in ([trend], [trend, *others])
    )
    assert alone.findings[0].corrected_p == alone.findings[0].p
    assert beside.findings[0].corrected_p == pytest.approx(3 * alone.findings[0].p)
