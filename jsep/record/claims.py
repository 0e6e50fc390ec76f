"""The claims tested on a result, as data: which two methods are compared, by which metric, with which claimed sign."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from jsep import evaluate
from jsep.record.row import Result, Row

ACCURACY_MARGIN = 0.02
"""Accuracies within two points of each other count as equal; fixed before any model was trained."""

SAME_FACTOR = 1.25
"""Two landscapes count as the same if their quantities differ by less than this factor in either direction."""

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
    """One comparison of methods: of two, or a contrast of several.

    question: a key of `QUESTIONS`; subject: the object of the question, such as a method. A question holds for a
      subject if all its claims about that subject hold.
    metric: a key of `evaluate.METRICS`.
    method, baseline: the two methods; the difference method - baseline is tested.
    sign: the claimed sign of the difference, +1 or -1; 0 claims that both are equal within `margin`, or, without a
      margin, a difference of either sign.
    margin: of equality, used with sign 0, in the unit of the metric.
    source: where the claim comes from.
    scale: `DIFFERENCE`, `RATIO` or `CORRELATION`; units: the sampling units, "seeds" or "models".
    contrast: ((method, weight), ...) whose weighted sum is tested in place of the difference, such as a slope or a
      difference of differences; `method` then is its name and `baseline` "".
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
    contrast: tuple[tuple[str, float], ...] = ()

    @property
    def weights(self) -> Mapping[str, float]:
        """method -> its weight in what is tested."""
        return dict(self.contrast) if self.contrast else {self.method: 1.0, self.baseline: -1.0}

    @property
    def is_equality(self) -> bool:
        """Whether equality within the margin is claimed."""
        return self.sign == 0 and self.margin > 0


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
    "grows_by_loss": Question(
        "training budget, loss left",
        "the larger the budget of adversarial training, the harder explanations are to manipulate, by the loss that "
        "the attack leaves",
    ),
    "grows_by_concordance": Question("training budget, 1 − concordance", "the same by 1 − concordance"),
    "interaction_by_loss": Question(
        "SEP and adversarial training, loss left",
        "SEP moves the loss that the attack leaves otherwise on an adversarially trained model than on a standard one",
    ),
    "interaction_by_concordance": Question(
        "SEP and adversarial training, 1 − concordance", "the same by 1 − concordance"
    ),
    "stable_maps": Question("maps under noise", "the regulariser makes maps move less under noise"),
    "regularised_accuracy": Question(
        "accuracy of regularisers", "the regulariser leaves robust accuracy where it was, within 2 points"
    ),
    "flatter_loss": Question(
        "flatter classification loss", "adversarial training flattens the landscape of the classification loss"
    ),
    "flatter_explanation": Question(
        "flatter explanation loss", "adversarial training flattens the landscape of the explanation loss"
    ),
    "sep_landscape": Question(
        "SEP, explanation loss",
        "SEP with weight > 0 flattens, with weight < 0 sharpens the landscape of the explanation loss",
        both_signs=True,
    ),
    "same_loss": Question(
        "SEP, classification loss",
        f"SEP leaves the landscape of the classification loss as it was, within a factor of {SAME_FACTOR:g}",
    ),
    "same_landscape": Question(
        "TRADES, explanation loss",
        f"the landscape of the explanation loss stays as it is with a larger weight of TRADES, within a factor of "
        f"{SAME_FACTOR:g}",
    ),
    "rise_together": Question(
        "TRADES, both robustnesses",
        "a larger weight of TRADES raises both robustnesses (accuracy under attack, explanation loss left)",
    ),
}
"""question -> its wording; each claim of a result names its question."""

_SUFFIX = dict(zip(OUTCOMES, ("loss", "concordance", "share", "cosine"), strict=True))


def claims_of(result: Result) -> tuple[Claim, ...]:
    """The claims that are tested on a result: those of the family that its configuration names, by default
    `STUDY`, or those on landscapes."""
    if result.content.get("kind") == LANDSCAPE:
        return tuple(_landscape_claims(result))
    config = result.content.get("config")
    family = config.get("claims", STUDY) if isinstance(config, Mapping) else STUDY
    return tuple(CLAIM_FAMILIES.get(family, _claims)(result))


def _claims(result: Result) -> Iterator[Claim]:
    """Every claim that can be tested with the methods of a study.

    For a method with an SEP weight and its baseline: the paper's order in each of `OUTCOMES`, equal robust accuracy,
    and the effective pixels of the maps. For another regulariser: its maps under noise, and the accuracy. For an
    adversarially trained baseline and a standard one: the common belief in the paper's title.
    """
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
                yield _belief(metric, method, baseline)


def _belief(metric: str, method: str, baseline: str) -> Claim:
    better = evaluate.METRICS[metric].better
    return Claim(f"belief_by_{_SUFFIX[metric]}", method, metric, method, baseline, better, source="common belief")


def _sep_claims(method: str, baseline: str, sign: int) -> Iterator[Claim]:
    for metric in OUTCOMES:
        yield _order(metric, method, baseline, sign)
    yield Claim("equal_accuracy", baseline, "robust_accuracy", method, baseline, 0, ACCURACY_MARGIN)
    yield Claim("pixels", baseline, "effective_pixels", method, baseline, sign)


def _order(metric: str, method: str, baseline: str, sign: int) -> Claim:
    source = "paper" if metric == OUTCOMES[0] else "reviewers"
    # Flattening (sign > 0) is claimed to make the explanation less robust.
    claimed = -sign * evaluate.METRICS[metric].better
    return Claim(f"order_by_{_SUFFIX[metric]}", baseline, metric, method, baseline, claimed, source=source)


_CELL = re.compile(r"(base|continued|sep_pos|sep_neg)_(\d+(?:\.\d+)?)")
_ARMS = {"sep_pos": 1, "sep_neg": -1}


def _definitive_claims(result: Result) -> Iterator[Claim]:
    """H1 to H6 of docs/definitive_study.md, on both primary outcomes, the loss left and 1 - concordance.

    The methods are called base_E, continued_E, sep_pos_E and sep_neg_E after the budget E of their training.

    H1: the largest budget against none; H2: the slope on the budget, per unit of E; H3 and H4: the arms against
    continued training, each at each budget; H5: the same contrast at the largest budget less that at the smallest;
    H6: equal robust accuracy of the arms at the largest budget.
    """
    cells: dict[str, dict[float, str]] = {}
    for method in result.methods:
        if found := _CELL.fullmatch(method):
            cells.setdefault(found[1], {})[float(found[2])] = method
    base, continued = (dict(sorted(cells.get(name, {}).items())) for name in ("base", "continued"))
    primary = OUTCOMES[:2]
    if len(base) > 1:
        none, *_, largest = base.values()
        yield from (_belief(metric, largest, none) for metric in primary)
    if len(base) > 2:
        mean = sum(base) / len(base)
        spread = sum((budget - mean) ** 2 for budget in base)
        slope = tuple((method, (budget - mean) / spread) for budget, method in base.items())
        name = f"slope over ε = {', '.join(f'{budget:g}' for budget in base)} (/255)"
        for metric in primary:
            sign = evaluate.METRICS[metric].better
            yield Claim(f"grows_by_{_SUFFIX[metric]}", "base", metric, name, "", sign, source="plan", contrast=slope)
    for arm, sign in _ARMS.items():
        own = {budget: method for budget, method in sorted(cells.get(arm, {}).items()) if budget in continued}
        for budget, method in own.items():
            yield from (_order(metric, method, continued[budget], sign) for metric in primary)
        if len(own) > 1:
            low, high = min(own), max(own)
            contrast = ((own[high], 1.0), (continued[high], -1.0), (own[low], -1.0), (continued[low], 1.0))
            name = f"({own[high]} − {continued[high]}) − ({own[low]} − {continued[low]})"
            for metric in primary:
                question = f"interaction_by_{_SUFFIX[metric]}"
                yield Claim(question, arm, metric, name, "", 0, source="plan", contrast=contrast)
        if own and max(own) > 0:
            high = max(own)
            yield Claim(
                "equal_accuracy", continued[high], "robust_accuracy", own[high], continued[high], 0, ACCURACY_MARGIN
            )


_STEEPNESS = {"worst_sharpness": "worst rise in the ball", "top_eigenvalue": "top eigenvalue"}
"""The quantities of a landscape that are tested -> their wording."""

_CLASSIFICATION, _EXPLANATION = "cross_entropy", "explanation_to_own"


def _landscape_claims(result: Result) -> Iterator[Claim]:
    """The claims on landscapes, tested on ratios of curvatures and of sharpness between models of the same seed.

    For an adversarially trained baseline and a standard one: both landscapes are flatter, that of the classification
    loss as in the paper, that of the explanation loss as the common belief has it. For a method with an SEP weight and
    its baseline: the landscape of the explanation loss is flatter or sharper, that of the classification loss the
    same. For a sweep of TRADES: its largest weight against its smallest.
    """
    first: dict[str, Row] = {}
    for row in result.rows:
        first.setdefault(row.method, row)
    plain = [method for method, row in first.items() if row.baseline is None]
    standard = [method for method in plain if first[method].adversarial is False]
    adversarial = [method for method in plain if first[method].adversarial is True]
    for baseline in standard:
        for method in adversarial:
            of = f", {method}" if len(adversarial) > 1 else ""
            yield from _ratios("flatter_loss", _CLASSIFICATION, method, baseline, -1, of=of)
            yield from _ratios("flatter_explanation", _EXPLANATION, method, baseline, -1, "common belief", of)
    with_sep = {method: row.baseline for method, row in first.items() if _sep_sign(row) and row.baseline in first}
    for method, extended in with_sep.items():
        of = f", {extended}" if len(set(with_sep.values())) > 1 else ""
        yield from _ratios("sep_landscape", _EXPLANATION, method, str(extended), -_sep_sign(first[method]), of=of)
        yield from _ratios("same_loss", _CLASSIFICATION, method, str(extended), 0, of=of)
    yield from _trades_claims(list(first))


def _sep_sign(row: Row) -> int:
    """The sign of the SEP weight; rows of older landscapes have it in their name alone."""
    if row.sep_weight:
        return 1 if row.sep_weight > 0 else -1
    return next((sign for term, sign in _ARMS.items() if row.method.endswith(term)), 0)


def _ratios(
    question: str, scalar: str, method: str, baseline: str, sign: int, source: str = "paper", of: str = ""
) -> Iterator[Claim]:
    margin = 0.0 if sign else math.log(SAME_FACTOR)
    for quantity, words in _STEEPNESS.items():
        metric = f"{scalar}/{quantity}"
        yield Claim(question, words + of, metric, method, baseline, sign, margin, source, scale=RATIO)


def _trades_claims(methods: Sequence[str]) -> Iterator[Claim]:
    """The largest against the smallest weight of the methods "trades <weight>": both robustnesses rise (Table 1), the
    landscape of the explanation loss does not change from the smallest weight above 0 on (Figure 3)."""
    weights = sorted((float(name.split()[1]), name) for name in methods if re.fullmatch(r"trades [\d.e+-]+", name))
    if len(weights) > 1:
        last, smallest = weights[-1][1], weights[0][1]
        yield Claim("rise_together", "TRADES", "robust_accuracy", last, smallest, 1)
        yield Claim("rise_together", "TRADES", "explanation_loss_end", last, smallest, 1, scale=RATIO)
    above = [name for weight, name in weights if weight > 0]
    if len(above) > 1:
        yield from _ratios("same_landscape", _EXPLANATION, above[-1], above[0], 0)


STUDY, LANDSCAPE = "study", "landscape"
"""The default of `CLAIM_FAMILIES`, and the kind of landscape analyses, whose claims are their own."""

JUDGED = (STUDY, "evaluation", LANDSCAPE)
"""The kinds of result whose rows `record.judge` compares; the claims on others are those of `paper` and `many`."""


CLAIM_FAMILIES: dict[str, Callable[[Result], Iterator[Claim]]] = {STUDY: _claims, "definitive": _definitive_claims}
"""name -> the claims of a result, one family for Holm's correction: every method against its baseline, or those of
docs/definitive_study.md."""
