"""The numbers and claims of a study, each from results planted to hold, to fail and to leave it open."""

import math

import pytest

from jsep.report import study_claims as claims
from jsep.report.findings import FAILS, HOLDS, OPEN, UNKNOWN, of_pairs, paired_difference, t_interval

PLACES = (-1.5, -0.5, 0.5, 1.5)
"""What the pairs add to a value, so that differences are the same in each of them but for `noise`."""


def make_study(
    values: dict[str, tuple[float, float, float]],
    names: tuple[str, ...] = claims.MAT,
    noise: float = 0.01,
    **row: float,
) -> dict:
    """Two seeds of SEP_pos, the method without it and SEP_neg, with these values a metric in their pairs."""
    rows = []
    for place, method in enumerate(names):
        for seed in range(2):
            of_pairs = {
                metric: [means[place] + 0.1 * abs(means[1]) * at + noise * means[1] * (-1) ** (pair + place) * seed
                         for pair, at in enumerate(PLACES)]
                for metric, means in values.items()
            }  # fmt: skip
            own = {metric: sum(each) / len(each) for metric, each in of_pairs.items()}
            rows.append({"method": method, "seed": seed, "degraded": False, "per_pair": of_pairs, **own, **row})
    return {"rows": rows, "pairs": {"victims": [0] * len(PLACES)}, "config": {}}


RISES, FALLS, LEVEL = (1.0, 2.0, 3.0), (3.0, 2.0, 1.0), (2.0, 2.0, 2.0)


@pytest.mark.parametrize(("values", "verdict"), [(RISES, HOLDS), (FALLS, FAILS), (LEVEL, OPEN)])
def test_a_robust_map_has_a_higher_loss_over_chance_a_lower_cosine_and_fewer_pixels(
    values: tuple, verdict: str
) -> None:
    turned = tuple(reversed(values))
    study = make_study({"excess_end": values, "cosine_end": turned, "effective_pixels": turned})
    for metric in ("excess_end", "cosine_end"):
        found = claims.order_without_concentration(metric, study)
        assert (found.verdict, found.basis) == (verdict, "2 seeds, 4 pairs"), metric
    assert claims.order_of_effective_pixels(study).verdict == verdict
    assert claims.order_without_concentration("excess_end", {"rows": []}).verdict == UNKNOWN


def test_share_removed_is_that_of_the_mean_losses() -> None:
    start, end = (4.0, 4.0, 4.0), (1.0, 2.0, 3.0)
    study = make_study({"explanation_loss_start": start, "explanation_loss_end": end})
    for method, removed in zip(claims.MAT, (0.75, 0.5, 0.25), strict=True):
        values = of_pairs([row for row in study["rows"] if row["method"] == method], "relative_reduction")
        assert sum(values) / len(values) == pytest.approx(removed)
    assert claims.order_without_concentration("relative_reduction", study).verdict == HOLDS
    assert claims.order_at_the_end(study).verdict == HOLDS, "without statistics, of the pairs themselves"


def test_sep_on_top_of_trades_is_compared_with_trades_whatever_the_statistics_compare() -> None:
    names = claims.TRADES
    study = make_study({"explanation_loss_end": RISES, "excess_end": FALLS}, names, robust_accuracy=0.5)
    entry = {"method": "trades_sep_pos", "baseline": "mat", "metric": "explanation_loss_end", "difference": 9.0}
    study["statistics"] = {"comparisons": [entry | {"low": 8.0, "high": 10.0, "degraded": False}]}
    found = claims.order_at_the_end(study, methods=names)
    assert (found.paper, found.verdict) == ("trades_sep_pos < trades < trades_sep_neg", HOLDS)
    assert claims.order_without_concentration("excess_end", study, methods=names).verdict == FAILS
    assert claims.equal_accuracy(study, methods=names).verdict == HOLDS
    assert claims.order_at_the_end(study).verdict == UNKNOWN, "no mat"


def test_seeds_speak_where_pairs_were_not_kept_and_one_of_them_gives_no_interval() -> None:
    study = make_study({"effective_pixels": FALLS})
    for row in study["rows"]:
        del row["per_pair"]
    found = paired_difference(study, "sep_neg", "mat", "effective_pixels")
    differences = [
        study["rows"][4 + seed]["effective_pixels"] - study["rows"][2 + seed]["effective_pixels"] for seed in (0, 1)
    ]
    assert found == pytest.approx(t_interval(differences))
    study["rows"] = [row for row in study["rows"] if row["seed"] == 0]
    found = claims.order_of_effective_pixels(study)
    assert (found.verdict, found.ours) == (UNKNOWN, "sep_pos − mat +1, sep_neg − mat -1")


def test_students_interval_of_two_values() -> None:
    # 12.7062 is the 0.975 quantile with one degree of freedom, and the standard error of 1 and 3 is 1.
    assert t_interval([1.0, 3.0]) == pytest.approx((2.0, 2.0 - 12.7062, 2.0 + 12.7062), rel=1e-5)
    assert math.isnan(t_interval([1.0]).low)


def test_accuracies_are_equal_when_the_whole_interval_is_within_two_points() -> None:
    study = make_study({"robust_accuracy": (0.350, 0.355, 0.345)}, noise=0.0)
    for row in study["rows"]:
        del row["per_pair"]
    assert claims.equal_accuracy(study).ours == "1.0 points apart (34.5 to 35.5 %) ± 0.0"
    for images, verdict in ((10_000, HOLDS), (500, OPEN)):
        study["config"] = {"test_images": images}
        assert claims.equal_accuracy(study).verdict == verdict, images
    # A third seed speaks of the same images.
    third = [row | {"seed": 2, "robust_accuracy": row["robust_accuracy"] + 0.03} for row in study["rows"][::2]]
    three = study | {"rows": [*study["rows"], *third]}
    assert claims.equal_accuracy(three).verdict == HOLDS
    third[2]["robust_accuracy"] -= 0.03
    assert claims.equal_accuracy(three).verdict == OPEN
    for row in study["rows"]:
        row["degraded"] = row["method"] == "sep_neg"
    found = claims.equal_accuracy(study)
    assert found.verdict == UNKNOWN
    assert found.ours.endswith("(sep_neg degraded)")


def test_published_accuracy_stands_beside_ours_with_the_interval_over_the_seeds() -> None:
    study = {
        "rows": [{"method": "mat", "seed": seed, "clean_accuracy": value} for seed, value in enumerate((0.6, 0.64))]
    }
    found = claims.accuracy_of("mat", "clean", 67.22, study)
    assert found.ours == f"62.0 [{62 - 2 * 12.7062:.1f}, {62 + 2 * 12.7062:.1f}] (-5.2 points)"
    assert (found.paper, found.verdict) == ("67.22", "")
    assert claims.accuracy_of("sep_neg", "clean", 39.17, study).verdict == UNKNOWN


@pytest.mark.parametrize(("end", "verdict"), [(1.0, HOLDS), (4.0, FAILS), (2.0, OPEN)])
def test_attack_is_judged_by_the_loss_and_shows_the_prediction_and_the_size(end: float, verdict: str) -> None:
    values = {"explanation_loss_start": (2e-7,) * 3, "explanation_loss_end": (end * 1e-7,) * 3}
    study = make_study(values, label_kept=0.95, perturbation_size=0.031)
    study["config"] = {"explanation_epsilon": 8 / 255}
    if end == 2.0:
        study["rows"][2]["per_pair"]["explanation_loss_end"] = [1e-7, 3e-7, 1e-7, 3e-7]
    found = claims.attack_works("mat", study)
    assert found.verdict == verdict
    assert found.ours.endswith("prediction kept 95.0 %, change 0.031 in linf, inside 8/255")
    assert claims.attack_works("standard", study).verdict == UNKNOWN


@pytest.mark.parametrize(
    ("noise", "robust", "verdict"),
    [(0.08, 0.801, HOLDS), (0.08, 0.70, FAILS), (0.08, 0.79, OPEN), (0.1, 0.70, "")],
)
def test_a_rival_is_judged_where_its_maps_are_more_stable(noise: float, robust: float, verdict: str) -> None:
    rows = [
        {"method": method, "seed": seed, "noise_sensitivity": own_noise, "robust_accuracy": own_robust + jitter,
         "excess_end": 0.5 + 0.01 * seed}
        for method, own_noise, own_robust in (("mat", 0.09, 0.8), ("mat_lga@1", noise, robust))
        for seed, jitter in enumerate((0.0, 0.002 if robust == 0.79 and method == "mat" else 0.0))
    ]  # fmt: skip
    (found,) = claims.rivals({"rows": rows})
    assert found.verdict == verdict, found.ours
    assert found.what.startswith("mat_lga@1: ")
    assert "loss / chance at the end +0.000" in found.ours
    assert claims.rivals({"rows": rows[:2]})[0].verdict == UNKNOWN
    rows[-1]["degraded"] = True
    assert claims.rivals({"rows": rows})[0].verdict == UNKNOWN


def make_matrix(sign: int, degraded: bool = False) -> dict:
    entries = [
        {"trained_with": trained, "explained_by": tested, "method": method, "baseline": "mat", "metric": metric,
         "difference": side * sign * 1e-7, "low": side * sign * 1e-7 - 1e-8, "high": side * sign * 1e-7 + 1e-8,
         "num_pairs": 24, "degraded": degraded}
        for trained in ("gradient", "guided_backprop") for tested in ("gradient", "guided_backprop")
        for method, side in (("sep_pos", -1 if trained == tested else 1), ("sep_neg", 1 if trained == tested else -1))
        for metric in ("explanation_loss_end", "excess_end")
    ]  # fmt: skip
    rows = [
        {"trained_with": trained, "explained_by": tested, "method": method, "seed": seed, "clean_accuracy": 0.5,
         "robust_accuracy": 0.4 if trained == "gradient" else 0.3 + 0.1 * (method == "sep_pos"),
         "explanation_loss_start": 1e-6 if trained == tested else 2e-6}
        for trained in ("gradient", "guided_backprop") for tested in ("gradient", "guided_backprop")
        for method in claims.MAT if method != "mat" or trained == "gradient" for seed in range(3)
    ]  # fmt: skip
    return {"rows": rows, "comparisons": entries}


def test_cells_of_the_matrix_are_those_of_one_explanation_alone() -> None:
    found = claims.order_in_cell("gradient", "explanation_loss_end", make_matrix(1))
    assert (found.verdict, found.basis) == (HOLDS, "3 seeds, 24 pairs")
    assert found.what == "gradient: explanation loss at the end"
    assert claims.order_in_cell("guided_backprop", "excess_end", make_matrix(-1)).verdict == FAILS
    assert claims.order_in_cell("gradient", "excess_end", make_matrix(1, degraded=True)).verdict == UNKNOWN
    assert claims.order_in_cell("lrp_epsilon", "excess_end", make_matrix(1)).verdict == UNKNOWN
    number = claims.number_in_cell("gradient", "sep_neg", "explanation_loss_start", 8282.99, make_matrix(1))
    assert number.ours == "10 [10, 10] (-100 %)"
    assert claims.number_in_cell("gradient", "sep_neg", "clean_accuracy", 49.38, make_matrix(1)).basis == "3 seeds"
    assert claims.equal_accuracy_in_cell("gradient", make_matrix(1)).verdict == HOLDS
    found = claims.equal_accuracy_in_cell("guided_backprop", make_matrix(1))
    assert (found.what, found.verdict) == ("guided_backprop: robust accuracy", FAILS)
