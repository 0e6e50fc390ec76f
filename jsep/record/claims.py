"""The claims tested on a result, as data: which two methods are compared, by which metric, with which claimed sign."""

import dataclasses
from collections.abc import Iterator

from jsep import evaluate
from jsep.record.row import Result, Row

ACCURACY_MARGIN = 0.02
"""Accuracies within two points of each other count as equal; fixed before any model was trained."""

DIFFERENCE = "difference"
"""Scale of a claim: the difference method - baseline."""

RATIO = "ratio"
"""Scale of a claim: the logarithm of the ratio, log(method / baseline)."""

CORRELATION = "correlation"
"""Scale of a claim: a rank correlation after Fisher's z-transformation."""

OUTCOMES = ("explanation_loss_end", "one_minus_concordance_end", "relative_reduction", "cosine_end")
"""Explanation robustness: the paper's metric, and three that do not depend on how concentrated a map is."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """One comparison of two methods.

    question: a key of `QUESTIONS`; subject: the object of the question, such as a method. A question holds for a
      subject if all its claims about that subject hold.
    metric: a key of `evaluate.METRICS`.
    method, baseline: the two methods; the difference method - baseline is tested.
    sign: the claimed sign of the difference, +1 or -1; 0 claims that both are equal within `margin`.
    margin: of equality, used with sign 0, in the unit of the metric.
    source: where the claim comes from.
    scale: `DIFFERENCE`, `RATIO` or `CORRELATION`; units: the sampling units, "seeds" or "models".
    """

    question: str
    subject: str
    metric: str
    method: str
    baseline: str
    sign: int
    margin: float = 0.0
    source: str = "paper"
    scale: str = DIFFERENCE
    units: str = "seeds"


@dataclasses.dataclass(frozen=True)
class Question:
    """A question that a group of claims answers: in a few words for a table, and as a sentence.

    both_signs: whether it needs both flattening and sharpening; a study with only one of them cannot answer it.
    """

    heading: str
    sentence: str
    both_signs: bool = False


QUESTIONS: dict[str, Question] = {
    "order_by_loss": Question(
        "loss left by the attack",
        "SEP with weight > 0 lowers, with weight < 0 raises the explanation loss that the attack leaves",
        both_signs=True,
    ),
    "order_by_concordance": Question(
        "1 − concordance",
        "the same order when the concentration of the maps is taken out (1 − concordance)",
        both_signs=True,
    ),
    "order_by_share": Question(
        "share removed", "the same order of robustness by the share of its loss that is removed", both_signs=True
    ),
    "order_by_cosine": Question(
        "cosine", "the same order of robustness by the cosine to the target's map", both_signs=True
    ),
    "equal_accuracy": Question("equal robust accuracy", "SEP leaves robust accuracy where it was, within 2 points"),
    "pixels": Question(
        "effective pixels", "maps lie on more pixels with weight > 0, on fewer with weight < 0", both_signs=True
    ),
    "belief_by_loss": Question(
        "adversarial training, loss left",
        "adversarial training makes explanations harder to manipulate, by the loss that the attack leaves",
    ),
    "belief_by_concordance": Question("adversarial training, 1 − concordance", "the same by 1 − concordance"),
    "belief_by_share": Question("adversarial training, share removed", "the same by the share removed"),
    "belief_by_cosine": Question("adversarial training, cosine", "the same by the cosine to the target's map"),
    "stable_maps": Question("maps under noise", "the regulariser makes maps move less under noise"),
    "regularised_accuracy": Question(
        "accuracy of regularisers", "the regulariser leaves robust accuracy where it was, within 2 points"
    ),
}
"""question -> its wording; each claim of a result names its question."""

_SUFFIX = dict(zip(OUTCOMES, ("loss", "concordance", "share", "cosine"), strict=True))


def claims_of(result: Result) -> tuple[Claim, ...]:
    """Every claim that can be tested with the methods of a result.

    For a method with an SEP weight and its baseline: the paper's order in each of `OUTCOMES`, equal robust accuracy,
    and the effective pixels of the maps. For another regulariser: its maps under noise, and the accuracy. For an
    adversarially trained baseline and a standard one: the common belief in the paper's title.
    """
    return tuple(_claims(result))


def _claims(result: Result) -> Iterator[Claim]:
    first: dict[str, Row] = {}
    for row in result.rows:
        first.setdefault(row.method, row)
    for method, row in first.items():
        if row.baseline not in first:
            continue
        if row.sep_weight:
            yield from _sep_claims(method, row.baseline, 1 if row.sep_weight > 0 else -1)
        else:
            yield Claim("stable_maps", method, "noise_sensitivity", method, row.baseline, -1, source="reviewers")
            yield Claim(
                "regularised_accuracy", method, "robust_accuracy", method, row.baseline, 0, ACCURACY_MARGIN, "reviewers"
            )
    plain = {
        kind: [m for m, r in first.items() if r.baseline is None and r.adversarial is kind] for kind in (True, False)
    }
    for method in plain[True]:
        for baseline in plain[False]:
            for metric in OUTCOMES:
                better = evaluate.METRICS[metric].better
                yield Claim(
                    f"belief_by_{_SUFFIX[metric]}", method, metric, method, baseline, better, source="common belief"
                )


def _sep_claims(method: str, baseline: str, sign: int) -> Iterator[Claim]:
    for metric in OUTCOMES:
        source = "paper" if metric == OUTCOMES[0] else "reviewers"
        # Flattening (sign > 0) is claimed to make the explanation less robust.
        claimed = -sign * evaluate.METRICS[metric].better
        yield Claim(f"order_by_{_SUFFIX[metric]}", baseline, metric, method, baseline, claimed, source=source)
    yield Claim("equal_accuracy", baseline, "robust_accuracy", method, baseline, 0, ACCURACY_MARGIN)
    yield Claim("pixels", baseline, "effective_pixels", method, baseline, sign)
