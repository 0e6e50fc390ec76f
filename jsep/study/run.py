"""A study: train every method with every seed, attack the explanations of each on the same pairs, report."""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jsep import attack, data, evaluate, models, report, train
from jsep.study import comparisons, environment
from jsep.study.config import StudyConfig
from jsep.study.run_directory import RESULT_FORMAT, MetricsLog, RunDirectory
from jsep.study.splits import load_split
from jsep.types import Key, PyTree

GALLERY_SNAPSHOTS = 16
"""Steps of the attack that maps.npz keeps of each pair of the page's gallery."""

OnProgress = Callable[[str, dict[str, Any]], None]
"""(what is being done, the newest training record or {})."""


@dataclasses.dataclass(frozen=True)
class Splits:
    """The images of a study."""

    train: data.Dataset
    validation: data.Dataset
    test: data.Dataset


def load_splits(config: StudyConfig) -> Splits:
    """The images that the configuration names. Raises: InputError where they cannot be had."""
    counts = {"train": config.train_images, "validation": config.validation_images, "test": config.test_images}
    return Splits(
        **{split: load_split(config.dataset, config.data_dir, split, count) for split, count in counts.items()}
    )


def create_model(config: StudyConfig, name: str, info: data.DatasetInfo) -> models.Classifier:
    """The model called `name` as the configuration wants it, for the images of `info`."""
    return models.create(
        name,
        num_classes=info.num_classes,
        input_shape=info.image_shape,
        activation=config.activation,
        softplus_beta=config.softplus_beta,
        mean=info.mean if config.normalise_input else None,
        std=info.std if config.normalise_input else None,
    )


def training_key(seed: int) -> Key:
    """The key of the training of a study's models with `seed`."""
    return jax.random.fold_in(jax.random.key(seed), 0)


def run(
    config: StudyConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Runs the study in `run_dir` and returns what result.json holds; the page is `run_dir`/index.html.

    With `resume`, models that are already evaluated are not touched and training continues from its newest checkpoint.

    Raises: InputError for bad input, before anything is written; train.TrainingDiverged with its step and term.
    """
    progress = on_progress or (lambda what, record: None)
    progress("loading data", {})
    splits = load_splits(config)
    # Both fail early when the data do not fit the configuration.
    model = create_model(config, config.model, splits.train.info)
    config.feature_train_config().steps_per_epoch(len(splits.train))
    directory = RunDirectory(run_dir, config, resume=resume, overwrite=overwrite)
    log = MetricsLog(directory)
    started = time.perf_counter()
    try:
        pairs = _pairs(config, splits, directory, log, progress)
        result = directory.read_result() or {
            "format": RESULT_FORMAT,
            "experiment": config.experiment,
            "config": config.as_dict(),
            "environment": environment.describe(),
            "pairs": pairs.as_dict(),
            "complete": False,
            "rows": [],
            "summary": [],
        }
        done = {(row["method"], row["seed"]) for row in result["rows"]}
        for seed in config.seeds:
            for method in config.methods:
                if (method, seed) in done:
                    continue
                row, maps = _train_and_evaluate(config, method, seed, model, splits, pairs, directory, log, progress)
                if seed == config.seed:
                    directory.add_maps(maps)
                result["rows"].append(row)
                _mark_degraded(result["rows"])
                directory.write_result(result)
    finally:
        log.close()
    result["summary"] = report.summarise(result["rows"])
    result["statistics"] = comparisons.describe(result["rows"])
    result["complete"] = True
    result["environment"]["seconds"] = round(
        result["environment"].get("seconds", 0.0) + time.perf_counter() - started, 1
    )
    directory.write_result(result)
    progress("drawing the page", {})
    report.write(directory.path)
    return result


def _fit(
    key: Key,
    model: models.Classifier,
    train_config: train.TrainConfig,
    config: StudyConfig,
    splits: Splits,
    name: tuple[str, int],
    directory: RunDirectory,
    log: MetricsLog,
    progress: OnProgress,
    validate: Callable[[PyTree], dict[str, float]] | None = None,
) -> train.TrainState:
    method, seed = name

    def on_log(record: dict[str, Any]) -> None:
        log.write(method, seed, record)
        progress(f"training {method}, seed {seed}", record)

    described = train.describe(train_config, model, splits.train, key)
    with train.Checkpoints(directory.checkpoints(f"{method}_seed{seed}"), described) as checkpoints:
        return train.fit(
            key,
            model,
            splits.train,
            train_config,
            log_every=config.log_every,
            on_log=on_log,
            validate=validate,
            validate_every=config.validate_every,
            checkpoints=checkpoints,
            checkpoint_every=config.checkpoint_every,
            on_resume=functools.partial(log.forget_after, method, seed),
        )


def _pairs(
    config: StudyConfig, splits: Splits, directory: RunDirectory, log: MetricsLog, progress: OnProgress
) -> evaluate.PairIndex:
    """The stored pair index, the given one, or a new one from the clusters of a trained feature network."""
    if directory.pairs_path.exists():
        pairs = evaluate.load_pairs(directory.pairs_path)
    elif config.pairs_file:
        pairs = evaluate.load_pairs(config.pairs_file)
    else:
        network = create_model(config, config.feature_model, splits.train.info)
        key = jax.random.fold_in(jax.random.key(config.seed), 2)
        state = _fit(
            key,
            network,
            config.feature_train_config(),
            config,
            splits,
            ("features", config.seed),
            directory,
            log,
            progress,
        )
        progress("selecting pairs", {})
        points = evaluate.features(
            models.features_fn(network), state.variables, splits.test, chunk_size=config.chunk_size
        )
        pairs = evaluate.select_pairs(
            points,
            splits.test,
            num_clusters=config.num_clusters,
            num_pairs=config.num_pairs,
            feature_network=f"{config.feature_model}, standard training, {config.feature_epochs} epochs",
            seed=config.seed,
        )
    pairs.check_fits(splits.test)
    if not directory.pairs_path.exists():
        evaluate.save_pairs(directory.pairs_path, pairs)
    return pairs


def _train_and_evaluate(
    config: StudyConfig,
    method: str,
    seed: int,
    model: models.Classifier,
    splits: Splits,
    pairs: evaluate.PairIndex,
    directory: RunDirectory,
    log: MetricsLog,
    progress: OnProgress,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A row of result.json, and the arrays of maps.npz."""
    num_pixels = splits.train.info.image_shape[0] * splits.train.info.image_shape[1]
    train_config = config.train_config(method, num_pixels)
    model_fn = models.model_fn(model)
    key = jax.random.key(seed)
    validation_key, accuracy_key, attack_key = (jax.random.fold_in(key, purpose) for purpose in (1, 3, 4))
    train_key = training_key(seed)

    def validate(variables: PyTree) -> dict[str, float]:
        clean, robust = evaluate.accuracies(
            validation_key,
            model_fn,
            variables,
            splits.validation,
            norm=config.norm,
            epsilon=config.epsilon,
            alpha=config.alpha,
            num_steps=config.num_steps,
            chunk_size=config.chunk_size,
        )
        return {"validation_clean_accuracy": clean, "validation_robust_accuracy": robust}

    started = time.perf_counter()
    state = _fit(train_key, model, train_config, config, splits, (method, seed), directory, log, progress, validate)
    trained = time.perf_counter()
    progress(f"evaluating {method}, seed {seed}", {})
    clean, robust = evaluate.accuracies(
        accuracy_key,
        model_fn,
        state.variables,
        splits.test,
        norm=config.norm,
        epsilon=config.epsilon,
        alpha=config.test_alpha,
        num_steps=config.test_num_steps,
        chunk_size=config.chunk_size,
    )
    results = evaluate.explanation_robustness(
        attack_key,
        model_fn,
        state.variables,
        splits.test,
        pairs,
        config.explanation_attack(),
        chunk_size=config.chunk_size,
    )
    row = {
        "method": method,
        "seed": seed,
        "sep_weight": train_config.sep_weight,
        "sep_weight_scale_free": train.scale_free_weight(train_config.sep_weight, num_pixels),
        "clean_accuracy": clean,
        "robust_accuracy": robust,
        **results.summary(),
        **evaluate.describe_pairs(results, chunk_size=config.chunk_size),
        "degraded": False,
        "train_seconds": round(trained - started, 2),
        "evaluate_seconds": round(time.perf_counter() - trained, 2),
    }
    if config.explanation_attack_kind == "auto":
        counts = results.warnings.sum(axis=0)
        row["explanation_warnings"] = dict(zip(attack.WARNING_SENTENCES, counts.tolist(), strict=True))
    victims, targets = np.asarray(pairs.victims), np.asarray(pairs.targets)
    maps = {
        "victim_images": splits.test.as_float(victims),
        "target_images": splits.test.as_float(targets),
        "victim_labels": splits.test.labels[victims],
        "target_labels": splits.test.labels[targets],
        "class_names": np.array(splits.test.info.class_names),
    }
    for name in (
        "manipulated",
        "victim_map",
        "target_map",
        "manipulated_map",
        "losses",
        "predicted",
        "manipulated_predicted",
    ):
        maps[f"{method}/{name}"] = getattr(results, name)
    if seed == config.seed and config.gallery_pairs and config.explanation_attack_kind == "targeted":
        chosen = report.first_of_each_class(maps["victim_labels"], maps["victim_images"], config.gallery_pairs)
        steps = evaluate.course_steps(config.explanation_num_steps, GALLERY_SNAPSHOTS)
        course = evaluate.attack_course(
            attack_key,
            model_fn,
            state.variables,
            splits.test,
            pairs,
            config.explanation_attack(),
            chosen=chosen,
            steps=steps,
        )
        maps |= {"course_pairs": np.array(chosen), "course_steps": np.array(steps)}
        maps |= {f"{method}/course_{name}": values for name, values in course._asdict().items()}
    return row, maps


def _mark_degraded(rows: list[dict[str, Any]]) -> None:
    """Marks the models whose clean accuracy is more than evaluate.DEGRADED_MARGIN below that of MAT with the
    same seed."""
    mat = {row["seed"]: row["clean_accuracy"] for row in rows if row["method"] == "mat"}
    for row in rows:
        row["degraded"] = evaluate.is_degraded(row["clean_accuracy"], mat.get(row["seed"], 0.0))
