"""Does SEP transfer? Models trained with one explanation method, attacked and measured with every other."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from jsep import evaluate, explain
from jsep.checks import InputError
from jsep.study.configuration import Configuration, count, setting
from jsep.study.methods import described_method, mark_degraded
from jsep.study.runner import Run, StudyKind
from jsep.study.setup import Purpose, key_of
from jsep.study.trained import TrainedModel, TrainedStudy, load_all_trained
from jsep.study.work import Task, Work, finished_config, pair_flops


@dataclasses.dataclass(frozen=True)
class CrossMethodConfig(Configuration):
    """Which models and explanation methods. The help text of each field is its documentation."""

    study_dirs: tuple[str, ...] = setting(
        ("runs/digits_models",), "run directories of finished studies, each trained with an explanation method"
    )
    data_dir: str | None = setting(None, "TFDS data directory; default: where the studies found their data")
    methods: tuple[str, ...] = setting(
        ("gradient_x_input", "gradient", "guided_backprop", "integrated_gradients", "lrp_epsilon", "smooth_grad"),
        "explanation methods, each attacked itself; they must be differentiable",
        choices=explain.METHODS,
    )
    max_seeds: int = count(0, "training seeds whose models are attacked, the first ones; 0: all", minimum=0)
    max_pairs: int = count(0, "pairs of images, the first ones of the study; 0: all", minimum=0)
    chunk_size: int = count(64, "images or pairs in memory at once")

    def check(self) -> None:
        """Raises: InputError for a method without a derivative, or where studies or methods are missing."""
        for name in self.methods:
            explain.check_differentiable(name)
        if not self.study_dirs or not self.methods:
            raise InputError("study_dirs and methods must name at least one each")


def _prepare(config: CrossMethodConfig) -> Sequence[TrainedStudy]:
    studies = load_all_trained(config.study_dirs, data_dir=config.data_dir)
    for study in studies:
        if study.test.info != studies[0].test.info or len(study.test) != len(studies[0].test):
            raise InputError("the studies of one matrix must have the same data set and test images")
    return studies


def _measure(config: CrossMethodConfig, studies: Sequence[TrainedStudy], run: Run) -> None:
    measure_cross(
        studies, config.methods, run, max_seeds=config.max_seeds, max_pairs=config.max_pairs,
        chunk_size=config.chunk_size,
    )  # fmt: skip


def measure_cross(
    studies: Sequence[TrainedStudy], methods: Sequence[str], run: Run, *, max_seeds: int = 0, max_pairs: int = 0,
    chunk_size: int,
) -> None:  # fmt: skip
    """Adds a row per model and explanation method, attacked on the pairs of the model's study, and "pairs" where all
    studies share the same pairs."""
    run.result["studies"] = [study.config.as_dict() for study in studies]
    if len({study.pairs.hash for study in studies}) == 1:
        run.result["pairs"] = _attacked_pairs(studies[0], max_pairs).as_dict()
    units = [
        (study, model, method)
        for study in studies
        for model in study.trained
        if model.seed in list(study.config.seeds)[: max_seeds or None]
        for method in methods
    ]
    accuracies: dict[int, dict[str, float]] = {}  # by id(model): each model is measured once
    for study, model, method in run.missing(units, "attack", lambda unit: f"{unit[2]} of {unit[1].name}"):
        if id(model) not in accuracies:
            accuracies[id(model)] = _accuracies(study, model, chunk_size)
        row = {
            "trained_with": study.config.sep.method,
            "method": model.method,
            "seed": model.seed,
            **described_method(model.method),
            "sep_weight": model.sep_weight,
            "explained_by": method,
            "pairs_hash": study.pairs.hash,
            **accuracies[id(model)],
            **_attack(study, model, method, max_pairs, chunk_size),
        }
        run.rows.append(row)
        mark_degraded(run.rows)
        run.save()


def _attacked_pairs(study: TrainedStudy, max_pairs: int) -> evaluate.PairIndex:
    pairs, count = study.pairs, max_pairs or None
    return dataclasses.replace(pairs, victims=pairs.victims[:count], targets=pairs.targets[:count])


def _attack(study: TrainedStudy, model: TrainedModel, method: str, max_pairs: int, chunk_size: int) -> dict[str, Any]:
    """The explanation robustness of one model by `method` on the pairs of its study, for a row of result.json."""
    pairs = _attacked_pairs(study, max_pairs)
    own = study.config.explanation_attack()
    settings = dataclasses.replace(own, method=method, method_options=own.options_of(method), attacked_method=None)
    measured = study.attack_explanations(model, settings, pairs=pairs, chunk_size=chunk_size)
    return {**measured.summary(), **evaluate.describe_pairs(measured, chunk_size=chunk_size)}


def _accuracies(study: TrainedStudy, model: TrainedModel, chunk_size: int) -> dict[str, float]:
    """Clean and robust accuracy as the study measured them."""
    own = study.config
    clean, robust = evaluate.accuracies(
        key_of(model.seed, Purpose.ACCURACY),
        study.model_fn,
        model.variables,
        study.test,
        norm=own.budget.norm,
        epsilon=own.budget_in_tests,
        alpha=own.tests.alpha,
        num_steps=own.tests.num_steps,
        chunk_size=chunk_size,
    )
    return {"clean_accuracy": clean, "robust_accuracy": robust}


def _work(config: CrossMethodConfig, done: Collection[tuple[str, int]]) -> Work:
    studies = {run_dir: finished_config(run_dir) for run_dir in config.study_dirs}
    tasks = []
    for run_dir, study in studies.items():
        seeds = min(config.max_seeds or study.num_seeds, study.num_seeds)
        pairs = min(config.max_pairs or study.pairs.num_pairs, study.pairs.num_pairs)
        for method in config.methods:
            what = f"attack {method} of {len(study.methods) * seeds} models of {run_dir} on {pairs} pairs"
            tasks.append(Task(what, len(study.methods) * seeds * pairs * pair_flops(study, method)))
    return Work(tasks, next(iter(studies.values())))


CROSS_METHOD = StudyKind("cross_method", CrossMethodConfig, _prepare, _measure, work=_work)
"""Every model of the given studies, attacked with each of the given explanation methods. Figure 5."""
