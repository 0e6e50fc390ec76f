"""The correlation of classification robustness and explanation robustness over the models of finished runs."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from jsep import stats
from jsep.checks import InputError
from jsep.study.configuration import Configuration, count, random_seed, setting
from jsep.study.finished_studies import FinishedStudies, read_finished
from jsep.study.methods import PAPER_OBJECTIVE
from jsep.study.runner import Run, StudyKind
from jsep.study.work import Work, work_of_reading

MEASURES = {
    "scale_free_loss_end": 1,
    "one_minus_concordance_end": 1,
    "relative_reduction": -1,
    "cosine_end": -1,
    "scale_free_loss_start": 1,
}
"""measure of explanation robustness -> 1 where a higher value is more robust, -1 where a lower one is."""

MIN_MODELS = 6
"""The fewest rows: with fewer, a partial correlation given two columns has no degrees of freedom."""

GIVEN = ("clean_accuracy", "effective_pixels")

COEFFICIENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "pearson": ("pearson", ()),
    "spearman": ("spearman", ()),
    "partial_pearson": ("pearson", GIVEN),
    "partial_spearman": ("spearman", GIVEN),
    "partial_clean_spearman": ("spearman", GIVEN[:1]),
}
"""coefficient -> its kind and the columns controlled for."""

SUBSETS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "all models": lambda row: True,
    "without SEP": lambda row: not row["sep_weight"],
    "MAT and SEP on MAT": lambda row: row["family"] in (PAPER_OBJECTIVE, "sep"),
}
"""The models correlated: all, those trained without SEP, those of MAT with and without SEP."""


@dataclasses.dataclass(frozen=True)
class CorrelationConfig(Configuration):
    """The finished runs to read. The help text of each field is its documentation."""

    study_dirs: tuple[str, ...] = setting(
        ("runs/sep_weight_digits/*", "runs/correlation_digits/*"),
        "run directories of finished studies, all tested on the same pairs with the same attacks; * allowed",
    )
    reference_dir: str = setting(
        "runs/sep_weight_digits/mat", "the one whose models of an objective alone, such as mat, say what degraded is"
    )
    num_resamples: int = count(1000, "resamples of a bootstrap interval")
    analysis_seed: int = random_seed(0, "seed of the resampling")


def _prepare(config: CorrelationConfig) -> FinishedStudies:
    finished = read_finished(config.study_dirs, config.reference_dir)
    num_kept = sum(not row["degraded"] for row in finished.rows)
    if num_kept < MIN_MODELS:
        raise InputError(
            f"the study needs at least {MIN_MODELS} models that are not degraded, got {num_kept} of "
            f"{len(finished.rows)}; add runs"
        )
    return finished


def measure(config: CorrelationConfig, finished: FinishedStudies, run: Run) -> None:
    """Adds the rows of all models, and every coefficient."""
    found = correlate(finished.rows, seed=config.analysis_seed, num_resamples=config.num_resamples)
    run.result |= finished.header() | {"measures": MEASURES, "rows": list(finished.rows), "correlations": found}


def correlate(rows: Sequence[Mapping[str, Any]], *, seed: int = 0, num_resamples: int = 1000) -> list[dict[str, Any]]:
    """Correlations of robust accuracy with every measure of explanation robustness; positive: both increase together.

    For each of SUBSETS: over its models (intervals resample settings, each with all its seeds); over the means of its
    settings; with degraded models included; and without one family at a time (rank correlation only). Subsets too
    small to correlate are left out.
    Returns: entries with "subset", "unit" (models or settings), "with_degraded", "measure", "num_models",
      "num_settings", and each coefficient by name as {"estimate", "low", "high", "p_value"}; the p-value takes the
      models as independent.
    """
    kept = [row for row in rows if not row["degraded"]]
    asked: list[tuple[str, str, Sequence[Mapping[str, Any]], dict[str, Any]]] = []
    for name, belongs in SUBSETS.items():
        own = [row for row in kept if belongs(row)]
        asked += [(name, "models", own, COEFFICIENTS), (name, "settings", setting_means(own), COEFFICIENTS)]
    asked.append(("all models", "models", rows, COEFFICIENTS))
    ranks = {name: COEFFICIENTS[name] for name in ("spearman", "partial_spearman")}
    for family in dict.fromkeys(row["family"] for row in kept):
        asked.append((f"without {family}", "models", [row for row in kept if row["family"] != family], ranks))
    found = []
    for name, unit, chosen, coefficients in asked:
        settings = [row["setting"] for row in chosen]
        if len(chosen) < MIN_MODELS or len(set(settings)) < MIN_MODELS - 1:
            continue
        options: dict[str, Any] = {"groups": settings, "seed": seed, "num_resamples": num_resamples}
        robust = [row["robust_accuracy"] for row in chosen]
        for measure, sign in MEASURES.items():
            values = [sign * row[measure] for row in chosen]
            entry: dict[str, Any] = {
                "subset": name,
                "unit": unit,
                "with_degraded": any(row["degraded"] for row in chosen),
                "measure": measure,
                "num_models": len(chosen),
                "num_settings": len(set(settings)),
            }
            for coefficient, (kind, given) in coefficients.items():
                controls = [[row[key] for key in given] for row in chosen]
                value = (
                    stats.partial_correlation(robust, values, controls, kind=kind, **options)
                    if given
                    else stats.correlation(robust, values, kind=kind, **options)
                )
                entry[coefficient] = {key: getattr(value, key) for key in ("estimate", "low", "high", "p_value")}
            found.append(entry)
    return found


def setting_means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per setting: the means of the correlated columns over its seeds."""
    names = ("robust_accuracy", *GIVEN, *MEASURES)
    found = []
    for setting_name in dict.fromkeys(row["setting"] for row in rows):
        own = [row for row in rows if row["setting"] == setting_name]
        means = {name: sum(row[name] for row in own) / len(own) for name in names}
        found.append({**means, "setting": setting_name, "family": own[0]["family"], "degraded": False})
    return found


def _work(config: CorrelationConfig, done: Collection[tuple[str, int]]) -> Work:
    return work_of_reading(config.study_dirs)


CORRELATION = StudyKind("correlation", CorrelationConfig, _prepare, measure, work=_work)
"""Both robustnesses over many models of finished studies."""
