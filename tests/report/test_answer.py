"""The words must follow the numbers, whichever way they point."""

import math

from jsep.report.answer import answer

PAPER = {"sep_pos": 5.8e-4, "mat": 7.1e-4, "sep_neg": 7.9e-4}
REVERSED = {"sep_pos": 12.1e-7, "mat": 10.8e-7, "sep_neg": 9.5e-7}


def test_the_papers_order_is_recognised(make_result):
    found = answer(make_result())
    assert found.order_as_in_paper is True
    assert "This is the paper's order, sep_pos < mat < sep_neg." in found.verdict
    assert "The paper's order holds in 3 of 3 seeds." in found.claim
    assert "No model is degraded." in found.claim
    assert "opposite order of robustness" in " ".join(found.confound)
    assert "effective pixels of 64" in " ".join(found.confound)


def test_another_order_is_said_plainly(make_result, make_rows):
    found = answer(make_result(rows=make_rows(ends=REVERSED)))
    assert found.order_as_in_paper is False
    assert "not the paper's order, which is sep_pos < mat < sep_neg" in found.verdict
    assert "is not below mat" in found.verdict
    assert "loss is sep_neg" in found.claim[0]
    assert "The paper's order holds in 0 of 3 seeds." in found.claim


def test_numbers_in_the_answer_are_those_of_the_rows(make_result):
    losses = {"sep_pos": 5.83e-4, "mat": 7.14e-4, "sep_neg": 7.91e-4}
    robust = {"sep_pos": 0.734, "mat": 0.741, "sep_neg": 0.729}
    weights = {"sep_pos": 3000.0, "mat": 0.0, "sep_neg": -300.0}
    rows = [
        {
            "method": m,
            "seed": 0,
            "sep_weight": weights[m],
            "explanation_loss_end": losses[m],
            "robust_accuracy": robust[m],
        }
        for m in losses
    ]
    text = " ".join(answer(make_result(rows=rows)).claim)
    assert "sep_pos 5830 < mat 7140 < sep_neg 7910" in text
    assert "differ by at most 1.2 points (72.9 % to 74.1 %)" in text
    assert "seeds" not in text


def test_equal_losses_are_not_the_papers_order(make_result):
    rows = [
        {"method": m, "seed": 0, "sep_weight": w, "explanation_loss_end": 1e-6} for m, w in (("a", 1.0), ("mat", 0.0))
    ]
    found = answer(make_result(rows=rows))
    assert found.order_as_in_paper is False
    assert "a 10.0 = mat 10.0" in found.claim[0]


def test_degraded_models_are_no_evidence(make_result, make_rows):
    rows = make_rows()
    for row in rows[-3:]:
        row.update(degraded=True, clean_accuracy=0.77)
    found = answer(make_result(rows=rows))
    assert "This is the paper's order, sep_pos < mat. Degraded, so left out of this order: sep_neg." in found.verdict
    assert "Degraded in at least one seed: sep_neg (mean clean accuracy 77.0 %)." in found.claim


def test_degraded_model_that_would_flip_the_verdict_does_not(make_result, make_rows):
    """Both ways: a broken sep_neg with the lowest loss would contradict the paper, one with the highest support it."""
    for ends, healthy_alone in ((PAPER | {"sep_neg": 2e-4}, True), ({**REVERSED, "sep_neg": 20e-7}, False)):
        rows = make_rows(ends=ends)
        flipped = answer(make_result(rows=rows))
        for row in rows[-3:]:
            row.update(degraded=True, clean_accuracy=0.77)
        found = answer(make_result(rows=rows))
        assert found.order_as_in_paper is healthy_alone
        assert "sep_pos < mat" in found.verdict
        assert "left out of this order: sep_neg" in found.verdict
        assert "mat" in flipped.verdict
        # Nor is it in any other statement on the order.
        assert not any("sep_neg" in sentence for sentence in found.confound)
        assert "sep_neg" not in found.claim[0]
    # The first of the two really is flipped by the broken model.
    assert answer(make_result(rows=make_rows(ends=PAPER | {"sep_neg": 2e-4}))).order_as_in_paper is False


def test_order_that_hangs_on_a_degraded_model_is_none(make_result, make_rows):
    rows = [row for row in make_rows() if row["method"] != "sep_pos"]
    assert answer(make_result(rows=rows)).order_as_in_paper is True
    for row in rows[-3:]:
        row.update(degraded=True, clean_accuracy=0.5)
    found = answer(make_result(rows=rows))
    assert found.order_as_in_paper is None
    assert "cannot speak for or against the paper's order. Degraded, so left out of this order: sep_neg." in (
        found.verdict
    )


def test_rule_that_could_not_be_applied_is_said(make_result, make_rows):
    rows = [row for row in make_rows() if row["method"] != "mat"]
    assert "The rule for degraded models was not applied: there is no mat to compare with." in (
        answer(make_result(rows=rows)).claim
    )


def test_a_run_without_two_weights_makes_no_claim(make_result, make_rows):
    rows = [row for row in make_rows() if row["method"] == "mat"]
    assert answer(make_result(rows=rows)).order_as_in_paper is None
    rows = [{"method": "standard", "seed": 0}, {"method": "mat", "seed": 0}]
    assert answer(make_result(rows=rows)).order_as_in_paper is None


def test_natural_training_is_outside_the_comparison(make_result, make_rows):
    rows = [*make_rows(), {**make_rows()[0], "method": "standard", "sep_weight": 0.0, "robust_accuracy": 0.0}]
    found = answer(make_result(rows=rows))
    assert "standard" not in found.verdict
    assert "robust accuracies of sep_pos, mat and sep_neg differ" in " ".join(found.claim)


def test_a_loss_that_is_not_finite_is_named(make_result, make_rows):
    rows = make_rows()
    rows[-1]["explanation_loss_end"] = math.nan
    found = answer(make_result(rows=rows))
    assert "Without a finite loss at the end, so not in this order: sep_neg." in found.verdict
