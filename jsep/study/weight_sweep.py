"""Classification and explanation robustness against the SEP weight, of both signs, over the models of finished runs."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jsep import stats
from jsep.checks import InputError
from jsep.study.configuration import Configuration, count, setting
from jsep.study.finished_studies import FinishedStudies, read_finished
from jsep.study.methods import training_method
from jsep.study.runner import Run, StudyKind
from jsep.study.work import Work, work_of_reading

METRICS = (
    "clean_accuracy",
    "robust_accuracy",
    "scale_free_loss_start",
    "scale_free_loss_end",
    "relative_reduction",
    "cosine_start",
    "cosine_end",
    "effective_pixels",
    "one_minus_concordance_start",
    "one_minus_concordance_end",
)
"""The metrics reported for each weight, with intervals over the seeds."""


@dataclasses.dataclass(frozen=True)
class WeightSweepConfig(Configuration):
    """The finished runs to read. The help text of each field is its documentation."""

    study_dirs: tuple[str, ...] = setting(
        ("runs/sep_weight_digits/*",), "run directories of finished studies with an objective and SEP on it; * allowed"
    )
    reference_dir: str = setting(
        "runs/sep_weight_digits/mat",
        "the one with models without SEP, such as mat: weight 0, and what degraded is measured by",
    )
    num_resamples: int = count(1000, "resamples of a bootstrap interval")


def _prepare(config: WeightSweepConfig) -> FinishedStudies:
    finished = read_finished(config.study_dirs, config.reference_dir)
    rows = tuple(row for row in finished.rows if _is_along(row["method"], finished.reference))
    if len({row["sep_weight_scale_free"] for row in rows}) < 3:
        raise InputError(f"{', '.join(config.study_dirs)}: expected at least 3 SEP weights; run the sweep first")
    return dataclasses.replace(finished, rows=rows)


def _is_along(method: str, reference: str) -> bool:
    """Whether a method is the reference, or the reference's objective with SEP."""
    chosen, objective = training_method(method), training_method(reference).objective
    return method == reference or (chosen.objective == objective and chosen.sep_sign != 0)


def measure(config: WeightSweepConfig, finished: FinishedStudies, run: Run) -> None:
    """Adds the rows, the means of every weight and the trends along the weights."""
    run.result |= finished.header() | {
        "rows": list(finished.rows),
        "weights": describe_weights(finished.rows),
        "trends": trends(finished.rows, config.num_resamples),
    }


def describe_weights(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each weight, from negative to positive: the metrics with Student's 95 % intervals over the seeds, and the
    number of degraded models."""
    found = []
    for weight in sorted({row["sep_weight_scale_free"] for row in rows}):
        own = [row for row in rows if row["sep_weight_scale_free"] == weight]
        entry: dict[str, Any] = {
            "weight": weight,
            "num_seeds": len(own),
            "num_degraded": sum(row["degraded"] for row in own),
        }
        for metric in METRICS:
            mean, low, high = stats.t_interval([row[metric] for row in own])
            alone = len(own) == 1
            entry[metric] = {"mean": mean, "low": None if alone else low, "high": None if alone else high}
        found.append(entry)
    return found


def trends(rows: Sequence[Mapping[str, Any]], num_resamples: int) -> list[dict[str, Any]]:
    """Spearman's correlation of each metric with the weight, over the models that are not degraded: for all weights,
    for those <= 0 and for those >= 0; intervals resample the weights, each with all its seeds."""
    found = []
    kept = [row for row in rows if not row["degraded"]]
    for side, chosen in (
        ("both", kept),
        ("negative", [row for row in kept if row["sep_weight_scale_free"] <= 0]),
        ("positive", [row for row in kept if row["sep_weight_scale_free"] >= 0]),
    ):
        weights = [row["sep_weight_scale_free"] for row in chosen]
        if len(set(weights)) < 3 or len(weights) < 4:
            continue
        for metric in METRICS:
            value = stats.correlation(
                weights, [row[metric] for row in chosen], groups=weights, num_resamples=num_resamples
            )
            found.append(
                {
                    "side": side,
                    "metric": metric,
                    "num_models": value.num_models,
                    "num_weights": len(set(weights)),
                    "estimate": value.estimate,
                    "low": value.low,
                    "high": value.high,
                }
            )
    return found


def _work(config: WeightSweepConfig, done: Collection[tuple[str, int]]) -> Work:
    return work_of_reading(config.study_dirs)


WEIGHT_SWEEP = StudyKind("sep_weight_sweep", WeightSweepConfig, _prepare, measure, work=_work)
"""Classification and explanation robustness along the SEP weight, from finished studies."""
