"""The paper's items: each question asked of each result, planted to hold, to fail and to leave it open."""

import pytest
from planted import planted_result

from jsep import record
from jsep.record import many, paper, paper_items


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
