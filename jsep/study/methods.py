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
    `train.EXPLANATION_REGULARISERS`; weight: the size of its SEP weight, of its regulariser_weight or of what its
    objective weighs, None for the study's."""

    objective: str
    sep_sign: int = 0
    regulariser: str | None = None
    weight: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the objective has nothing added to it."""
        return not self.sep_sign and self.regulariser is None

    @property
    def baseline(self) -> str | None:
        """The method that it is compared with: the plain objective of one with a term; None for a plain objective,
        unless its registry entry names another one."""
        return train.objective(self.objective).baseline if self.is_plain else self.objective


PAPER_OBJECTIVE = "mat"
"""The objective whose methods with SEP have the paper's short names: sep_pos, sep_neg."""

_SHORT = {name: f"{PAPER_OBJECTIVE}_{name}" for name in ("sep_pos", "sep_neg")}


def training_methods() -> dict[str, TrainingMethod]:
    """method -> how it trains, for every objective and regulariser that is registered now.

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
    """How the method called `name` trains, with the weight after its "@".

    The weight is the size of the method's SEP weight, else that of its regulariser, else what its objective weighs.
    Raises: InputError for an unknown method, or a weight that is no number >= 0 or has nothing to weigh.
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
    """What a row says of its method: "baseline", and "adversarial", whether it trains on attacked images."""
    chosen = training_method(name)
    return {"baseline": chosen.baseline, "adversarial": train.objective(chosen.objective).adversarial}


def is_reference(method: str | None) -> bool:
    """Whether a method is an adversarial objective alone, such as mat: what the others are measured by."""
    if method is None:
        return False
    chosen = training_method(method)
    return chosen.is_plain and train.objective(chosen.objective).adversarial


def reference_of(method: str, methods: Sequence[str]) -> str | None:
    """The method of a study below whose clean accuracy a model of `method` counts as degraded, None where there is
    none: its baseline if the study has it, else the study's first plain adversarial objective, if that is another one.

    Args: methods: all of the study, in its order.
    """
    baseline = training_method(method).baseline
    if baseline in methods:
        return baseline
    first = next(filter(is_reference, methods), None)
    return None if first == method else first


def mark_degraded(rows: list[dict[str, Any]], references: Mapping[str, str | None] | None = None) -> None:
    """Marks the models whose clean accuracy is more than record.DEGRADED_MARGIN below that of their reference: with the
    same seed where there is one, else of its mean over the seeds. One without a reference is not marked.

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
        row["degraded"] = is_degraded(row, expected)


def is_degraded(row: Mapping[str, Any], reference: Mapping[int, float]) -> bool:
    """Whether a model is degraded, by the clean accuracies of its reference by seed; not so where there are none."""
    if not reference:
        return False
    expected = reference.get(row["seed"], sum(reference.values()) / len(reference))
    return record.is_degraded(row["clean_accuracy"], expected)
