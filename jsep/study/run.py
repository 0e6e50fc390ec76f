"""A study: train every method with every seed, attack the explanations of each on the same pairs, report."""

import contextlib
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jsep import attack, data, devices, evaluate, models, record, report, train
from jsep.checks import InputError
from jsep.study import environment
from jsep.study.config import StudyConfig
from jsep.study.measured_weights import train_config_of
from jsep.study.methods import described_method, mark_degraded
from jsep.study.pair_maps import images_of_pairs, maps_of_pairs
from jsep.study.progress import OnProgress, StepCounter
from jsep.study.run_directory import MetricsLog, RunDirectory
from jsep.study.setup import Splits, create_model, load_splits, training_key
from jsep.study.trained import load_start
from jsep.types import Key, PyTree

GALLERY_SNAPSHOTS = 16
"""Steps of the attack that maps.npz keeps of each pair of the page's gallery."""


def run(
    config: StudyConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """Runs the study in `run_dir` and returns what result.json holds; the page is `run_dir`/index.html.

    With `resume`, models that are already evaluated are not touched and training continues from its newest checkpoint.
    With a `mesh` of `devices.make_mesh` training and the evaluations share the work out over its devices; of several
    processes, which all call this, process 0 alone reads and writes `run_dir`.

    Raises: InputError for bad input, before anything is written; train.TrainingDiverged with its step and term.
    """
    progress = on_progress or (lambda what, record: None)
    progress("loading data", {})
    splits = devices.first_then_others(lambda: load_splits(config))
    # All fail early when the data or the devices do not fit the configuration.
    devices.check_batch_size(config.batch_size, mesh)
    model = create_model(config, config.model, splits.train.info)
    start = load_start(config, model)
    config.feature_train_config().steps_per_epoch(len(splits.train))
    directory = RunDirectory(run_dir, config, resume=resume, overwrite=overwrite)
    log = MetricsLog(directory)
    counter = StepCounter(progress)
    started = time.perf_counter()
    try:
        pairs = _pairs(config, splits, directory, log, progress, mesh)
        result = directory.read_result() or {
            "format": record.FORMAT,
            "experiment": config.experiment,
            "config": config.as_dict(),
            "environment": environment.describe() | {"devices_used": mesh.size if mesh else 1},
            "pairs": pairs.as_dict(),
            "complete": False,
            "rows": [],
        }
        done = {(row["method"], row["seed"]) for row in result["rows"]}
        for seed in config.seeds:
            for method in config.methods:
                if (method, seed) in done:
                    continue
                part = {
                    "unit": len(result["rows"]),
                    "num_units": len(config.seeds) * len(config.methods),
                    "of": "model",
                }
                progress(f"{method}, seed {seed}", part)
                row, maps = _train_and_evaluate(
                    config,
                    method,
                    seed,
                    model,
                    splits,
                    pairs,
                    directory,
                    log,
                    progress,
                    counter,
                    mesh,
                    start.get(seed),
                )
                if seed == config.seed:
                    directory.add_maps(maps)
                result["rows"].append(row)
                mark_degraded(result["rows"])
                directory.write_result(result)
    finally:
        log.close()
    result["complete"] = True
    result["environment"]["seconds"] = round(
        result["environment"].get("seconds", 0.0) + time.perf_counter() - started, 1
    )
    directory.write_result(result)
    progress("drawing the page", {})
    if devices.is_first():
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
    mesh: Mesh | None,
    validate: Callable[[PyTree], dict[str, float]] | None = None,
    initial: PyTree | None = None,
) -> tuple[train.TrainState, train.Best | None]:
    """The last state, and the best one where there was validation."""
    method, seed = name

    def on_log(record: dict[str, Any]) -> None:
        log.write(method, seed, record)
        progress(f"training {method}, seed {seed}", record)

    described = train.describe(key, train_config, model, splits.train)
    last_path, best_path = (directory.checkpoints(f"{method}_seed{seed}{suffix}") for suffix in ("", "_best"))
    height, width, _ = splits.train.info.image_shape
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(train.Checkpoints(last_path, described))
        best = None
        if validate:
            best = train.BestCheckpoint(stack.enter_context(train.Checkpoints(best_path, described)))
        state = train.fit(
            key,
            model,
            splits.train,
            train_config,
            initial=initial,
            log_every=config.log_every,
            on_log=on_log,
            validate=validate,
            validate_every=config.validate_every,
            checkpoints=checkpoints,
            checkpoint_every=config.checkpoint_every,
            best=best,
            collapse=config.collapse_rule(height * width) if validate else None,
            on_resume=functools.partial(log.forget_after, method, seed),
            mesh=mesh,
            stream=config.streams(),
        )
        return state, best.restore(state.evaluated) if best else None


def _pairs(
    config: StudyConfig,
    splits: Splits,
    directory: RunDirectory,
    log: MetricsLog,
    progress: OnProgress,
    mesh: Mesh | None,
) -> evaluate.PairIndex:
    """The stored pair index, the given one, or a new one from the clusters of a trained feature network."""

    def stored() -> dict[str, Any] | None:
        path = directory.pairs_path if directory.pairs_path.exists() else config.pairs_file
        return evaluate.load_pairs(path).as_dict() if path else None

    found = devices.call_on_first_process(stored)
    if found is None:
        network = create_model(config, config.feature_model, splits.train.info)
        key = jax.random.fold_in(jax.random.key(config.seed), 2)
        state, _ = _fit(
            key,
            network,
            config.feature_train_config(),
            config,
            splits,
            ("features", config.seed),
            directory,
            log,
            progress,
            mesh,
        )
        progress("selecting pairs", {})
        variables = state.variables if mesh is None else devices.to_host(state.variables, mesh)
        # In process 0 alone: a cluster may turn on the last digit of a feature, and that on the machine.
        found = devices.call_on_first_process(lambda: _select_pairs(config, network, variables, splits.test).as_dict())
    pairs = evaluate.pairs_from_dict(found)
    pairs.check_fits(splits.test)
    if devices.is_first() and not directory.pairs_path.exists():
        evaluate.save_pairs(directory.pairs_path, pairs)
    return pairs


def _select_pairs(
    config: StudyConfig, network: models.Classifier, variables: PyTree, test: data.Dataset
) -> evaluate.PairIndex:
    return evaluate.select_pairs(
        evaluate.features(models.features_fn(network), variables, test, chunk_size=config.chunk_size),
        test,
        num_clusters=config.num_clusters,
        num_pairs=config.num_pairs,
        feature_network=f"{config.feature_model}, standard training, {config.feature_epochs} epochs",
        seed=config.seed,
    )


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
    counter: StepCounter,
    mesh: Mesh | None,
    initial: PyTree | None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A row of result.json, and the arrays of maps.npz."""
    num_pixels = splits.train.info.image_shape[0] * splits.train.info.image_shape[1]
    train_key = training_key(seed)

    def measure(own: train.TrainConfig, ratio: float) -> float:
        progress(f"measuring the SEP weight of {method}, seed {seed}", {})
        return train.sep_weight_for_ratio(
            train_key, model, splits.train, own, ratio, initial=initial, mesh=mesh, stream=config.streams()
        )

    train_config = train_config_of(config, method, seed, num_pixels, directory.path, measure)
    model_fn = models.model_fn(model)
    key = jax.random.key(seed)
    validation_key, accuracy_key, attack_key, probe_key, noise_key = (
        jax.random.fold_in(key, purpose) for purpose in (1, 3, 4, 5, 6)
    )
    explanation = config.explanation_attack()
    # A method without a derivative may need thousands of passes; the one that the attack follows does not.
    probed: dict[str, Any] = {
        "method": explanation.attacked,
        "options": explanation.options_of(explanation.attacked),
        "map_config": explanation.map_config,
    }
    probe_images = splits.validation.as_float(np.arange(min(config.probe_images, len(splits.validation))))

    def correct(
        key: Key, variables: PyTree, dataset: data.Dataset, epsilon: float, alpha: float, num_steps: int, **how: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        return evaluate.correctly_classified(
            key,
            model_fn,
            variables,
            dataset,
            norm=config.norm,
            epsilon=epsilon,
            alpha=alpha,
            num_steps=num_steps,
            chunk_size=config.chunk_size,
            **how,
        )

    def validate(variables: PyTree) -> dict[str, float]:
        settings = {
            "training": (config.epsilon, config.alpha, config.num_steps),
            "test": (config.budget_in_tests, config.test_alpha, config.test_num_steps),
        }[config.validation_attack]
        clean, robust = correct(validation_key, variables, splits.validation, *settings)
        found = {
            "validation_clean_accuracy": float(clean.mean()),
            "validation_robust_accuracy": float(robust.mean()),
        }
        return found | evaluate.map_diagnostics(probe_key, model_fn, variables, probe_images, **probed)

    started = time.perf_counter()
    model_name = (method, seed)
    state, best = _fit(
        train_key, model, train_config, config, splits, model_name, directory, log, progress, mesh, validate, initial
    )
    trained = time.perf_counter()
    progress(f"evaluating {method}, seed {seed}", {})
    test = functools.partial(
        correct,
        accuracy_key,
        dataset=splits.test,
        epsilon=config.budget_in_tests,
        alpha=config.test_alpha,
        num_steps=config.test_num_steps,
        on_progress=counter,
    )
    counter.begin(f"accuracies of {method}, seed {seed}", len(splits.test))
    compared, variables, per_image = _last_and_best(config, state, best, test)
    if variables.get("batch_stats"):
        compared["batch_statistics_accuracy"] = evaluate.batch_statistics_accuracy(
            accuracy_key, models.batch_fn(model), variables, splits.test, batch_size=config.batch_size
        )
    num_chunks = -(-len(pairs.victims) // config.chunk_size)
    counter.begin(f"attacking the explanations of {method}, seed {seed}", num_chunks * explanation.total_steps)
    results = evaluate.explanation_robustness(
        attack_key,
        model_fn,
        variables,
        splits.test,
        pairs,
        explanation,
        chunk_size=config.chunk_size,
        on_step=None if mesh else counter,  # a callback would make the devices wait for each other
    )
    victims = np.asarray(pairs.victims)
    under_noise = evaluate.noise_sensitivity(
        noise_key,
        model_fn,
        variables,
        splits.test.as_float(victims),
        radius=config.noise_radius,
        chunk_size=config.chunk_size,
        **probed,
    )
    row = {
        "method": method,
        "seed": seed,
        **described_method(method),
        "sep_weight": train_config.sep_weight,
        "sep_weight_scale_free": train.scale_free_weight(train_config.sep_weight, num_pixels),
        **compared,
        **results.summary(),
        **under_noise,
        **evaluate.describe_pairs(results, chunk_size=config.chunk_size),
        "per_image": per_image,
        "degraded": False,
        "train_seconds": round(trained - started, 2),
        "evaluate_seconds": round(time.perf_counter() - trained, 2),
    }
    if explanation.entry.warns:
        counts = results.warnings.sum(axis=0)
        row["explanation_warnings"] = dict(zip(attack.WARNING_SENTENCES, counts.tolist(), strict=True))
    if ratios := log.means_of_epochs(method, seed, "sep_gradient_ratio"):
        row["sep_gradient_ratio_of_epochs"] = ratios
    collapsed = log.first_step(method, seed, "collapsed")
    if collapsed is not None:
        row["collapsed_step"] = collapsed
    maps = {**images_of_pairs(splits.test, pairs), **maps_of_pairs(method, results)}
    course = explanation.entry.trajectory
    if seed == config.seed and config.gallery_pairs and course is not None:
        chosen = report.first_of_each_class(maps["victim_labels"], maps["victim_images"], config.gallery_pairs)
        steps = evaluate.trajectory_steps(course.num_steps(explanation.own_settings), GALLERY_SNAPSHOTS)
        visited = evaluate.attack_trajectory(
            attack_key, model_fn, variables, splits.test, pairs, explanation, chosen=chosen, steps=steps
        )
        maps |= {"course_pairs": np.array(chosen), "course_steps": np.array(steps)}
        maps |= {f"{method}/course_{name}": values for name, values in visited._asdict().items()}
    return row, maps


def _last_and_best(
    config: StudyConfig,
    state: train.TrainState,
    best: train.Best | None,
    test: Callable[[PyTree], tuple[np.ndarray, np.ndarray]],
) -> tuple[dict[str, Any], PyTree, dict[str, Any]]:
    """What a row holds of the accuracies of both checkpoints; the variables of the one that is analysed, and on which
    images it is right."""
    last = test(state.evaluated)
    found: dict[str, Any] = {"checkpoint": "last", **_shares("last_", last)}
    analysed, variables = last, state.evaluated
    if best is None:
        if config.evaluated_checkpoint == "best":
            raise InputError("the best checkpoint cannot be read; run again with evaluated_checkpoint=last")
    else:
        of_best = last if int(best.epoch) == config.epochs else test(best.variables)
        found |= {
            "best_epoch": int(best.epoch),
            "best_validation_robust_accuracy": float(best.score),
            **_shares("best_", of_best),
        }
        if config.evaluated_checkpoint == "best":
            found["checkpoint"] = "best"
            analysed, variables = of_best, best.variables
    names = ("clean_accuracy", "robust_accuracy")
    per_image = {name: record.pack_correct(values) for name, values in zip(names, analysed, strict=True)}
    return {**_shares("", analysed), **found}, variables, per_image


def _shares(prefix: str, correct: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    clean, robust = (float(values.mean()) for values in correct)
    return {f"{prefix}clean_accuracy": clean, f"{prefix}robust_accuracy": robust}
