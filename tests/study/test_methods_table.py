"""One study an explanation, and the differences to MAT of every cell."""

import pytest

from jsep import study
from jsep.checks import InputError
from jsep.study.cross_method import _compare


def test_every_explanation_has_its_study_and_mat_is_trained_once() -> None:
    config = study.MethodsTableConfig(
        explanations=("gradient", "guided_backprop"), methods=("standard", "mat", "sep_pos")
    )
    first, second = (config.study_config(name) for name in config.explanations)
    assert (first.methods, second.methods) == (("standard", "mat", "sep_pos"), ("sep_pos",))
    assert (first.sep_method, first.explanation_method, first.sep_gradient) == ("gradient", "gradient", "directional")
    assert (second.sep_method, second.explanation_method) == ("guided_backprop", "guided_backprop")
    assert second.sep_gradient == "reverse", "guided backpropagation is no function of the input gradient"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"explanations": ("rise",)}, "'rise' has no derivative"),
        ({"explanations": ("gradient", "gradient")}, "one or more different names"),
        ({"methods": ("mat",)}, "methods must have a SEP term"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        study.MethodsTableConfig(**change)


def make_row(trained_with: str, method: str, end: float, pairs_hash: str = "abc") -> dict:
    per_pair = {"explanation_loss_end": [end * (1 + 0.1 * place) for place in range(8)]}
    return {"trained_with": trained_with, "method": method, "seed": 0, "explained_by": "gradient",
            "pairs_hash": pairs_hash, "per_pair": per_pair}  # fmt: skip


def test_sep_of_every_study_is_compared_with_the_one_mat_on_the_same_pairs_alone() -> None:
    rows = [make_row("gradient", "mat", 1.0), make_row("gradient", "sep_pos", 0.5), make_row("other", "sep_neg", 3.0)]
    found = _compare(rows)
    assert [(e["trained_with"], e["method"], e["metric"]) for e in found] == [
        ("gradient", "sep_pos", "explanation_loss_end"), ("other", "sep_neg", "explanation_loss_end"),
    ]  # fmt: skip
    assert [e["difference"] for e in found] == pytest.approx([-0.5 * 1.35, 2.0 * 1.35])
    assert [e["num_pairs"] for e in found] == [8, 8]
    assert _compare([*rows[:2], make_row("other", "sep_neg", 3.0, "other pairs")])[-1]["trained_with"] == "gradient"
