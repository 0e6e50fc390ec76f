"""A row and a result: the typed content of result.json, whatever the format version of the file.

Format 2. A row is one trained model. Losses are raw, rates are fractions in [0, 1]; names, units and directions of
the metrics are in `evaluate.METRICS`.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np

from jsep import evaluate
from jsep.checks import InputError
from jsep.numerics import plain

FORMAT = 2
"""The version of result.json that this package writes; it also reads all earlier ones."""

DEGRADED_MARGIN = 0.05
"""A model whose clean accuracy is more than this below that of its reference counts as degraded."""


def is_degraded(clean_accuracy: float, reference: float, *, margin: float = DEGRADED_MARGIN) -> bool:
    """Whether a model's clean accuracy is more than `margin` below that of its reference with the same seed.

    The explanation loss of a degraded model is no sign of robustness: the maps of a broken classifier explain nothing.
    Args: accuracies and margin as fractions.
    """
    return bool(clean_accuracy < reference - margin)


COLLAPSED_SHARE = 0.5
"""Catastrophic over-fitting: the robust accuracy at the end of training is less than this share of its best."""


def is_collapsed(row: Mapping[str, Any]) -> bool:
    """Whether the robust accuracy of an adversarially trained model fell below `COLLAPSED_SHARE` of its best during
    training, as that of one-step training may, or whether the maps of a model shrank to a few pixels on the validation
    images ("collapsed_step"). The robust accuracy of a standard model falls to 0 as it should.

    Args: row: of a study, in which the accuracies on the validation images decide, and without them those on the test
      images of the last and the best checkpoint; or of an evaluation, which says so itself ("collapsed").
    """
    if row.get("collapsed") or row.get("collapsed_step") is not None:
        return True
    if row.get("adversarial") is not True:
        return False
    for last, best in (
        ("last_validation_robust_accuracy", "best_validation_robust_accuracy"),
        ("last_robust_accuracy", "best_robust_accuracy"),
    ):
        at_end, at_best = as_number(row.get(last)), as_number(row.get(best))
        if at_end is not None and at_best is not None:
            return at_end < COLLAPSED_SHARE * at_best
    return False


@dataclasses.dataclass(frozen=True)
class Row:
    """One trained model.

    method: name of the training method; seed: of the training.
    baseline: the method it extends and is compared with; None for a baseline.
    adversarial: whether the method is adversarial training; None where unknown.
    sep_weight: lambda of the paper, 0 without SEP.
    degraded: whether its clean accuracy is so low that its explanation loss is meaningless (`is_degraded`).
    metrics: name -> number; per_pair: name -> (P,), the value of every pair; per_image: name -> (B,) bool, whether each
      test image is classified correctly.
    attack: the attack on explanations that the metrics are of, one of `study.groups.STRENGTHS`; "" where it is the
      study's own alone. by_attack: another attack on the same pairs, weaker or `UNBOUNDED` -> the metrics and
      per_pair that depend on it.
    other: fields unknown to this version, kept unchanged.
    """

    method: str
    seed: int | None = None
    baseline: str | None = None
    adversarial: bool | None = None
    sep_weight: float = 0.0
    degraded: bool = False
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    per_pair: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    per_image: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    attack: str = ""
    by_attack: Mapping[str, "Row"] = dataclasses.field(default_factory=dict)
    other: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """A row from the output of `as_dict` or from a result.json. Raises: InputError for a row without a method."""
        if not isinstance(values, Mapping) or not isinstance(values.get("method"), str):
            raise InputError(
                f"expected a row with a string 'method', got {str(values)[:60]!r}; run the experiment again"
            )
        fields = {name: values[name] for name in _FIELDS if name in values}
        metrics: dict[str, float] = {}
        other: dict[str, Any] = {}
        for name, value in values.items():
            if name in _FIELDS or name in ("per_pair", "per_image", "attack", "by_attack"):
                continue
            number = as_number(value) if name in evaluate.METRICS else None
            if number is None:
                other[name] = value
            else:
                metrics[name] = number
        per_pair = {name: np.array(each, np.float64) for name, each in values.get("per_pair", {}).items()}
        per_image = {name: unpack_correct(each) for name, each in values.get("per_image", {}).items()}
        fields["sep_weight"] = as_number(fields.get("sep_weight")) or 0.0
        fields["degraded"] = bool(fields.get("degraded"))
        named = {"method": values["method"], "seed": values.get("seed")}
        by_attack = {name: cls.from_dict({**named, **each}) for name, each in values.get("by_attack", {}).items()}
        return cls(
            **fields, metrics=metrics, per_pair=per_pair, per_image=per_image, attack=str(values.get("attack", "")),
            by_attack=by_attack, other=other,
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """The row as values that JSON can hold; `from_dict` inverts it."""
        found: dict[str, Any] = {name: getattr(self, name) for name in _FIELDS}
        found = plain({**found, **self.metrics, **self.other})
        if self.per_pair:
            found["per_pair"] = {name: values.tolist() for name, values in self.per_pair.items()}
        if self.per_image:
            found["per_image"] = {name: pack_correct(values) for name, values in self.per_image.items()}
        if self.by_attack:
            found |= {
                "attack": self.attack,
                "by_attack": {name: row._outcome() for name, row in self.by_attack.items()},
            }
        return found

    def _outcome(self) -> dict[str, Any]:
        return {**plain(self.metrics), "per_pair": {name: values.tolist() for name, values in self.per_pair.items()}}

    @property
    def numbers(self) -> Mapping[str, Mapping[str, float]]:
        """Of a landscape analysis: quantity -> its mean and standard error over the images; empty for others."""
        return self.other.get("numbers", {})

    def under(self, attack: str) -> Self:
        """The row with the metrics of another attack on explanations, a key of `by_attack`, in place of the strongest.

        Raises: KeyError where the model was not attacked by it.
        """
        weaker = self.by_attack[attack]
        metrics, per_pair = {**self.metrics, **weaker.metrics}, {**self.per_pair, **weaker.per_pair}
        return dataclasses.replace(self, metrics=metrics, per_pair=per_pair)

    def of_pairs(self, metric: str) -> np.ndarray | None:
        """(P,) values whose mean is the metric; None where the row does not hold them."""
        registered = evaluate.METRICS.get(metric)
        if registered is not None and registered.of_pairs is not None:
            try:
                return registered.of_pairs(self.per_pair)
            except KeyError:
                return None
        return self.per_pair.get(metric)


UNBOUNDED = "unbounded"
"""The attack on explanations without a ball, as in the paper: shown beside the others, and no verdict rests on it."""

_FIELDS = ("method", "seed", "baseline", "adversarial", "sep_weight", "degraded")


def as_number(value: Any) -> float | None:
    """The value as a float, or None where it is not a number (booleans, strings and null are not)."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        return None
    return float(value)


def pack_correct(correct: np.ndarray) -> dict[str, Any]:
    """(B,) bool as {"num_images": B, "hex": its bits}: a quarter of a byte of JSON for each image."""
    values = np.asarray(correct, bool)
    return {"num_images": len(values), "hex": np.packbits(values).tobytes().hex()}


def unpack_correct(packed: Mapping[str, Any]) -> np.ndarray:
    """The (B,) bool packed by `pack_correct`. Raises: InputError for anything else."""
    try:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(packed["hex"]), np.uint8))
        values = bits[: packed["num_images"]].astype(bool)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the correctness of single images cannot be read ({error}); run the experiment again"
        ) from error
    if len(values) != packed["num_images"]:
        raise InputError(f"expected {packed['num_images']} images, got {len(values)}; run the experiment again")
    return values


@dataclasses.dataclass(frozen=True)
class Result:
    """The rows of a study and the data they were measured on.

    experiment: its name; rows; victims, targets: (P,) indices of the images of each pair, empty without pairs;
    num_images: number of test images behind the accuracies, 0 if unknown; content: the whole result.json, in `FORMAT`.
    """

    experiment: str
    rows: tuple[Row, ...]
    victims: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    num_images: int = 0
    content: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The result in the content of a result.json of any format version. Raises: InputError as `upgrade`."""
        content = upgrade(content)
        pairs = content.get("pairs") or {}
        data = content.get("data") or {}
        return cls(
            experiment=str(content.get("experiment", "result")),
            rows=tuple(Row.from_dict(row) for row in content.get("rows", ())),
            victims=tuple(pairs.get("victims", ())),
            targets=tuple(pairs.get("targets", ())),
            num_images=int(data.get("num_images") or pairs.get("num_images") or 0),
            content=content,
        )

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods in order of first appearance."""
        return tuple(dict.fromkeys(row.method for row in self.rows))

    @property
    def other_attacks(self) -> tuple[str, ...]:
        """The other attacks on explanations that every row has metrics of; empty without any."""
        first, *others = self.rows or (Row(""),)
        return tuple(name for name in first.by_attack if all(name in row.by_attack for row in others))

    @property
    def weaker_attacks(self) -> tuple[str, ...]:
        """Those of `other_attacks` that have the same budget, so that a finding should not depend on them."""
        return tuple(name for name in self.other_attacks if name != UNBOUNDED)

    def under(self, attack: str) -> Self:
        """The result with the metrics of another attack on explanations, one of `other_attacks`."""
        return dataclasses.replace(self, rows=tuple(row.under(attack) for row in self.rows))

    def rows_of(self, method: str) -> dict[int | None, Row]:
        """seed -> row of one method."""
        return {row.seed: row for row in self.rows if row.method == method}

    def images_of_pairs(self) -> list[tuple[int, int]] | None:
        """(victim, target) of each pair; None where they are unknown."""
        return list(zip(self.victims, self.targets, strict=True)) if self.victims else None


def upgrade(content: Any) -> dict[str, Any]:
    """Converts the content of a result.json of an older format to `FORMAT`; unknown fields stay.

    Format 1 called one_minus_concordance "excess", and its rows named no baseline; it is inferred from the method names
    of that format.
    Raises: InputError if it is not an object, or has a format unknown to this version.
    """
    if not isinstance(content, Mapping):
        raise InputError(f"expected a JSON object, got {type(content).__name__}; run the experiment again")
    found = content.get("format")
    if found not in range(1, FORMAT + 1):
        raise InputError(
            f"expected format {FORMAT} or an older one, got {found!r}; "
            "read it with the version of jsep that wrote it, or run the experiment again"
        )
    of_landscape = content.get("kind") == "landscape"
    if found == FORMAT and not of_landscape:
        return dict(content)
    renamed = dict(content) if found == FORMAT else _renamed(content)
    rows = renamed.get("rows")
    if isinstance(rows, Sequence):
        rows = [_with_baseline(row) if isinstance(row, Mapping) else row for row in rows]
        renamed["rows"] = _with_degraded(rows) if of_landscape else rows
    return {**renamed, "format": FORMAT}


def _renamed(value: Any) -> Any:
    """Replaces the format 1 metric name "excess..." by its current name in every key and text."""
    if isinstance(value, Mapping):
        return {_name(key): _renamed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each) for each in value]
    return _name(value)


def _name(name: Any) -> Any:
    is_old = isinstance(name, str) and re.fullmatch(r"excess(_\w+)?", name)
    return f"one_minus_concordance{name.removeprefix('excess')}" if is_old else name


_OLD_ADVERSARIAL = {"standard": False, "mat": True, "trades": True}


def _with_degraded(rows: Sequence[Any]) -> list[Any]:
    """The rows of a landscape analysis, which say nothing of degraded models, with `is_degraded` of each."""
    known = [row for row in rows if isinstance(row, Mapping) and as_number(row.get("clean_accuracy")) is not None]
    accuracies = {(row.get("method"), row.get("seed")): row["clean_accuracy"] for row in known}

    def broken(row: Mapping[str, Any]) -> bool:
        reference = accuracies.get((row["baseline"], row.get("seed")))
        return reference is not None and is_degraded(row["clean_accuracy"], reference)

    return [{"degraded": broken(row), **row} if any(row is each for each in known) else row for row in rows]


def _with_baseline(row: Mapping[str, Any]) -> dict[str, Any]:
    stem = str(row.get("method", "")).partition("@")[0]
    baseline = None
    if stem in ("sep_pos", "sep_neg") or stem.startswith("mat_"):
        baseline = "mat"
    elif stem.startswith("trades_"):
        baseline = "trades"
    return {"baseline": baseline, "adversarial": _OLD_ADVERSARIAL.get(baseline or stem), **row}
