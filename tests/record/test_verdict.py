"""One engine of verdicts: right where an effect is planted, silent where there is none, and honest about few seeds."""

import math

import numpy as np
import pytest
from planted import planted_result

from jsep import record, stats
from jsep.record.verdict import finding_of


def verdicts(content: dict) -> dict[str, str]:
    """question -> verdict; the results here have one subject a question."""
    return {
        name: verdict for (name, _), verdict in record.verdicts(record.judge(record.Result.from_dict(content))).items()
    }


ORDERS = ("order_by_loss", "order_by_concordance", "order_by_share", "order_by_cosine")


def test_a_clear_effect_holds_and_its_opposite_does_not() -> None:
    clear, opposite = verdicts(planted_result(2e-5)), verdicts(planted_result(-2e-5))
    assert [clear[name] for name in ORDERS] == [record.HOLDS] * 4
    assert [opposite[name] for name in ORDERS] == [record.FAILS] * 4
    assert clear["belief_by_loss"] == record.HOLDS
    assert opposite["belief_by_loss"] == record.FAILS
    assert clear["equal_accuracy"] == opposite["equal_accuracy"] == record.EQUAL


def test_no_effect_is_undecided_and_says_so_without_an_order() -> None:
    found = verdicts(planted_result(0.0))
    assert {found[name] for name in (*ORDERS, "belief_by_loss", "belief_by_share")} == {record.UNDECIDED}


def test_fewer_than_three_seeds_cannot_tell_and_say_what_holds_of_these_models() -> None:
    for num_seeds in (1, 2):
        findings = record.judge(record.Result.from_dict(planted_result(2e-5, num_seeds=num_seeds)))
        assert {finding.verdict for finding in findings} == {record.UNKNOWN}
        first = findings[0]
        assert first.these_models is not None
        assert first.these_models.high < 0, "these very models do differ"
        assert f"{num_seeds} seed" in first.reason
        assert math.isnan(first.corrected_p)


def test_degraded_models_are_no_evidence() -> None:
    one = record.judge(record.Result.from_dict(planted_result(2e-5, degraded=(("sep_neg", 0),))))
    kept = next(f for f in one if f.claim.method == "sep_neg" and f.claim.question == "order_by_loss")
    assert kept.mean is not None
    assert kept.mean.num_seeds == 4
    assert "1 of 5 seeds left out: degraded" in kept.reason
    assert kept.verdict == record.HOLDS
    several = verdicts(planted_result(2e-5, degraded=(("sep_neg", 0), ("sep_neg", 3))))
    assert several["order_by_loss"] == record.UNKNOWN
    assert several["belief_by_loss"] == record.HOLDS, "only what it takes part in"
    every = verdicts(planted_result(2e-5, degraded=tuple(("sep_neg", seed) for seed in range(5))))
    assert every["order_by_loss"] == record.UNKNOWN


def test_equal_is_a_finding_of_its_own_and_never_the_absence_of_a_difference() -> None:
    assert verdicts(planted_result(0.0))["equal_accuracy"] == record.EQUAL
    assert verdicts(planted_result(0.0, accuracy_shift=0.1))["equal_accuracy"] == record.FAILS
    # Three equal means of few images are not equal models: 200 images cannot tell 2 points.
    few = planted_result(0.0, num_seeds=3, num_images=200)
    for row in few["rows"]:
        row["robust_accuracy"] = 0.5
    assert verdicts(few)["equal_accuracy"] == record.UNDECIDED


def test_single_images_are_used_where_they_are_kept() -> None:
    """Two models that are right on the same images differ by nothing, however few the images are."""
    content = planted_result(0.0, num_images=400)
    rng = np.random.default_rng(0)
    correct = rng.random(400) < 0.5
    for row in content["rows"]:
        row["per_image"] = {"robust_accuracy": record.pack_correct(correct)}
        row["robust_accuracy"] = float(correct.mean())
    assert verdicts(content)["equal_accuracy"] == record.EQUAL
    for row in content["rows"]:
        own = rng.random(400) < 0.5
        row["per_image"] = {"robust_accuracy": record.pack_correct(own)}
        row["robust_accuracy"] = float(own.mean())
    assert verdicts(content)["equal_accuracy"] == record.UNDECIDED


def test_the_corrected_p_decides_and_the_interval_alone_does_not() -> None:
    """A difference whose interval leaves out 0, in a family of many: undecided, and how many seeds would decide."""
    claims = [record.Claim("order_by_loss", "mat", "explanation_loss_end", f"m{i}", "mat", 1) for i in range(14)]
    rng = np.random.default_rng(1)
    values = np.array([1.0, 1.4, 0.6, 1.2])
    first = [finding_of(claims[0], stats.mean_over_seeds(values))]
    first += [finding_of(claim, stats.mean_over_seeds(rng.normal(size=4))) for claim in claims[1:]]
    alone = record.decide(first[:1])[0]
    among = record.decide(first)[0]
    assert alone.verdict == record.HOLDS
    assert among.interval.low > 0
    assert among.corrected_p == pytest.approx(min(14 * among.p, 1))
    assert among.verdict == record.UNDECIDED
    assert among.seeds_needed is not None
    needed = among.mean.with_seeds(among.seeds_needed) if among.mean else None
    assert needed is not None
    one_less = needed.with_seeds(among.seeds_needed - 1)
    assert needed.p_value() * 14 < 0.05 <= one_less.p_value() * 14


def test_a_question_is_as_good_as_its_worst_part() -> None:
    assert record.worst([record.HOLDS, record.EQUAL]) == record.EQUAL
    assert record.worst([record.HOLDS, record.UNDECIDED, record.FAILS]) == record.FAILS
    assert record.worst([record.FAILS, record.UNKNOWN]) == record.UNKNOWN
    assert record.worst([]) == record.UNKNOWN


def test_one_arm_is_half_an_answer_to_the_order_and_a_whole_one_to_what_adversarial_training_does() -> None:
    content = planted_result(2e-5, methods=("standard", "mat", "sep_pos"))
    findings = record.judge(record.Result.from_dict(content))
    assert {f.verdict for f in findings if f.claim.question == "order_by_loss"} == {record.HOLDS}
    found = verdicts(content)
    assert found["order_by_loss"] == record.UNKNOWN
    assert found["equal_accuracy"] == record.EQUAL
    assert found["belief_by_loss"] == record.HOLDS


def test_pairs_whose_images_are_not_known_are_said_to_be_taken_as_independent() -> None:
    content = planted_result(2e-5)
    assert not any("independent" in f.reason for f in record.judge(record.Result.from_dict(content)))
    content["pairs"] = {"num_images": 100_000}
    said = {f.claim.question for f in record.judge(record.Result.from_dict(content)) if "independent" in f.reason}
    assert said >= {"order_by_loss", "belief_by_loss"}
    assert "equal_accuracy" not in said


def test_what_is_not_measured_for_both_cannot_be_told() -> None:
    content = planted_result(2e-5)
    for row in content["rows"]:
        if row["method"] == "sep_neg":
            del row["per_pair"], row["explanation_loss_end"]
    found = verdicts(content)
    assert found["order_by_loss"] == record.UNKNOWN
    assert found["belief_by_loss"] == record.HOLDS


@pytest.mark.slow
def test_studies_without_an_effect_are_called_an_order_in_at_most_one_of_twenty() -> None:
    """The whole engine: 400 studies of three seeds whose methods differ by nothing, any order found is an error."""
    wrong = dict.fromkeys((*ORDERS, "belief_by_loss"), 0)
    errors = 0
    for seed in range(400):
        findings = record.judge(record.Result.from_dict(planted_result(0.0, num_seeds=3, noise=1e-5, seed=seed)))
        found = [f for f in findings if f.claim.sign and f.verdict in (record.HOLDS, record.FAILS)]
        errors += bool(found)
        for finding in found:
            if finding.claim.question in wrong:
                wrong[finding.claim.question] += 1
    assert errors / 400 < 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5, wrong
