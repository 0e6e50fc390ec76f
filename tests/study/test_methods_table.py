"""One study an explanation, and the differences to MAT of every cell."""

import pytest

from jsep import record, study
from jsep.checks import InputError
from jsep.record.paper import cell_of_matrix


def test_every_explanation_has_its_study_and_mat_is_trained_once() -> None:
    config = study.MethodsTableConfig.of(
        explanations=("gradient", "guided_backprop"), methods=("standard", "mat", "sep_pos")
    )
    first, second = (config.study_config(name) for name in config.explanations)
    assert (first.methods, second.methods) == (("standard", "mat", "sep_pos"), ("sep_pos",))
    assert (first.sep.method, first.explanation.method, first.sep.gradient) == ("gradient", "gradient", "directional")
    assert (second.sep.method, second.explanation.method) == ("guided_backprop", "guided_backprop")
    assert second.sep.gradient == "reverse", "guided backpropagation is no function of the input gradient"


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
        study.MethodsTableConfig.of(**change)


def make_row(trained_with: str, method: str, seed: int, end: float, pairs_hash: str = "abc") -> dict:
    per_pair = {"explanation_loss_end": [end * (1 + 0.1 * place + 0.01 * seed) for place in range(8)]}
    own = {"mat": {"baseline": None}, "sep_pos": {"baseline": "mat", "sep_weight": 1.0}}[method]
    return {"trained_with": trained_with, "method": method, "seed": seed, "explained_by": "gradient", **own,
            "adversarial": True, "pairs_hash": pairs_hash, "per_pair": per_pair}  # fmt: skip


def test_sep_of_a_study_is_compared_with_the_one_mat_on_the_same_pairs_alone() -> None:
    """MAT has no explanation in its loss: it is trained once, and stands beside every study that shares its pairs."""
    rows = [make_row(*each, seed, end) for seed in range(3)
            for each, end in ((("other", "mat"), 1.0), (("gradient", "sep_pos"), 0.5))]  # fmt: skip
    content = {"format": record.FORMAT, "kind": "cross_method", "rows": rows}
    (finding,) = [f for f in record.judge(cell_of_matrix(content, "gradient")) if f.claim.question == "order_by_loss"]
    assert finding.mean is not None
    assert finding.mean.num_pairs == 8
    assert finding.mean.estimate == pytest.approx(-0.5 * 1.36)
    others = [row | {"pairs_hash": "other pairs"} if row["method"] == "mat" else row for row in rows]
    assert record.judge(cell_of_matrix({**content, "rows": others}, "gradient")) == ()
