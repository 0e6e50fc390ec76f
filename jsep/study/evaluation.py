"""An evaluation: trained or imported models, attacked on the same images and pairs, with intervals and a verdict."""

import dataclasses
import functools
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jsep import attack, data, evaluate, record, train
from jsep.study.config import StudyConfig
from jsep.study.costs import ModelCosts
from jsep.study.evaluation_config import STORED, EvaluationConfig
from jsep.study.evaluation_subject import EvaluatedModel, Subject, described, load_subject, reference_for
from jsep.study.methods import mark_degraded
from jsep.study.pair_results import attack_pairs, images_of_pairs, maps_of_pairs, warnings_of
from jsep.study.programs import Program, evaluation_programs
from jsep.study.progress import StepCounter
from jsep.study.runner import Run, StudyKind
from jsep.study.setup import Purpose, key_of
from jsep.study.work import DataSizes, Task, Work, data_sizes, finished_config, model_costs

_VALUES = "values.npz"
_ACCURACIES = ("clean_accuracy", "robust_accuracy", "auto_attack_accuracy")


def measure(config: EvaluationConfig, subject: Subject, run: Run) -> None:
    """Adds a row per model. Finished chunks of images and pairs are stored, from which an interrupted run resumes.

    Writes pairs.json, maps.npz, and values.npz with the value of every image and pair.
    """
    directory, test = run.directory, subject.test
    if not directory.pairs_path.exists():
        evaluate.save_pairs(directory.pairs_path, subject.pairs)
    run.result |= {
        "data": {"dataset": test.info.name, "split": test.split, "num_images": len(test)},
        "pairs": subject.pairs.as_dict(),
        "reference": subject.reference,
    }
    directory.add_maps(images_of_pairs(test, subject.pairs))
    of_one = _Measurement(config, subject, run)
    references = {
        model.method: reference_for(config, subject.reference, subject.models, model) for model in subject.models
    }
    title = "evaluating {0.name}".format
    for model in run.missing(subject.models, "model", title, arrays=("maps.npz", _VALUES)):
        row, values, maps = of_one(model)
        directory.add_arrays(_VALUES, {f"{model.method}/{model.seed}/{name}": value for name, value in values.items()})
        if model.seed == next(m.seed for m in subject.models if m.method == model.method):
            directory.add_maps(maps)
        run.rows.append(row)
        mark_degraded(run.rows, references)
        run.save()


@dataclasses.dataclass
class _Measurement:
    """Measures one model after the other and reports the progress of each part."""

    config: EvaluationConfig
    subject: Subject
    run: Run

    def __call__(self, model: EvaluatedModel) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray]]:
        """A row of result.json, the values of every image and pair, and the arrays of maps.npz."""
        started = time.perf_counter()
        classified = self._classification(model)
        values = {"clean_accuracy": classified.clean, "robust_accuracy": classified.robust}
        attacks = self.config.explanation_attacks()
        results, strengths = attack_pairs(
            attacks, functools.partial(self._robustness, model, list(attacks)[-1]), self.config.chunk_size
        )
        found = evaluate.compare_maps(
            *(np.asarray(maps) for maps in (results.victim_map, results.target_map, results.manipulated_map)),
            chunk_size=self.config.chunk_size,
        )
        values |= {name: value for name, value in found.items() if name != "effective_pixels_start"}
        values |= {
            "explanation_loss_start": np.asarray(results.loss_start),
            "explanation_loss_end": np.asarray(results.loss_end),
            "cosine_start": np.asarray(results.cosine_start),
            "cosine_end": np.asarray(results.cosine_end),
            "effective_pixels": np.asarray(results.effective_pixels),
            "label_kept": np.asarray(results.label_kept),
            "perturbation_size": np.asarray(results.distance),
        }
        properties = self._properties(model, results) if self.config.properties.measured else {}
        values |= properties
        row: dict[str, Any] = {
            "method": model.method,
            "seed": model.seed,
            **described(self.subject.models, model),
            "source": model.source,
            "sep_weight": model.sep_weight,
            "sep_weight_scale_free": train.scale_free_weight(model.sep_weight, results.victim_map[0].size),
            **dict(zip(_ACCURACIES, classified.accuracies(), strict=False)),
            "num_non_finite": classified.num_non_finite,
            **results.summary(),
            **evaluate.describe_pairs(results, found),
            **{name: float(np.nanmean(value)) for name, value in properties.items() if np.isfinite(value).any()},
            **strengths,
            **warnings_of(list(attacks.values())[-1], results),
            "degraded": False,
        }
        if model.collapsed:
            row["collapsed"] = True
        if self.config.auto_attack.version is not None:
            info = self._auto_attack(model)
            values["auto_attack_accuracy"] = info.robust
            row["auto_attack_accuracy"] = float(info.robust.mean())
            row["auto_attack_warnings"] = list(info.raised)
        row["per_image"] = {name: record.pack_correct(values[name]) for name in _ACCURACIES if name in values}
        row["evaluate_seconds"] = round(time.perf_counter() - started, 2)
        return row, values, maps_of_pairs(model.method, results)

    def _begin(self, what: str, total: int) -> StepCounter:
        self.run.progress(what, {})
        self.run.counter.begin(what, total)
        return self.run.counter

    def _store(self, model: EvaluatedModel, part: str) -> Path:
        index = next(place for place, other in enumerate(self.subject.models) if other is model)
        return self.run.directory.path / "chunks" / f"model_{index}" / part

    def _key(self, model: EvaluatedModel, purpose: Purpose) -> jax.Array:
        """For a study's model the key that the study used, so that the same settings give the same numbers."""
        return key_of(model.seed if model.trained_as else self.config.seed, purpose)

    def _classification(self, model: EvaluatedModel) -> evaluate.Classification:
        config = self.config
        return evaluate.classification(
            self._key(model, Purpose.ACCURACY),
            model.model_fn,
            model.variables,
            self.subject.test,
            norm=config.budget.norm,
            epsilon=config.budget.epsilon,
            alpha=config.tests.alpha,
            num_steps=config.tests.num_steps,
            chunk_size=config.chunk_size,
            store=self._store(model, "accuracy"),
            on_progress=self._begin(f"accuracies of {model.name}", len(self.subject.test)),
        )

    def _robustness(
        self, model: EvaluatedModel, last: str, strength: str, settings: evaluate.ExplanationAttackConfig
    ) -> evaluate.PairResults:
        num_chunks = -(-len(self.subject.pairs.victims) // self.config.chunk_size)
        return evaluate.explanation_robustness(
            self._key(model, Purpose.EXPLANATIONS),
            model.model_fn,
            model.variables,
            self.subject.test,
            self.subject.pairs,
            settings,
            chunk_size=self.config.chunk_size,
            store=self._store(model, "pairs" if strength == last else f"pairs_{strength}"),
            on_step=self._begin(
                f"attacking the explanations of {model.name} ({strength})", num_chunks * settings.total_steps
            ),
        )

    def _properties(self, model: EvaluatedModel, results: evaluate.PairResults) -> dict[str, np.ndarray]:
        settings = self.config.explanation_attack()
        victims = self.subject.test.as_float(np.asarray(self.subject.pairs.victims))
        count = self._begin(f"properties of the explanations of {model.name}", len(victims))
        parts = []
        # Each image comes with all of its neighbours, so few images at a time.
        size = min(16, len(victims))
        for first in range(0, len(victims), size):
            rows = np.minimum(np.arange(first, first + size), len(victims) - 1)
            parts.append(
                evaluate.explanation_properties(
                    jax.random.fold_in(self._key(model, Purpose.PROPERTIES), first),
                    model.model_fn,
                    model.features_fn,
                    model.variables,
                    victims[rows],
                    np.asarray(results.manipulated)[rows],
                    method=settings.method,
                    options=settings.method_options,
                    map_config=settings.map_config,
                    config=self.config.properties.config(),
                    chunk_size=size,
                )
            )
            count(min(size, len(victims) - first))
        return {name: np.concatenate([part[name] for part in parts])[: len(victims)] for name in parts[0]}

    def _auto_attack(self, model: EvaluatedModel) -> attack.AutoAttackInfo:
        config, test = self.config, self.subject.test
        if config.auto_attack.num_images:
            test = data.stratified_subset(test, config.auto_attack.num_images)
        total = len(test)
        version, part = config.auto_attack.version, config.auto_attack.part
        assert version is not None
        count, seen = self._begin(f"AutoAttack on {model.name}", total), 0

        def on_attack(name: str, record: dict[str, float]) -> None:
            nonlocal seen
            count(record["done"] - seen)
            seen = int(record["done"])

        _, _, info = evaluate.auto_attack_accuracy(
            self._key(model, Purpose.AUTO_ATTACK),
            model.model_fn,
            model.variables,
            test,
            norm=config.budget.norm,
            epsilon=config.budget.epsilon,
            version=version,
            chunk_size=min(config.chunk_size, part),
            part_size=part,
            store=self._store(model, "auto_attack"),
            on_progress=on_attack,
        )
        return info


def _work(config: EvaluationConfig, done: Collection[tuple[str, int]]) -> Work:
    config.check_subject()
    tasks: list[Task] = []
    first = None
    for run_dir, _, method in config.sources():
        study = finished_config(run_dir)
        first = first or study
        images = data_sizes(study)
        costs, attacks = model_costs(study, images), config.explanation_attacks().values()
        chosen = (method,) if method else config.methods
        methods = [name for name in study.methods if not chosen or name in chosen]
        num_models = len(methods) * min(config.max_seeds or study.num_seeds, study.num_seeds)
        num_images = images.test if config.test_images is None else config.test_images or images.test
        num_pairs = study.pairs.num_pairs if config.pairs.selection == STORED else config.pairs.num_pairs
        num_pairs = min(config.pairs.max_pairs or num_pairs, num_pairs)
        flops = num_images * costs.pgd(config.tests.num_steps) + num_pairs * sum(map(costs.explanation_attack, attacks))
        what = f"evaluate {num_models} models of {run_dir}: PGD of {config.tests.num_steps} steps on {num_images} "
        steps = " and ".join(str(each.total_steps) for each in attacks)
        what += f"images, explanation attack of {steps} steps on {num_pairs} pairs"
        tasks.append(Task(what, num_models * flops))
    for what, is_part in (
        (f"the models {', '.join(config.imported.names())}", bool(config.imported.names())),
        (f"AutoAttack, {config.auto_attack.version}", config.auto_attack.version is not None),
        ("properties of the explanations", config.properties.measured),
    ):
        if is_part:
            tasks.append(Task(f"{what}: not in the estimate", 0.0))
    return Work(tasks, first)


def _programs(
    config: EvaluationConfig, study: StudyConfig, images: DataSizes, costs: ModelCosts, platform: str
) -> list[Program]:
    return evaluation_programs(config, images, costs)


EVALUATION = StudyKind("evaluation", EvaluationConfig, load_subject, measure, work=_work, programs=_programs)
"""Trained or imported models on the same images and pairs, under the same attacks."""
