"""The models of many finished studies side by side, after a check that all were evaluated in the same way."""

import dataclasses
import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsep import record, train
from jsep.checks import InputError
from jsep.study.config import StudyConfig
from jsep.study.configuration import settings_of, with_new_names
from jsep.study.methods import PAPER_OBJECTIVE, is_degraded, is_reference, training_method

_SETTINGS = settings_of(StudyConfig)


def _settings_in(*groups: str) -> tuple[str, ...]:
    return tuple(name for name, each in _SETTINGS.items() if each.path[0] in groups)


JUDGED_BY = ("dataset", "test_images", "norm", "budget_in_tests", *_settings_in("tests", "maps", "explanation"))
"""The settings, besides the pairs, that all models must share to be comparable."""

# These identify, monitor or evaluate a run and do not affect training; the SEP weight and the regulariser have
# entries of their own in the name.
_NOT_IN_A_NAME = frozenset((*JUDGED_BY, *_settings_in("pairs", "features", "monitoring"))) | {
    "experiment", "data_dir", "methods", "seed", "num_seeds", "test_epsilon", "validation_images", "chunk_size",
    "sep_weight_pos", "sep_weight_neg", "sep_weight_unit",
}  # fmt: skip

_OF_A_REGULARISER = {
    "regulariser_noise_scale": "lga",
    "regulariser_cure_step": "cure",
    "regulariser_top_k": "r2et",
    "regulariser_num_gaps": "r2et",
}
"""Fields used by one regulariser only."""


@dataclasses.dataclass(frozen=True)
class FinishedStudies:
    """The models of many studies.

    rows: of result.json, each with "run" (its directory's name), "family", "setting" (a description of its training
      without the seed) and "degraded", computed anew; left_out: a line for each directory that could not be used;
    judged: the shared settings of JUDGED_BY; pairs: the shared pairs; studies: the provenance of each study;
    reference: the method that the others are compared with.
    """

    rows: tuple[dict[str, Any], ...]
    left_out: tuple[str, ...]
    judged: dict[str, Any]
    pairs: dict[str, Any]
    studies: tuple[dict[str, Any], ...]
    reference: str

    def header(self) -> dict[str, Any]:
        """The entries of result.json that describe the studies."""
        pairs = {key: self.pairs[key] for key in ("dataset", "split", "hash") if key in self.pairs}
        return {
            "pairs": pairs | {"num_pairs": len(self.pairs["victims"])},
            "judged": self.judged,
            "studies": list(self.studies),
            "left_out": list(self.left_out),
        }


def family_of(method: str) -> str:
    """The family of a training method: its objective, "sep" or "<objective>_sep", or the name of its regulariser."""
    chosen = training_method(method)
    if chosen.regulariser:
        return chosen.regulariser
    if chosen.sep_sign:
        return "sep" if chosen.objective == PAPER_OBJECTIVE else f"{chosen.objective}_sep"
    return chosen.objective


def read_finished(patterns: Sequence[str], reference_dir: str | Path) -> FinishedStudies:
    """The models of all finished studies that match the patterns, compared with the reference models: those of the
    reference study's first adversarial objective without a term.

    Degraded models are marked by the rule of every study (`methods.is_degraded`), also ones of the reference method
    with another budget.

    Args: patterns: run directories, "*" allowed; reference_dir: a study with such models.
    Raises: InputError where nothing is found, the reference lacks such a model, or evaluations differ.
    """
    found = dict.fromkeys(path for pattern in patterns for path in sorted(glob.glob(str(pattern))))
    # A sweep's directory also holds its logs and its own record.
    paths = [path for path in found if Path(path).is_dir() and Path(path).name != "logs"]
    results, left_out = {}, []
    for path in paths:
        try:
            results[path] = _read(Path(path))
        except InputError as error:
            left_out.append(str(error))
    if not results:
        raise InputError(f"no finished study in {', '.join(patterns)}; run the sweep first")
    reference = _read(Path(reference_dir))
    method = next((row["method"] for row in reference["rows"] if is_reference(row["method"])), None)
    if method is None:
        raise InputError(f"{reference_dir} has no model of mat or the like to compare with; give a study that has")
    accuracies = {row["seed"]: row["clean_accuracy"] for row in reference["rows"] if row["method"] == method}
    judged, pairs = _judged(reference["config"]), reference["pairs"]
    rows: list[dict[str, Any]] = []
    for path, result in results.items():
        _check_same(path, str(reference_dir), _judged(result["config"]), judged)
        if result["pairs"]["hash"] != pairs["hash"]:
            raise InputError(f"{path} was tested on other pairs than {reference_dir}; give it that run's pairs_file")
        for row in result["rows"]:
            rows.append(
                {
                    **{key: value for key, value in row.items() if key not in ("per_pair", "per_image")},
                    "run": Path(path).name,
                    "family": family_of(row["method"]),
                    "setting": _setting(row, result["config"], reference["config"]),
                    "degraded": is_degraded(row, accuracies),
                }
            )
    families = list(dict.fromkeys(row["family"] for row in rows))
    rows.sort(key=lambda row: (families.index(row["family"]), row["sep_weight"]))
    studies = tuple(
        {"run": Path(path).name, **{key: result["environment"].get(key) for key in ("command", "commit", "seconds")}}
        for path, result in results.items()
    )
    return FinishedStudies(tuple(rows), tuple(left_out), judged, pairs, studies, method)


def _read(path: Path) -> dict[str, Any]:
    result = record.read_json(path)
    if result.get("kind", "study") != "study" or "pairs" not in result:
        raise InputError(f"{path} holds no study; give the run directories of studies")
    if not result.get("complete"):
        raise InputError(f"{path} is not finished; continue it with resume=True")
    return result | {"config": with_new_names(result["config"])}


def _judged(config: Mapping[str, Any]) -> dict[str, Any]:
    known = StudyConfig.from_dict(config)
    values = known.flat() | {"budget_in_tests": known.budget_in_tests}
    return {name: values[name] for name in JUDGED_BY}


def _check_same(path: str, reference: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    different = [f"{name} {found[name]} and {expected[name]}" for name in JUDGED_BY if found[name] != expected[name]]
    if different:
        raise InputError(f"{path} and {reference} were judged differently ({'; '.join(different)}); use one evaluation")


def _part_in(method: str, name: str) -> tuple[bool, bool]:
    """Whether field `name` is part of the setting's name even at the reference's value, as a method's weight is, and
    whether it affects how the method trains."""
    chosen = training_method(method)
    objective = train.objective(chosen.objective)
    if name.startswith("sep_"):
        return False, bool(chosen.sep_sign)
    if name.startswith("regulariser_"):
        is_weight = name == "regulariser_weight"
        return is_weight, chosen.regulariser is not None and (
            is_weight or _OF_A_REGULARISER[name] == chosen.regulariser
        )
    if any(name in {field.name for field in dataclasses.fields(other.config)} for other in train.OBJECTIVES.values()):
        return name == objective.weight, name in {field.name for field in dataclasses.fields(objective.config)}
    return False, True


def _setting(row: Mapping[str, Any], config: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    """The method, its weight and all that differs from the reference, e.g. "sep_pos +0.3" or "mat, epsilon 0.1"."""
    method, defaults = row["method"], StudyConfig().as_dict()
    weight = f" {row['sep_weight_scale_free']:+.3g}" if row["sep_weight"] else ""
    parts = [method + weight]
    for name in defaults:
        own, theirs = config.get(name, defaults[name]), reference.get(name, defaults[name])
        always, matters = _part_in(method, name)
        if name not in _NOT_IN_A_NAME and matters and (own != theirs or always):
            parts.append(f"{name} {own:.3g}" if isinstance(own, float) else f"{name} {own}")
    return ", ".join(parts)
