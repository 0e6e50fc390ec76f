"""Trained with one explanation method, attacked and measured with every other: does SEP carry over?"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax

from jsep import evaluate, explain, report
from jsep.checks import InputError, check_choice, check_count
from jsep.study import environment
from jsep.study.flat_config import FlatConfig, setting
from jsep.study.run import OnProgress
from jsep.study.run_directory import RESULT_FORMAT, RunDirectory
from jsep.study.trained import TrainedModel, TrainedStudy, load_trained


@dataclasses.dataclass(frozen=True)
class CrossMethodConfig(FlatConfig):
    """Which models and explanation methods. The help text of each field is its documentation."""

    study_dirs: tuple[str, ...] = setting(
        ("runs/digits_models",), "run directories of finished studies, each trained with an explanation method"
    )
    data_dir: str | None = setting(None, "TFDS data directory; default: where the studies found their data")
    methods: tuple[str, ...] = setting(
        ("gradient_x_input", "gradient", "guided_backprop", "integrated_gradients", "lrp_epsilon", "smooth_grad"),
        "explanation methods, each attacked itself; they must be differentiable",
    )
    max_seeds: int = setting(0, "training seeds whose models are attacked, the first ones; 0: all")
    max_pairs: int = setting(0, "pairs of images, the first ones of the study; 0: all")
    chunk_size: int = setting(64, "images or pairs in memory at once")

    def __post_init__(self) -> None:
        for name in self.methods:
            check_choice("explanation method", name, explain.METHODS)
            explain.check_differentiable(name)
        for field in ("max_seeds", "max_pairs"):
            check_count(field, getattr(self, field), minimum=0)
        check_count("chunk_size", self.chunk_size)
        if not self.study_dirs or not self.methods:
            raise InputError("study_dirs and methods must name at least one each")


def run_cross_method(
    config: CrossMethodConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Attacks every model of the studies with every method on the pairs of its study; writes result.json and cross.png.

    Every row is kept when it is finished: with `resume` an interrupted run goes on after the last of them.
    Raises: InputError for bad input, before anything is written.
    """
    progress = on_progress or (lambda what, record: None)
    progress("loading models", {})
    studies = [load_trained(path, data_dir=config.data_dir) for path in config.study_dirs]
    for study in studies:
        if study.test.info != studies[0].test.info or len(study.test) != len(studies[0].test):
            raise InputError("the studies of one matrix must have the same data set and test images")
    directory = RunDirectory(run_dir, config, resume=resume, overwrite=overwrite)
    started = time.perf_counter()
    result: dict[str, Any] = directory.read_result() or {
        "format": RESULT_FORMAT,
        "kind": "cross_method",
        "experiment": config.experiment,
        "config": config.as_dict(),
        "studies": [study.config.as_dict() for study in studies],
        "environment": environment.describe(),
        "complete": False,
        "rows": [],
    }
    before = result["environment"].get("seconds", 0.0)
    attacked = [(study, model) for study in studies for model in study.trained if _is_chosen(config, study, model)]
    # The rows are in this order: of those that there are already only their number counts.
    for place, (study, model) in enumerate(attacked):
        first = place * len(config.methods)
        missing = config.methods[max(len(result["rows"]) - first, 0) :]
        if not missing:
            continue
        progress(f"accuracies of {model.name}", {})
        accuracies = _accuracies(config, study, model)
        for method in missing:
            part = {"unit": len(result["rows"]), "num_units": len(attacked) * len(config.methods), "of": "attack"}
            progress(f"{method} of {model.name}", part)
            measured = _attack(config, study, model, method)
            result["rows"].append(
                {
                    "trained_with": study.config.sep_method,
                    "method": model.method,
                    "seed": model.seed,
                    "explained_by": method,
                    **accuracies,
                    **measured,
                }
            )
            result["environment"]["seconds"] = round(before + time.perf_counter() - started, 1)
            directory.write_result(result)
    _mark_degraded(result["rows"])
    result["complete"] = True
    directory.write_result(result)
    report.write_cross_method(directory.path, result)
    return result


def _is_chosen(config: CrossMethodConfig, study: TrainedStudy, model: TrainedModel) -> bool:
    return not config.max_seeds or model.seed in list(study.config.seeds)[: config.max_seeds]


def _attack(config: CrossMethodConfig, study: TrainedStudy, model: TrainedModel, method: str) -> dict[str, Any]:
    """What one model's maps by `method` are worth on the pairs of its study, for a row."""
    pairs, count = study.pairs, config.max_pairs or None
    pairs = dataclasses.replace(pairs, victims=pairs.victims[:count], targets=pairs.targets[:count])
    settings = dataclasses.replace(study.config.explanation_attack(), method=method, attacked_method=None)
    key = jax.random.fold_in(jax.random.key(model.seed), 4)
    measured = evaluate.explanation_robustness(
        key, study.model_fn, model.variables, study.test, pairs, settings, chunk_size=config.chunk_size
    )
    described = evaluate.describe_pairs(measured, chunk_size=config.chunk_size)
    described.pop("per_pair")
    return {**measured.summary(), **described}


def _mark_degraded(rows: list[dict[str, Any]]) -> None:
    """Against MAT with the same seed, in whichever study it was trained: the explanation has no part in it."""
    of_mat = {row["seed"]: row["clean_accuracy"] for row in rows if row["method"] == "mat"}
    for row in rows:
        row["degraded"] = evaluate.is_degraded(row["clean_accuracy"], of_mat.get(row["seed"], 0.0))


def _accuracies(config: CrossMethodConfig, study: TrainedStudy, model: TrainedModel) -> dict[str, float]:
    """Clean and robust accuracy as the study measured them."""
    own = study.config
    clean, robust = evaluate.accuracies(
        jax.random.fold_in(jax.random.key(model.seed), 3),
        study.model_fn,
        model.variables,
        study.test,
        norm=own.norm,
        epsilon=own.budget_in_tests,
        alpha=own.test_alpha,
        num_steps=own.test_num_steps,
        chunk_size=config.chunk_size,
    )
    return {"clean_accuracy": clean, "robust_accuracy": robust}
