"""The statistics of a study find planted differences on shared pairs, and write numbers that JSON can hold."""

import json

import numpy as np
import pytest

from jsep import evaluate
from jsep.study import comparisons


def make_rows(num_seeds: int = 3, num_pairs: int = 40, shift: float = -1.0) -> list[dict]:
    rng = np.random.default_rng(0)
    of_pairs = 8 + 3 * rng.normal(size=num_pairs)
    rows = []
    for method, own in (("sep_pos", shift), ("mat", 0.0), ("sep_neg", 0.0)):
        for seed in range(num_seeds):
            values = of_pairs + own + 0.3 * rng.normal(size=num_pairs)
            per_pair = {name: values.tolist() for name in evaluate.PER_PAIR}
            rows.append(
                {"method": method, "seed": seed, "clean_accuracy": 0.9 + 0.01 * seed, "robust_accuracy": 0.5,
                 "degraded": method == "sep_neg", "per_pair": per_pair}
            )  # fmt: skip
    return rows


def test_planted_difference_is_found_and_no_other() -> None:
    found = comparisons.describe(make_rows())["comparisons"]
    assert {(entry["method"], entry["baseline"]) for entry in found} == {("sep_pos", "mat"), ("sep_neg", "mat")}
    assert len(found) == 2 * len(comparisons.COMPARED)
    for entry in found:
        assert entry["num_pairs"] == 40
        assert entry["num_seeds"] == 3
        if entry["method"] == "sep_pos":
            assert entry["low"] < entry["difference"] < entry["high"] < 0
            assert entry["difference"] == pytest.approx(-1, abs=0.2)
            assert entry["holm_p"] < 0.01
            assert entry["effect_size"] < -2
            assert entry["holm_p"] >= entry["permutation_p"]
        else:
            assert entry["degraded"]


def test_degraded_methods_have_differences_and_no_tests() -> None:
    rows = make_rows()
    entries = {(e["method"], e["metric"]): e for e in comparisons.describe(rows)["comparisons"]}
    for (method, _), entry in entries.items():
        assert np.isfinite(entry["difference"])
        tests = [entry[name] for name in ("wilcoxon_p", "permutation_p", "holm_p")]
        assert (tests == [None] * 3) == (method == "sep_neg")
    # They do not weaken the tests of the others either: Holm's family is that of the tested.
    only = comparisons.describe([row for row in rows if row["method"] != "sep_neg"])["comparisons"]
    assert [e["holm_p"] for e in only] == [e["holm_p"] for k, e in entries.items() if k[0] == "sep_pos"]
    for row in rows:
        row["degraded"] = False
    healthy = comparisons.describe(rows)["comparisons"]
    assert all(entry["holm_p"] > 0.05 for entry in healthy if entry["method"] == "sep_neg")


def test_accuracies_are_compared_on_the_same_images_with_a_named_baseline() -> None:
    rng = np.random.default_rng(1)
    rows = make_rows(num_seeds=1)
    shared = rng.random(500) < 0.7
    of_images = {
        (row["method"], 0): {"robust_accuracy": shared & (rng.random(500) < (0.8 if row["method"] == "mat" else 1.0))}
        for row in rows
    }
    found = comparisons.describe(rows, baseline="sep_pos", of_images=of_images)["comparisons"]
    assert {entry["baseline"] for entry in found} == {"sep_pos"}
    entry = next(e for e in found if (e["method"], e["metric"]) == ("mat", "robust_accuracy"))
    values = [of_images[name, 0]["robust_accuracy"].mean() for name in ("mat", "sep_pos")]
    assert entry["difference"] == pytest.approx(values[0] - values[1])
    assert entry["num_pairs"] == 500
    assert entry["high"] < 0
    assert entry["holm_p"] < 0.01


def test_intervals_are_those_of_evaluate() -> None:
    rows = make_rows()
    found = comparisons.describe(rows)
    entry = next(e for e in found["over_seeds"] if (e["method"], e["metric"]) == ("mat", "clean_accuracy"))
    assert (entry["mean"], entry["low"], entry["high"]) == tuple(evaluate.t_interval([0.9, 0.91, 0.92]))
    entry = next(e for e in found["over_seeds_and_pairs"] if e["method"] == "sep_neg")
    table = np.array([row["per_pair"][entry["metric"]] for row in rows if row["method"] == "sep_neg"])
    assert (entry["mean"], entry["low"], entry["high"]) == tuple(evaluate.crossed_interval(table))


def test_one_seed_missing_values_and_no_baseline_leave_gaps_and_not_nan() -> None:
    one = comparisons.describe(make_rows(num_seeds=1))
    assert one["over_seeds"][0]["low"] is None
    json.dumps(one, allow_nan=False)
    older = make_rows()
    for row in older:
        del row["per_pair"]
    assert comparisons.describe(older)["comparisons"] == []
    assert comparisons.describe([row for row in make_rows() if row["method"] != "mat"])["comparisons"] == []


def test_only_shared_seeds_are_compared() -> None:
    rows = [row for row in make_rows() if (row["method"], row["seed"]) != ("sep_pos", 2)]
    assert {e["num_seeds"] for e in comparisons.describe(rows)["comparisons"] if e["method"] == "sep_pos"} == {2}
