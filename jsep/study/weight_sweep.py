"""How both robustnesses change with the SEP weight, of both signs, until training breaks: from finished runs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsep import record, report, stats
from jsep.checks import InputError, check_count
from jsep.study import environment
from jsep.study.collected import Collected, collect
from jsep.study.flat_config import FlatConfig, setting
from jsep.study.run_directory import RunDirectory

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
"""What is followed along the weights; each with an interval over the seeds."""

_METHODS = ("sep_neg", "mat", "sep_pos")


@dataclass(frozen=True)
class WeightSweepConfig(FlatConfig):
    """Which runs. The help text of each field is its documentation."""

    study_dirs: tuple[str, ...] = setting(
        ("runs/sep_weight_digits/*",), "run directories of finished studies with mat, sep_pos and sep_neg; * allowed"
    )
    reference_dir: str = setting(
        "runs/sep_weight_digits/mat", "the one with the MAT models: weight 0, and what degraded is measured by"
    )
    num_resamples: int = setting(1000, "resamples of a bootstrap interval")

    def __post_init__(self) -> None:
        check_count("num_resamples", self.num_resamples)


def run_weight_sweep(config: WeightSweepConfig, run_dir: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Gathers the runs, writes result.json and weights.png. Raises: InputError for bad input, before anything is
    written."""
    started = time.perf_counter()
    collected = collect(config.study_dirs, config.reference_dir)
    rows = [row for row in collected.rows if row["method"] in _METHODS]
    if len({row["sep_weight_scale_free"] for row in rows}) < 3:
        raise InputError(f"{', '.join(config.study_dirs)}: expected at least 3 SEP weights; run the sweep first")
    weights = describe_weights(rows)
    directory = RunDirectory(run_dir, config, overwrite=overwrite)
    result = {
        **header(config, "sep_weight_sweep", collected),
        "rows": rows,
        "weights": weights,
        "trends": trends(rows, config.num_resamples),
    }
    result["environment"]["seconds"] = round(time.perf_counter() - started, 1)
    directory.write_result(result)
    report.write(directory.path)
    return result


def header(config: FlatConfig, kind: str, collected: Collected) -> dict[str, Any]:
    """What a result over many studies says of itself."""
    return {
        "format": record.FORMAT,
        "kind": kind,
        "experiment": config.experiment,
        "config": config.as_dict(),
        "environment": environment.describe(),
        "pairs": {key: collected.pairs[key] for key in ("dataset", "split", "hash") if key in collected.pairs}
        | {"num_pairs": len(collected.pairs["victims"])},
        "judged": collected.judged,
        "studies": list(collected.studies),
        "left_out": list(collected.left_out),
    }


def describe_weights(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each weight, from negative to positive: the metrics with Student's 95 % intervals over the seeds, and how
    many of its models are degraded."""
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
    """Spearman's correlation of each metric with the weight, over the models that are not degraded: on both sides of 0,
    below it and above it (0 with each); its interval draws the weights anew with all their seeds."""
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
