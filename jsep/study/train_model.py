"""One model of a study: its training from its newest checkpoint, accuracies, and the attack on its explanations."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from jsep import data, evaluate, models, record, report, train
from jsep.checks import InputError
from jsep.study.config import StudyConfig
from jsep.study.methods import described_method
from jsep.study.pair_results import attack_pairs, images_of_pairs, maps_of_pairs, warnings_of
from jsep.study.run_directory import MetricsLog
from jsep.study.runner import Run
from jsep.study.setup import Purpose, Splits, key_of, train_config_of
from jsep.types import Key, PyTree

GALLERY_SNAPSHOTS = 16
"""The number of attack steps stored in maps.npz for each pair of the page's gallery."""


@dataclasses.dataclass(frozen=True)
class Training:
    """Shared by all models of a study: the configuration, images, network, initial variables per seed, run and log."""

    config: StudyConfig
    splits: Splits
    model: models.Classifier
    start: dict[int, PyTree]
    run: Run
    log: MetricsLog

    @property
    def num_pixels(self) -> int:
        """Pixels of a map."""
        height, width, _ = self.splits.train.info.image_shape
        return height * width


def fit(
    key: Key,
    training: Training,
    model: models.Classifier,
    train_config: train.TrainConfig,
    name: tuple[str, int],
    validate: Callable[[PyTree], dict[str, float]] | None = None,
    initial: PyTree | None = None,
) -> tuple[train.TrainState, train.Best | None]:
    """Trains the model `name`, (method, seed), from its newest checkpoint where there is one.

    Returns: the last state, and the best one where there was validation.
    """
    config, run, dataset = training.config, training.run, training.splits.train
    method, seed = name

    def on_log(logged: dict[str, Any]) -> None:
        training.log.write(method, seed, logged)
        run.progress(f"training {method}, seed {seed}", logged)

    described = train.describe(key, train_config, model, dataset)
    last_path, best_path = (run.directory.checkpoints(f"{method}_seed{seed}{suffix}") for suffix in ("", "_best"))
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(train.Checkpoints(last_path, described))
        best = None
        if validate:
            of_best = stack.enter_context(train.Checkpoints(best_path, described))
            # Without the best state of before, a run that goes on might find another one to be the best.
            of_best.remove_if_newest_is_damaged(checkpoints)
            best = train.BestCheckpoint(of_best)
        state = train.fit(
            key,
            model,
            dataset,
            train_config,
            initial=initial,
            log_every=config.monitoring.log_every,
            on_log=on_log,
            validate=validate,
            validate_every=config.monitoring.validate_every,
            checkpoints=checkpoints,
            checkpoint_every=config.monitoring.checkpoint_every,
            best=best,
            collapse=config.monitoring.collapse_rule(training.num_pixels) if validate else None,
            on_resume=functools.partial(training.log.forget_after, method, seed),
            mesh=run.mesh,
            stream=config.data.streams,
        )
        return state, best.restore(state.evaluated) if best else None


def train_and_evaluate(
    training: Training, pairs: evaluate.PairIndex, method: str, seed: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A row of result.json, and the arrays of maps.npz."""
    config, splits, model, run = training.config, training.splits, training.model, training.run
    accuracy_key = key_of(seed, Purpose.ACCURACY)
    started = time.perf_counter()
    train_config, state, best = _trained(training, method, seed)
    trained = time.perf_counter()
    name = f"{method}, seed {seed}"
    run.progress(f"evaluating {name}", {})

    def test(variables: PyTree) -> evaluate.Classification:
        attacked = (config.budget_in_tests, config.tests.alpha, config.tests.num_steps)
        return _correct(accuracy_key, training, variables, splits.test, attacked, on_progress=run.counter)

    run.counter.begin(f"accuracies of {name}", len(splits.test))
    compared, variables = _last_and_best(config, state, best, test)
    if variables.get("batch_stats"):
        compared["batch_statistics_accuracy"] = evaluate.batch_statistics_accuracy(
            accuracy_key, models.batch_fn(model), variables, splits.test, batch_size=config.training.batch_size
        )
    measured, maps = _explanations(training, pairs, variables, (method, seed))
    row = {
        "method": method,
        "seed": seed,
        **described_method(method),
        "sep_weight": train_config.sep_weight,
        "sep_weight_scale_free": train.scale_free_weight(train_config.sep_weight, training.num_pixels),
        **compared,
        **measured,
        "degraded": False,
        "train_seconds": round(trained - started, 2),
        "evaluate_seconds": round(time.perf_counter() - trained, 2),
    }
    if ratios := training.log.means_of_epochs(method, seed, "sep_gradient_ratio"):
        row["sep_gradient_ratio_of_epochs"] = ratios
    at_end = training.log.last(method, seed, "validation_robust_accuracy")
    if at_end is not None:
        row["last_validation_robust_accuracy"] = at_end
    collapsed = training.log.first_step(method, seed, "collapsed")
    if collapsed is not None:
        row["collapsed_step"] = collapsed
    return row, maps


def maps_of(training: Training, pairs: evaluate.PairIndex, method: str, seed: int) -> dict[str, np.ndarray]:
    """The arrays of maps.npz of a model that is trained already."""
    _, state, best = _trained(training, method, seed)
    variables = state.evaluated
    if training.config.evaluated_checkpoint == "best" and best is not None:
        variables = best.variables
    return _explanations(training, pairs, variables, (method, seed))[1]


def _trained(
    training: Training, method: str, seed: int
) -> tuple[train.TrainConfig, train.TrainState, train.Best | None]:
    """The configuration of a model, its last state and its best one, trained from its newest checkpoint."""
    config, splits, model, run = training.config, training.splits, training.model, training.run
    train_key, initial = key_of(seed, Purpose.TRAINING), training.start.get(seed)

    def measure(own: train.TrainConfig, ratio: float) -> float:
        run.progress(f"measuring the SEP weight of {method}, seed {seed}", {})
        return train.sep_weight_for_ratio(
            train_key, model, splits.train, own, ratio, initial=initial, mesh=run.mesh, stream=config.data.streams
        )

    train_config = train_config_of(config, method, seed, training.num_pixels, run.directory.path, measure)
    validate = _validation(key_of(seed, Purpose.VALIDATION), key_of(seed, Purpose.PROBE_IMAGES), training)
    return train_config, *fit(train_key, training, model, train_config, (method, seed), validate, initial)


def _correct(
    key: Key, training: Training, variables: PyTree, dataset: data.Dataset, attacked: tuple[float, float, int],
    **how: Any,
) -> evaluate.Classification:  # fmt: skip
    """How each image is classified; attacked: budget, step size and number of steps of PGD."""
    epsilon, alpha, num_steps = attacked
    return evaluate.classification(
        key, models.model_fn(training.model), variables, dataset, norm=training.config.budget.norm, epsilon=epsilon,
        alpha=alpha, num_steps=num_steps, chunk_size=training.config.chunk_size, **how,
    )  # fmt: skip


def _probed(config: StudyConfig) -> dict[str, Any]:
    """The explanation method of the map diagnostics: the attack's surrogate where the method has no derivative, since
    such a method may need thousands of forward passes."""
    explanation = config.explanation_attack()
    return {
        "method": explanation.attacked,
        "options": explanation.options_of(explanation.attacked),
        "map_config": explanation.map_config,
    }


def _validation(key: Key, probe_key: Key, training: Training) -> Callable[[PyTree], dict[str, float]]:
    """Returns: variables -> metrics on the validation images, to call after every validate_every epochs."""
    config, validation = training.config, training.splits.validation
    images = validation.as_float(np.arange(min(config.monitoring.probe_images, len(validation))))
    attacked = {
        "training": (config.budget.epsilon, config.attack.alpha, config.attack.num_steps),
        "test": (config.budget_in_tests, config.tests.alpha, config.tests.num_steps),
    }[config.monitoring.validation_attack]

    def validate(variables: PyTree) -> dict[str, float]:
        found = _shares("validation_", _correct(key, training, variables, validation, attacked))
        model_fn = models.model_fn(training.model)
        return found | evaluate.map_diagnostics(probe_key, model_fn, variables, images, **_probed(config))

    return validate


def _explanations(
    training: Training, pairs: evaluate.PairIndex, variables: PyTree, name: tuple[str, int]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The entries of a row on a model's explanations, and the arrays of maps.npz."""
    config, test, run = training.config, training.splits.test, training.run
    model_fn, explanation = models.model_fn(training.model), config.explanation_attack()
    attacks = config.explanation_attacks()
    method, seed = name
    key, noise_key = key_of(seed, Purpose.EXPLANATIONS), key_of(seed, Purpose.NOISE)
    num_chunks = -(-len(pairs.victims) // config.chunk_size)
    on_step = None if run.mesh else run.counter  # a callback would synchronise the devices

    def attack_with(strength: str, how: evaluate.ExplanationAttackConfig) -> evaluate.PairResults:
        what = f"attacking the explanations of {method}, seed {seed} ({strength})"
        run.counter.begin(what, num_chunks * how.total_steps)
        return evaluate.explanation_robustness(
            key, model_fn, variables, test, pairs, how, chunk_size=config.chunk_size, on_step=on_step
        )

    results, strengths = attack_pairs(attacks, attack_with, config.chunk_size)
    victims = test.as_float(np.asarray(pairs.victims))
    under_noise = evaluate.noise_sensitivity(
        noise_key, model_fn, variables, victims, radius=config.noise_radius, chunk_size=config.chunk_size,
        **_probed(config),
    )  # fmt: skip
    found = {
        **results.summary(),
        **under_noise,
        **evaluate.describe_pairs(results, chunk_size=config.chunk_size),
        **strengths,
        **warnings_of(list(attacks.values())[-1], results),
    }
    maps = {**images_of_pairs(test, pairs), **maps_of_pairs(method, results)}
    course = explanation.entry.trajectory
    if seed == config.seed and config.pairs.gallery_pairs and course is not None:
        # The first method of a study chooses for all, so that the page can switch between them.
        chosen = run.directory.read_arrays("maps.npz").get("course_pairs", np.array([], int)).tolist()
        if not chosen:
            correct = np.asarray(results.predicted) == maps["victim_labels"]
            chosen = report.first_of_each_class(
                maps["victim_labels"], maps["victim_images"], config.pairs.gallery_pairs, correct
            )
        steps = evaluate.trajectory_steps(course.num_steps(explanation.own_settings), GALLERY_SNAPSHOTS)
        visited = evaluate.attack_trajectory(
            key, model_fn, variables, test, pairs, explanation, chosen=chosen, steps=steps
        )
        maps |= {"course_pairs": np.array(chosen), "course_steps": np.array(steps)}
        maps |= {f"{method}/course_{part}": values for part, values in visited._asdict().items()}
    return found, maps


def _last_and_best(
    config: StudyConfig,
    state: train.TrainState,
    best: train.Best | None,
    test: Callable[[PyTree], evaluate.Classification],
) -> tuple[dict[str, Any], PyTree]:
    """The entries of a row on the accuracies of both checkpoints, and the variables of the one to analyse."""
    last = test(state.evaluated)
    found: dict[str, Any] = {"checkpoint": "last", **_shares("last_", last)}
    analysed, variables = last, state.evaluated
    if best is None:
        if config.evaluated_checkpoint == "best":
            raise InputError("the best checkpoint cannot be read; run again with evaluated_checkpoint=last")
    else:
        of_best = last if int(best.epoch) == config.training.epochs else test(best.variables)
        found |= {
            "best_epoch": int(best.epoch),
            "best_validation_robust_accuracy": float(best.score),
            **_shares("best_", of_best),
        }
        if config.evaluated_checkpoint == "best":
            found["checkpoint"] = "best"
            analysed, variables = of_best, best.variables
    per_image = {"clean_accuracy": analysed.clean, "robust_accuracy": analysed.robust}
    return {
        **_shares("", analysed),
        "num_non_finite": analysed.num_non_finite,
        **found,
        "per_image": {name: record.pack_correct(values) for name, values in per_image.items()},
    }, variables


def _shares(prefix: str, found: evaluate.Classification) -> dict[str, float]:
    clean, robust = found.accuracies()
    return {f"{prefix}clean_accuracy": clean, f"{prefix}robust_accuracy": robust}
