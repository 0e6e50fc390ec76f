"""Findings under several attacks on explanations: the strongest decides, and a sign that turns is undecided."""

import dataclasses
from typing import Any

import numpy as np
import planted
import pytest

from jsep import record, report, study
from jsep.checks import InputError
from jsep.report.study_tables import study_tables

EFFECT = 2e-5


def attacked_twice(weaker_effect: float, other: str = "study") -> dict[str, Any]:
    """The planted result, as under the ensemble; under the other attack the effect is `weaker_effect`."""
    content, weaker = (planted.planted_result(effect, seed=3) for effect in (EFFECT, weaker_effect))
    content = record.upgrade(content)
    for row, own in zip(content["rows"], record.upgrade(weaker)["rows"], strict=True):
        names = ("explanation_loss_end", "one_minus_concordance_end", "cosine_end")
        means = {name: own[name] for name in (*names, "relative_reduction", "scale_free_loss_end")}
        of_pairs = {name: own["per_pair"][name] for name in names}
        row |= {"attack": "ensemble", "by_attack": {other: {**means, "per_pair": of_pairs}}}
    return content


def judged(content: dict[str, Any]) -> dict[tuple[str, str], record.Finding]:
    found = record.judge(record.Result.from_dict(content))
    return {(finding.claim.metric, finding.claim.method): finding for finding in found}


def test_row_with_two_attacks_is_read_as_it_was_written() -> None:
    values = attacked_twice(EFFECT)["rows"][0]
    row = record.Row.from_dict(values)
    again = record.Row.from_dict(row.as_dict())
    assert again.attack == "ensemble"
    assert again.as_dict() == row.as_dict()
    weaker = row.under("study")
    assert weaker.metrics["explanation_loss_end"] == values["by_attack"]["study"]["explanation_loss_end"]
    assert weaker.metrics["clean_accuracy"] == values["clean_accuracy"]
    np.testing.assert_array_equal(weaker.per_pair["effective_pixels"], row.per_pair["effective_pixels"])
    share = weaker.of_pairs("relative_reduction")
    start, end = (weaker.per_pair[f"explanation_loss_{when}"] for when in ("start", "end"))
    assert share is not None
    assert np.mean(share) == pytest.approx(1 - end.mean() / start.mean())
    with pytest.raises(KeyError):
        row.under("long")


def test_the_strongest_attack_decides_where_the_signs_agree() -> None:
    alone, both = judged(record.upgrade(planted.planted_result(EFFECT, seed=3))), judged(attacked_twice(EFFECT / 4))
    for place, finding in both.items():
        assert (finding.verdict, finding.mean) == (alone[place].verdict, alone[place].mean)
    loss = both["explanation_loss_end", "sep_pos"]
    assert loss.verdict == record.HOLDS
    assert list(loss.by_attack) == ["study", "ensemble"]
    assert loss.by_attack["ensemble"] == pytest.approx(-EFFECT, rel=0.2)
    assert loss.by_attack["study"] == pytest.approx(-EFFECT / 4, rel=0.5)


def test_an_effect_whose_sign_depends_on_the_attack_is_undecided_in_every_outlet() -> None:
    content = attacked_twice(-EFFECT)
    found = judged(content)
    for metric in record.OUTCOMES:
        for method in ("sep_pos", "sep_neg", "mat"):
            assert found[metric, method].verdict == record.UNDECIDED
            assert found[metric, method].seeds_needed is None
    # What does not depend on the attack is decided as before.
    assert not found["effective_pixels", "sep_pos"].turns
    assert found["effective_pixels", "sep_pos"].verdict == record.HOLDS
    said = report.answer(content)
    open_part = said.headline.partition("It is undecided whether")[2]
    assert "and sharpening (< 0) harder" in open_part
    assert any("the sign depends on the attack: study +" in each for each in said.sentences)
    assert any("rest on the attack 'ensemble'" in each for each in said.sentences)


def test_table_of_strengths_has_a_column_for_each_attack() -> None:
    tables = study_tables(attacked_twice(EFFECT / 4))
    table = next(each for each in tables if each.title == "Strength of the attack on explanations")
    assert [column.heading for column in table.columns] == ["method", "loss end, study", "loss end, ensemble"]
    methods = [row[0].text for row in table.rows]
    weaker, strongest = (dict(zip(methods, (row[place].value for row in table.rows), strict=True)) for place in (1, 2))
    assert strongest["MAT"] - strongest["SEP +, flattened"] == pytest.approx(EFFECT * 64**2, rel=0.2)
    assert weaker["MAT"] - weaker["SEP +, flattened"] == pytest.approx(EFFECT / 4 * 64**2, rel=0.5)


def test_the_attack_without_a_ball_is_shown_and_decides_nothing() -> None:
    content, alone = attacked_twice(-EFFECT, record.UNBOUNDED), record.upgrade(planted.planted_result(EFFECT, seed=3))
    assert {place: own.verdict for place, own in judged(content).items()} == {
        place: own.verdict for place, own in judged(alone).items()
    }
    table = next(each for each in study_tables(content) if each.title == "Strength of the attack on explanations")
    assert [column.heading for column in table.columns] == ["method", "loss end, unbounded", "loss end, ensemble"]


def test_one_attack_alone_is_said() -> None:
    content = planted.planted_result(EFFECT)
    assert any("by the study's own attack alone" in each for each in report.answer(content).sentences)
    assert "Strength of the attack on explanations" not in [table.title for table in study_tables(content)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["study"]),
        ({"explanation_epsilon": 0.1}, ["study", "ensemble"]),
        ({"explanation_epsilon": 0.1, "attack_strengths": ("study",)}, ["study"]),
        ({"explanation_epsilon": 0.1, "attack_strengths": ("long", "ensemble")}, ["long", "ensemble"]),
        ({"explanation_epsilon": 0.1, "explanation_attack_kind": "auto"}, ["study"]),
        ({"explanation_epsilon": 0.1, "attack_strengths": ("study", "unbounded")}, ["unbounded", "study"]),
    ],
)
def test_default_of_the_strengths(settings: dict[str, Any], expected: list[str]) -> None:
    assert list(study.StudyConfig.of(**settings).explanation_attacks()) == expected


def test_unbounded_attack_is_the_one_of_the_settings_without_its_ball() -> None:
    names = ("unbounded", "study", "ensemble")
    found = study.StudyConfig.of(explanation_epsilon=0.1, explanation_num_steps=20, attack_strengths=names)
    attacks = found.explanation_attacks()
    assert attacks["unbounded"] == dataclasses.replace(attacks["study"], epsilon=None)
    assert attacks["ensemble"].epsilon == attacks["study"].epsilon == 0.1


def test_long_attack_has_five_times_the_steps_from_three_starts() -> None:
    config = study.StudyConfig.of(explanation_epsilon=0.1, explanation_num_steps=20, attack_strengths=("study", "long"))
    own, long = config.explanation_attacks().values()
    assert long.own_settings == dataclasses.replace(own.own_settings, num_steps=100, num_starts=3, repair=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"attack_strengths": ("study", "ensemble")},
        {"explanation_epsilon": 0.1, "attack_strengths": ("study", "study")},
        {"explanation_epsilon": 0.1, "explanation_attack_kind": "auto", "attack_strengths": ("study", "long")},
        {"explanation_epsilon": 0.1, "attack_strengths": ("short",)},
        {"explanation_epsilon": 0.1, "attack_strengths": ("unbounded",)},
    ],
)
def test_strengths_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="attack_strengths"):
        study.StudyConfig.of(**settings).check()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"last_validation_robust_accuracy": 0.16, "best_validation_robust_accuracy": 0.33}, True),
        ({"last_validation_robust_accuracy": 0.17, "best_validation_robust_accuracy": 0.33}, False),
        ({"last_robust_accuracy": 0.0, "best_robust_accuracy": 0.3}, True),
        ({"last_robust_accuracy": 0.0, "best_robust_accuracy": 0.0}, False),
        # The validation images decide where both are known.
        ({"last_validation_robust_accuracy": 0.3, "best_validation_robust_accuracy": 0.3,
          "last_robust_accuracy": 0.0, "best_robust_accuracy": 0.3}, False),
        ({"collapsed": True}, True),
        ({"adversarial": False, "collapsed_step": 370}, True),
        ({"adversarial": False, "last_robust_accuracy": 0.0, "best_robust_accuracy": 0.3}, False),
        ({}, False),
    ],
)  # fmt: skip
def test_collapsed_training(row: dict[str, Any], expected: bool) -> None:
    assert record.is_collapsed({"adversarial": True, **row}) is expected
