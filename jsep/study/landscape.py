"""The input landscape of trained models: slices, planes, curvature, and its correlation with the attack's success."""

import dataclasses
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep import evaluate, landscape, train
from jsep.checks import InputError
from jsep.study import landscape_measure
from jsep.study.config import StudyConfig
from jsep.study.costs import ModelCosts, count_flops
from jsep.study.landscape_config import AnalysisConfig, LandscapeConfig
from jsep.study.landscape_measure import Measurement
from jsep.study.methods import described_method, mark_degraded, training_method
from jsep.study.programs import Program, evaluation_programs
from jsep.study.runner import Run, StudyKind
from jsep.study.trained import TrainedModel, TrainedStudy, load_all_trained
from jsep.study.work import DataSizes, Task, Work, data_sizes, finished_config, model_costs

OUTCOMES = ("explanation_loss_end", "relative_reduction", "moved")
"""The outcomes of the explanation attack on an image: the final loss, the share of the loss removed, and the change of
the image's own map."""

BASELINES = ("explanation_loss_start", "effective_pixels")
"""Baseline predictors other than curvature, which the landscape's numbers must beat."""

CURVATURES = ("top_eigenvalue", "trace", "frobenius_norm", "average_sharpness", "worst_sharpness")


def prepare(config: LandscapeConfig) -> Sequence[TrainedStudy]:
    """The studies. Raises: InputError unless they share the same pairs and their models have different names."""
    studies = load_all_trained(config.models, data_dir=config.data_dir)
    names = [_name(study, trained) for study in studies for trained in study.trained]
    if len(set(names)) != len(names):
        raise InputError(f"models of {', '.join(config.models)} have the same names: give different studies")
    if any(study.pairs.as_dict() != studies[0].pairs.as_dict() for study in studies):
        raise InputError("the studies have different pairs of images: give all but the first its pairs_file")
    return studies


def _name(study: TrainedStudy, trained: TrainedModel) -> str:
    return f"{_method_name(study, trained.method)}/seed{trained.seed}"


def _method_name(study: TrainedStudy, method: str) -> str:
    """The name of a method in tables and figures, with the weight of its objective if it has one."""
    chosen = training_method(method)
    weight = train.objective(chosen.objective).weight
    if chosen.is_plain and weight is not None and chosen.weight is None:
        settings = study.config.train_config(method, num_pixels=1).objective_settings
        return f"{method} {getattr(settings, weight):g}"
    return method


def _compared_with(study: TrainedStudy, trained: TrainedModel) -> dict[str, Any]:
    """The fields of a row that say which method it extends, as the rows of a study have them."""
    described = described_method(trained.method)
    baseline = described["baseline"] and _method_name(study, described["baseline"])
    return {**described, "baseline": baseline, "sep_weight": trained.sep_weight}


def _measure(config: LandscapeConfig, studies: Sequence[TrainedStudy], run: Run) -> None:
    measure(config.analysis, studies, run)


def measure(config: AnalysisConfig, studies: Sequence[TrainedStudy], run: Run) -> None:
    """Adds a row per model; the numbers of every image and the arrays of the figures go to maps.npz."""
    first = studies[0]
    count = min(config.num_images or len(first.pairs.victims), len(first.pairs.victims))
    what = _measurement(config, first.config, first.test.info.image_shape)
    run.result |= {
        "study": first.config.as_dict(),
        "pairs": first.pairs.as_dict(),
        "num_images": count,
        "num_pixels": int(np.prod(first.test.info.image_shape[:2])),
        "epsilon": what.epsilon,
        "norm": config.norm,
        "directions": {scalar: list(names) for scalar, names in what.scalars},
    }
    coordinates = {"coordinates": config.num_points, "plane_coordinates": config.plane_points}
    run.directory.add_maps({name: _coordinates(config.extent, points) for name, points in coordinates.items()})
    units = [(study, trained) for study in studies for trained in study.trained]
    title = lambda unit: f"analysing {_name(*unit)}"  # noqa: E731
    for study, trained in run.missing(units, "model", title, arrays=("maps.npz",)):
        row, own, kept = _analyse_model(config, study, trained, what, count)
        arrays = {f"{row['method']}/seed{trained.seed}/numbers/{key}": value for key, value in own.items()}
        # Figures show the first seed of each method; the numbers are of all seeds.
        if row["method"] not in {other["method"] for other in run.rows}:
            arrays |= {f"{row['method']}/{key}": value for key, value in kept.items()}
        run.directory.add_maps(arrays)
        run.rows.append(row)
        mark_degraded(run.rows, {each["method"]: each["baseline"] for each in run.rows})
        run.save()
    run.progress("correlating", {})
    stored = run.directory.read_arrays("maps.npz")
    numbers = []
    for row in run.rows:
        prefix = f"{row['method']}/seed{row['seed']}/numbers/"
        numbers.append({key.removeprefix(prefix): stored[key] for key in stored if key.startswith(prefix)})
    run.result["correlations"] = _correlations(config, numbers)


def _coordinates(extent: float, num_points: int) -> np.ndarray:
    return np.asarray(landscape.grid_coordinates(extent, num_points))


def _measurement(config: AnalysisConfig, settings: StudyConfig, image_shape: tuple[int, ...]) -> Measurement:
    num_matvecs = min(config.num_matvecs, int(np.prod(image_shape)))
    num_eigenvalues = min(config.num_eigenvalues, num_matvecs)
    return Measurement(
        analysis=dataclasses.replace(config, num_matvecs=num_matvecs, num_eigenvalues=num_eigenvalues),
        epsilon=config.epsilon or settings.budget_in_tests,
        scalars=tuple((scalar, config.directions_of(scalar)) for scalar in config.scalars),
        explanation=settings.explanation_attack(),
        prediction=train.PgdConfig(
            settings.budget.norm, settings.budget_in_tests, settings.tests.alpha, settings.tests.num_steps
        ),
        sep=settings.sep.term(settings.maps),
    )


def _analyse_model(
    config: AnalysisConfig, study: TrainedStudy, trained: TrainedModel, what: Measurement, count: int
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A row of result.json, the per-image numbers, and the arrays of the figures."""
    started = time.perf_counter()
    # The same key for every model, so that directions, probes and samples are paired.
    key = jax.random.key(config.seed)
    accuracy_key, attack_key, image_key = jax.random.split(key, 3)
    settings, model_fn = study.config, study.model_fn
    clean, robust = evaluate.accuracies(
        accuracy_key, model_fn, trained.variables, study.test, norm=settings.budget.norm,
        epsilon=settings.budget_in_tests,
        alpha=settings.tests.alpha, num_steps=settings.tests.num_steps, chunk_size=settings.chunk_size,
    )  # fmt: skip
    attacked = evaluate.explanation_robustness(
        attack_key, model_fn, trained.variables, study.test, study.pairs, what.explanation,
        chunk_size=settings.chunk_size,
    )  # fmt: skip
    victims, targets = (np.asarray(rows)[:count] for rows in (study.pairs.victims, study.pairs.targets))
    inputs = (
        jax.random.split(image_key, count),
        *(jnp.asarray(study.test.as_float(rows)) for rows in (victims, targets)),
        jnp.asarray(attacked.manipulated[:count]),
        jnp.asarray(study.test.labels[victims]),
    )
    keys, *arrays = inputs
    found: dict[str, Any] = {}
    for part in what.parts():
        found |= jax.device_get(landscape_measure.measure(keys, model_fn, trained.variables, *arrays, what=part))
    few = [rows[: config.plane_images] for rows in arrays]
    few_keys = keys[: config.plane_images]
    surfaces = jax.device_get(landscape_measure.planes(few_keys, model_fn, trained.variables, *few, what=what))

    moved = np.mean((attacked.manipulated_map - attacked.victim_map) ** 2, axis=(1, 2))
    own = {
        "explanation_loss_start": attacked.loss_start,
        "explanation_loss_end": attacked.loss_end,
        "relative_reduction": np.asarray(evaluate.relative_reduction(attacked.loss_start, attacked.loss_end)),
        "moved": moved,
        "effective_pixels": attacked.effective_pixels,
    }
    own = {name: np.asarray(values)[:count] for name, values in own.items()}
    own |= {f"map/{name}": values for name, values in found.pop("map").items()}
    kept: dict[str, np.ndarray] = {}
    non_finite, outside = 0, 0.0
    for scalar, quantities in found.items():
        lines = quantities.pop("lines")
        outside = max(outside, float(quantities.pop("share_outside").mean(axis=(0, 1)).max()))
        non_finite += int(np.sum(~np.isfinite(lines)) + np.sum(~np.isfinite(surfaces[scalar])))
        kept[f"{scalar}/lines"] = lines.astype(np.float32)
        kept[f"{scalar}/plane"] = surfaces[scalar].mean(axis=0).astype(np.float32)
        for name in ("spectrum_nodes", "spectrum_weights", "eigenvalues"):
            kept[f"{scalar}/{name}"] = quantities.pop(name)
        own |= {f"{scalar}/{name}": values for name, values in quantities.items()}
    row = {
        "method": _method_name(study, trained.method),
        "seed": trained.seed,
        **_compared_with(study, trained),
        "clean_accuracy": clean,
        "robust_accuracy": robust,
        "numbers": {key: _mean_and_error(values) for key, values in own.items()},
        "num_non_finite": non_finite,
        "share_outside": round(outside, 4),
        "seconds": round(time.perf_counter() - started, 1),
    }
    return row, own, kept


def _mean_and_error(values: np.ndarray) -> dict[str, float]:
    """Mean and standard error over the images with finite values, and the number of such images."""
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    error = finite.std(ddof=1) / finite.size**0.5 if finite.size > 1 else 0.0
    return {
        "mean": float(finite.mean()) if finite.size else float("nan"),
        "standard_error": float(error),
        "median": float(np.median(finite)) if finite.size else float("nan"),
        "num_finite": int(finite.size),
    }


def _correlations(config: AnalysisConfig, numbers: Sequence[dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Spearman's rho of every predictor with every outcome: over the images within models, and over the models."""
    predictors = [*BASELINES, *(name for name in numbers[0] if name.startswith("map/"))]
    predictors += [name for name in numbers[0] if name.rpartition("/")[2] in CURVATURES]
    stacked = {name: np.stack([own[name] for own in numbers]) for name in (*predictors, *OUTCOMES)}
    finite = np.all([np.isfinite(values).all(axis=0) for values in stacked.values()], axis=0)
    rows: list[dict[str, Any]] = []
    if finite.sum() < 3:
        return rows
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    for predictor in predictors:
        for outcome in OUTCOMES:
            first, second = (jnp.asarray(stacked[name][:, finite]) for name in (predictor, outcome))
            for level in ("images", "models"):
                if level == "models" and len(numbers) < 3:
                    continue
                found = evaluate.rank_correlation(
                    key, first, second, num_resamples=config.num_bootstrap, between=level == "models"
                )
                ends = {name: round(float(value), 4) for name, value in found._asdict().items()}
                rows.append({"predictor": predictor, "outcome": outcome, "level": level, **ends})
    return rows


def task_of(config: AnalysisConfig, study: StudyConfig, num_models: int, where: str) -> Task:
    """The task of analysing `num_models` models of a study; where: the study's directory."""
    images = data_sizes(study)
    costs = model_costs(study, images)
    pairs = min(config.num_images or study.pairs.num_pairs, study.pairs.num_pairs)
    lines = len(config.directions) + config.num_directions
    points = lines * config.num_points
    # A product with the Hessian costs about two gradients.
    products = 2 * (config.num_probes + (1 + config.spectrum_probes) * config.num_matvecs)
    ascent = config.sharpness_samples + config.sharpness_steps
    map_gradient = costs.map_gradient(study.explanation_attack())
    at_pair = len(config.scalars) * (points * costs.input_gradient + (products + ascent) * map_gradient)
    attacks = images.test * costs.pgd(study.tests.num_steps)
    attacks += study.pairs.num_pairs * costs.explanation_attack(study.explanation_attack())
    what = (
        f"analyse {num_models} models of {where}: {len(config.scalars)} functions at {pairs} images, {points} points "
    )
    what += "of slices, Hessian products, sharpness; their accuracies and explanation attacks again"
    return Task(what, num_models * (pairs * at_pair + attacks))


def programs_of(config: AnalysisConfig, study: StudyConfig, images: DataSizes, costs: ModelCosts) -> list[Program]:
    """The parts of the analysis of one model: every scalar function, the map, the planes."""
    shape = images.info.image_shape
    what = _measurement(config, study, shape)
    count = min(config.num_images or study.pairs.num_pairs, study.pairs.num_pairs)

    def program(words: str, function: Callable[..., Any], part: Measurement, count: int) -> Program:
        def called(keys: Any, variables: Any, *arrays: Any) -> Any:
            return function(keys, costs.model_fn, variables, *arrays, what=part)

        keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), count))
        image = jax.ShapeDtypeStruct((count, *shape), jnp.float32)
        shapes = (keys, costs.variables, image, image, image, jax.ShapeDtypeStruct((count,), jnp.int32))
        flops = count_flops(called, *shapes)
        return Program(words, jax.jit(called), shapes, flops, config.chunk_size, "landscape_chunk_size")

    found = []
    for part in what.parts():
        name = part.scalars[0][0] if part.scalars else "the map"
        found.append(program(f"landscape of {name}, {count} images", landscape_measure.measure, part, count))
    few = min(config.plane_images, count)
    return [*found, program(f"planes, {few} images", landscape_measure.planes, what, few)]


def _programs(
    config: LandscapeConfig, study: StudyConfig, images: DataSizes, costs: ModelCosts, platform: str
) -> list[Program]:
    return [*evaluation_programs(study, images, costs), *programs_of(config.analysis, study, images, costs)]


def _work(config: LandscapeConfig, done: Collection[tuple[str, int]]) -> Work:
    studies = {run_dir: finished_config(run_dir) for run_dir in config.models}
    tasks = [
        task_of(config.analysis, study, len(study.methods) * study.num_seeds, run_dir)
        for run_dir, study in studies.items()
    ]
    return Work(tasks, next(iter(studies.values())))


LANDSCAPE = StudyKind("landscape", LandscapeConfig, prepare, _measure, work=_work, programs=_programs)
"""Slices, planes and curvature around the images of trained models. Figure 1b."""
