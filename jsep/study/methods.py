"""The training methods of a study: every objective alone, with SEP of either sign, and with another regulariser."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jsep import record, train
from jsep.checks import MAX_WEIGHT, InputError, check_choice, check_positive
from jsep.study.options import number


@dataclasses.dataclass(frozen=True)
class TrainingMethod:
    """objective: a key of `train.OBJECTIVES`; sep_sign: of its SEP weight, 0 without SEP; regulariser: a key of
    `train.EXPLANATION_REGULARISERS`; weight: the size of its SEP weight, its regulariser_weight or its objective's
    weight, None for the study's."""

    objective: str
    sep_sign: int = 0
    regulariser: str | None = None
    weight: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the method is an objective without SEP or another regulariser."""
        return not self.sep_sign and self.regulariser is None

    @property
    def baseline(self) -> str | None:
        """The method to compare with: the plain objective of a method with a term; None for a plain objective, unless
        its registry entry names a baseline."""
        return train.objective(self.objective).baseline if self.is_plain else self.objective


PAPER_OBJECTIVE = "mat"
"""The objective whose methods with SEP have the short names of the paper: sep_pos, sep_neg."""

_SHORT = {name: f"{PAPER_OBJECTIVE}_{name}" for name in ("sep_pos", "sep_neg")}


def training_methods() -> dict[str, TrainingMethod]:
    """name -> training method, for every objective and regulariser that is registered at the time of the call.

    For an objective NAME: NAME, NAME_sep_pos, NAME_sep_neg and NAME_<regulariser>; sep_pos and sep_neg are those of
    mat. A name in a study may end in the method's own weight: "trades@1", "mat_lga@0.3".
    """
    found: dict[str, TrainingMethod] = {}
    for name in train.OBJECTIVES:
        found |= {name: TrainingMethod(name), f"{name}_sep_pos": TrainingMethod(name, 1)}
        found[f"{name}_sep_neg"] = TrainingMethod(name, -1)
        for regulariser in train.EXPLANATION_REGULARISERS:
            found[f"{name}_{regulariser}"] = TrainingMethod(name, regulariser=regulariser)
    return found | {short: found[name] for short, name in _SHORT.items()}


def training_method(name: str) -> TrainingMethod:
    """The training method called `name`, with the weight after its "@".

    The weight is the size of the method's SEP weight, else that of its regulariser, else that of its objective.
    Raises: InputError for an unknown method, a weight that is not a number >= 0, or a method without a weighted term.
    """
    base, at, text = name.partition("@")
    known = training_methods()
    check_choice("method", base, known)
    method = known[base]
    if not at:
        return method
    if method.is_plain and train.objective(method.objective).weight is None:
        raise InputError(f"method {base!r} has no weight, got {name!r}")
    try:
        weight = number(text)
        check_positive("weight", weight, allow_zero=method.is_plain, maximum=MAX_WEIGHT)
    except ValueError as error:
        raise InputError(f"the weight of a method must be a number > 0, such as {base}@1, got {name!r}") from error
    return dataclasses.replace(method, weight=weight)


def described_method(name: str) -> dict[str, Any]:
    """The method's entries of a row: "baseline", and "adversarial": whether it trains on attacked images."""
    chosen = training_method(name)
    return {"baseline": chosen.baseline, "adversarial": train.objective(chosen.objective).adversarial}


def is_reference(method: str | None) -> bool:
    """Whether a method is a plain adversarial objective, such as mat, with which others are compared."""
    if method is None:
        return False
    chosen = training_method(method)
    return chosen.is_plain and train.objective(chosen.objective).adversarial


def reference_of(method: str, methods: Sequence[str]) -> str | None:
    """The method whose clean accuracy decides whether a model of `method` is degraded: its baseline if the study has
    it, else the study's first plain adversarial objective, unless that is `method` itself; None where there is none.

    Args: methods: all methods of the study, in its order.
    """
    baseline = training_method(method).baseline
    if baseline in methods:
        return baseline
    first = next(filter(is_reference, methods), None)
    return None if first == method else first


def mark_degraded(rows: list[dict[str, Any]], references: Mapping[str, str | None] | None = None) -> None:
    """Marks the models whose clean accuracy is more than record.DEGRADED_MARGIN below that of their reference: of the
    same seed where there is one, else its mean over the seeds. A model without a reference is not marked. A model whose
    adversarial training has collapsed (`record.is_collapsed`) is marked too.

    Args: references: method -> its reference; default: by `reference_of`.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    if references is None:
        references = {method: reference_of(method, methods) for method in methods}
    accuracies: dict[str, dict[int, float]] = {}
    for row in rows:
        accuracies.setdefault(row["method"], {})[row["seed"]] = row["clean_accuracy"]
    for row in rows:
        expected = accuracies.get(references[row["method"]] or "", {})
        row["degraded"] = is_degraded(row, expected) or record.is_collapsed(row)


def is_degraded(row: Mapping[str, Any], reference: Mapping[int, float]) -> bool:
    """Whether a model is degraded. Args: reference: seed -> clean accuracy of its reference; empty: it is not."""
    if not reference:
        return False
    expected = reference.get(row["seed"], sum(reference.values()) / len(reference))
    return record.is_degraded(row["clean_accuracy"], expected)
