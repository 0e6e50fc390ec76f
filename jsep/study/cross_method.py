"""Trained with one explanation method, attacked and measured with every other: does SEP carry over?"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from jsep import evaluate, explain, record, report
from jsep.checks import InputError, check_choice, check_count
from jsep.study import environment
from jsep.study.flat_config import FlatConfig, setting
from jsep.study.methods import described_method, mark_degraded
from jsep.study.run import OnProgress
from jsep.study.run_directory import RunDirectory
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
        "format": record.FORMAT,
        "kind": "cross_method",
        "experiment": config.experiment,
        "config": config.as_dict(),
        "studies": [study.config.as_dict() for study in studies],
        "environment": environment.describe(),
        "complete": False,
        "rows": [],
    }
    before = result["environment"].get("seconds", 0.0)

    def keep(rows: list[dict[str, Any]]) -> None:
        result["rows"] = rows
        result["environment"]["seconds"] = round(before + time.perf_counter() - started, 1)
        directory.write_result(result)

    if not result["complete"]:
        result |= measure_cross(
            studies,
            config.methods,
            max_seeds=config.max_seeds,
            max_pairs=config.max_pairs,
            chunk_size=config.chunk_size,
            on_progress=progress,
            rows=result["rows"],
            on_row=keep,
        )
        result["complete"] = True
        directory.write_result(result)
    report.write(directory.path)
    return result


def measure_cross(
    studies: Sequence[TrainedStudy],
    methods: Sequence[str],
    *,
    max_seeds: int = 0,
    max_pairs: int = 0,
    chunk_size: int,
    on_progress: OnProgress,
    rows: Sequence[dict[str, Any]] = (),
    on_row: Callable[[list[dict[str, Any]]], None] = lambda rows: None,
) -> dict[str, Any]:
    """What result.json holds of the matrix. rows: the first ones, of an earlier call; on_row: gets all rows so far.

    "rows": every model attacked with every method; "pairs": those that all studies share, if they do.
    """
    rows = list(rows)
    chosen = [
        (study, model)
        for study in studies
        for model in study.trained
        if model.seed in list(study.config.seeds)[: max_seeds or None]
    ]
    # The rows are in this order: of those that there are already only their number counts.
    for place, (study, model) in enumerate(chosen):
        missing = methods[max(len(rows) - place * len(methods), 0) :]
        if not missing:
            continue
        on_progress(f"accuracies of {model.name}", {})
        accuracies = _accuracies(study, model, chunk_size)
        for method in missing:
            part = {"unit": len(rows), "num_units": len(chosen) * len(methods), "of": "attack"}
            on_progress(f"{method} of {model.name}", part)
            rows.append(
                {
                    "trained_with": study.config.sep_method,
                    "method": model.method,
                    "seed": model.seed,
                    **described_method(model.method),
                    "sep_weight": model.sep_weight,
                    "explained_by": method,
                    "pairs_hash": study.pairs.hash,
                    **accuracies,
                    **_attack(study, model, method, max_pairs, chunk_size),
                }
            )
            on_row(rows)
    mark_degraded(rows)
    found: dict[str, Any] = {"rows": rows}
    if len({study.pairs.hash for study in studies}) == 1:
        found["pairs"] = _attacked_pairs(studies[0], max_pairs).as_dict()
    return found


def _attacked_pairs(study: TrainedStudy, max_pairs: int) -> evaluate.PairIndex:
    pairs, count = study.pairs, max_pairs or None
    return dataclasses.replace(pairs, victims=pairs.victims[:count], targets=pairs.targets[:count])


def _attack(study: TrainedStudy, model: TrainedModel, method: str, max_pairs: int, chunk_size: int) -> dict[str, Any]:
    """What one model's maps by `method` are worth on the pairs of its study, for a row."""
    pairs = _attacked_pairs(study, max_pairs)
    own = study.config.explanation_attack()
    settings = dataclasses.replace(own, method=method, method_options=own.options_of(method), attacked_method=None)
    key = jax.random.fold_in(jax.random.key(model.seed), 4)
    measured = evaluate.explanation_robustness(
        key, study.model_fn, model.variables, study.test, pairs, settings, chunk_size=chunk_size
    )
    return {**measured.summary(), **evaluate.describe_pairs(measured, chunk_size=chunk_size)}


def _accuracies(study: TrainedStudy, model: TrainedModel, chunk_size: int) -> dict[str, float]:
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
        chunk_size=chunk_size,
    )
    return {"clean_accuracy": clean, "robust_accuracy": robust}
