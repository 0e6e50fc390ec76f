"""What a run would do, how long and with how much memory, before anything is done or written."""

import dataclasses
import json
import math
from collections.abc import Collection
from pathlib import Path

import jax
import numpy as np

from jsep import data, train
from jsep.checks import InputError
from jsep.study.attack_strength import AttackStrengthConfig
from jsep.study.config import StudyConfig
from jsep.study.configuration import Configuration
from jsep.study.correlation import CorrelationConfig
from jsep.study.costs import TIMED_IMAGES, ModelCosts
from jsep.study.cross_method import CrossMethodConfig
from jsep.study.evaluation_config import STORED, EvaluationConfig
from jsep.study.explanation_attacks import ExplanationAttacksConfig
from jsep.study.explanation_methods import ExplanationMethodsConfig
from jsep.study.landscape_config import AnalysisConfig, LandscapeConfig
from jsep.study.methods_table import MethodsTableConfig
from jsep.study.precision import PrecisionConfig
from jsep.study.selection import SelectionConfig
from jsep.study.setup import create_model
from jsep.study.trades_landscape import TradesLandscapeConfig
from jsep.study.weight_sweep import WeightSweepConfig


@dataclasses.dataclass(frozen=True)
class Task:
    """A part of the work: what it is, and how many floating-point operations."""

    what: str
    flops: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """tasks, in their order; seconds: an estimate, None where nothing could be counted; memory_bytes: of arrays in the
    training step that needs most, None where nothing is trained; basis: what the time rests on, in a sentence."""

    tasks: tuple[Task, ...]
    seconds: float | None
    memory_bytes: float | None
    basis: str


@dataclasses.dataclass(frozen=True)
class _Data:
    info: data.DatasetInfo
    bytes_per_pixel: int
    train: int
    validation: int
    test: int


def _data(config: StudyConfig | ExplanationMethodsConfig) -> _Data:
    own = config.data if isinstance(config, StudyConfig) else config
    name = own.dataset
    counts = [getattr(own, f"{split}_images", 0) for split in ("train", "validation", "test")]
    source = data.DATASETS.get(name)
    if source is not None and source.info is not None and source.num_images is not None:
        info, sizes = source.info, list(source.num_images)
        bytes_per_pixel = 1  # as pictures are stored
    else:  # embedded, one file, or another's
        splits = [data.load(name, data_dir=own.data_dir, split=split) for split in ("train", "validation", "test")]
        info, sizes = splits[0].info, [len(split) for split in splits]
        bytes_per_pixel = splits[0].images.dtype.itemsize
    return _Data(info, bytes_per_pixel, *(given or whole for given, whole in zip(counts, sizes, strict=True)))


def _costs(study: StudyConfig, images: _Data) -> ModelCosts:
    return ModelCosts(create_model(study.model, images.info), images.info.image_shape)


def _study_tasks(config: StudyConfig, images: _Data, done: Collection[tuple[str, int]]) -> list[Task]:
    shape = images.info.image_shape
    costs = _costs(config, images)
    explanation = config.explanation_attack()
    tasks = []
    if config.pairs.file is None and not done:
        network = ModelCosts(create_model(config.model, images.info, config.features.model), shape)
        settings = config.feature_train_config()
        steps = settings.epochs * settings.steps_per_epoch(images.train)
        flops = steps * network.training_step(settings)
        tasks.append(Task(f"train the feature network {config.features.model}: {steps} steps", flops))
    attacked = costs.pgd(config.attack.num_steps), costs.pgd(config.tests.num_steps)
    a_pair = costs.explanation_attack(explanation)
    for method in config.methods:
        seeds = [seed for seed in config.seeds if (method, seed) not in done]
        if not seeds:
            continue
        settings = config.train_config(method, shape[0] * shape[1])
        steps = settings.epochs * settings.steps_per_epoch(images.train)
        looks = -(-config.training.epochs // config.monitoring.validate_every)
        validation = looks * images.validation * attacked[config.monitoring.validation_attack == "test"]
        flops = len(seeds) * (steps * costs.training_step(settings) + validation)
        what = f"train {method}, {len(seeds)} seed(s): {steps} steps each of {config.training.batch_size} images"
        if train.objective(settings.objective).adversarial:
            what += f", {settings.attack.num_steps} attack steps"
        tasks.append(Task(what, flops))
        what = (
            f"evaluate {method}, {len(seeds)} seed(s): PGD of {config.tests.num_steps} steps on {images.test} images, "
        )
        what += f"explanation attack of {explanation.total_steps} steps on {config.pairs.num_pairs} pairs "
        what += f"by {explanation.attacked}"
        if explanation.attacked != config.explanation.method:
            what += f"; maps by {config.explanation.method}, which are not in the estimate"
        tasks.append(Task(what, len(seeds) * (images.test * attacked[1] + config.pairs.num_pairs * a_pair)))
    return tasks


def _finished(run_dir: str) -> StudyConfig:
    """The configuration of the study in a directory. Raises: InputError where there is none."""
    try:
        return StudyConfig.from_dict(json.loads((Path(run_dir) / "config.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{run_dir} holds no study that can be read ({error}); give the run_dir of one") from error


def _landscape_tasks(config: AnalysisConfig, study: StudyConfig, num_models: int, where: str) -> list[Task]:
    images = _data(study)
    costs = _costs(study, images)
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
    return [Task(what, num_models * (pairs * at_pair + attacks))]


def _tasks(config: Configuration, done: Collection[tuple[str, int]]) -> tuple[list[Task], StudyConfig | None]:
    """The tasks, and the study whose model is timed."""
    if isinstance(config, TradesLandscapeConfig):
        tasks = []
        for text in config.trades_betas:
            own = _study_tasks(config.study_config(float(text)), _data(config), done)
            tasks += [Task(f"trades_beta {text}: {task.what}", task.flops) for task in own]
        models_of_sweep = len(config.trades_betas) * config.num_seeds
        return tasks + _landscape_tasks(config.analysis, config, models_of_sweep, "the sweep"), config
    if isinstance(config, MethodsTableConfig):
        return _methods_table_tasks(config, done), config
    if isinstance(config, PrecisionConfig):
        return _precision_tasks(config), config
    if isinstance(config, StudyConfig):
        return _study_tasks(config, _data(config), done), config
    if isinstance(config, LandscapeConfig):
        studies = {run_dir: _finished(run_dir) for run_dir in config.models}
        tasks = [
            task
            for run_dir, study in studies.items()
            for task in _landscape_tasks(config.analysis, study, len(study.methods) * study.num_seeds, run_dir)
        ]
        return tasks, next(iter(studies.values()))
    if isinstance(config, CrossMethodConfig):
        return _cross_method_tasks(config)
    if isinstance(config, SelectionConfig):
        study = _finished(config.study_dir)
        count_models = len(study.methods) * min(config.max_seeds or study.num_seeds, study.num_seeds)
        attacks = count_models * len(config.selections) * config.num_draws
        what = f"attack {count_models} models of {config.study_dir} on {config.num_pairs} pairs, drawn "
        what += f"{config.num_draws} times by each of {len(config.selections)} rules"
        return [Task(what, attacks * config.num_pairs * _pair_flops(study))], study
    if isinstance(config, ExplanationAttacksConfig):
        study = _finished(config.models_dir)
        pairs = (config.num_pairs or study.pairs.num_pairs) + config.num_near_boundary
        compared = config.attack_configs(study.explanation_attack())
        num_models = len(config.methods or study.methods)
        a_pair = sum(_costs(study, _data(study)).explanation_attack(settings) for settings in compared.values())
        what = f"attack {num_models} models of {config.models_dir} on {pairs} pairs by {len(compared)} attacks"
        return [Task(what, num_models * pairs * a_pair)], study
    if isinstance(config, AttackStrengthConfig):
        return _strength_tasks(config)
    if isinstance(config, ExplanationMethodsConfig):
        return [Task(f"train a small ConvNet and a transformer, explain by {len(config.methods)} methods", 0.0)], None
    if isinstance(config, EvaluationConfig):
        return _evaluation_tasks(config)
    if isinstance(config, CorrelationConfig | WeightSweepConfig):
        return [Task(f"read the finished studies in {', '.join(config.study_dirs)}; nothing is trained", 0.0)], None
    return [Task(f"a study of the kind {type(config).__name__}: not in the estimate", 0.0)], None


def _pair_flops(study: StudyConfig, method: str | None = None) -> float:
    """Of the study's explanation attack on one pair."""
    images = _data(study)
    explanation = study.explanation_attack()
    if method is not None:
        own = explanation.options_of(method)
        explanation = dataclasses.replace(explanation, method=method, method_options=own, attacked_method=None)
    return _costs(study, images).explanation_attack(explanation)


def _cross_method_tasks(config: CrossMethodConfig) -> tuple[list[Task], StudyConfig]:
    studies = {run_dir: _finished(run_dir) for run_dir in config.study_dirs}
    tasks = []
    for run_dir, study in studies.items():
        seeds = min(config.max_seeds or study.num_seeds, study.num_seeds)
        pairs = min(config.max_pairs or study.pairs.num_pairs, study.pairs.num_pairs)
        for method in config.methods:
            what = f"attack {method} of {len(study.methods) * seeds} models of {run_dir} on {pairs} pairs"
            tasks.append(Task(what, len(study.methods) * seeds * pairs * _pair_flops(study, method)))
    return tasks, next(iter(studies.values()))


def _evaluation_tasks(config: EvaluationConfig) -> tuple[list[Task], StudyConfig | None]:
    tasks, first = [], None
    for run_dir in config.study_dirs:
        study = _finished(run_dir)
        first = first or study
        images = _data(study)
        costs, explanation = _costs(study, images), config.explanation_attack()
        methods = [method for method in study.methods if not config.methods or method in config.methods]
        num_models = len(methods) * min(config.max_seeds or study.num_seeds, study.num_seeds)
        num_images = images.test if config.test_images is None else config.test_images or images.test
        num_pairs = study.pairs.num_pairs if config.pairs.selection == STORED else config.pairs.num_pairs
        num_pairs = min(config.pairs.max_pairs or num_pairs, num_pairs)
        flops = num_images * costs.pgd(config.tests.num_steps) + num_pairs * costs.explanation_attack(explanation)
        what = f"evaluate {num_models} models of {run_dir}: PGD of {config.tests.num_steps} steps on {num_images} "
        what += f"images, explanation attack of {explanation.total_steps} steps on {num_pairs} pairs"
        tasks.append(Task(what, num_models * flops))
    for what, is_part in (
        (f"the weights of {', '.join(config.imported.torch_weights)}", bool(config.imported.torch_weights)),
        (f"AutoAttack, {config.auto_attack.version}", config.auto_attack.version is not None),
        ("properties of the explanations", config.properties.measured),
    ):
        if is_part:
            tasks.append(Task(f"{what}: not in the estimate", 0.0))
    return tasks, first


def _methods_table_tasks(config: MethodsTableConfig, done: Collection[tuple[str, int]]) -> list[Task]:
    tasks = []
    num_models = 0
    for place, explanation in enumerate(config.explanations):
        study = config.study_config(explanation)
        if place:
            study = study.replace(pairs_file="of the first")
        num_models += len(study.methods) * study.num_seeds
        own = _study_tasks(study, _data(config), done)
        tasks += [Task(f"with {explanation}: {task.what}", task.flops) for task in own]
    for explanation in config.explanations:
        what = f"attack {explanation} of all {num_models} models on {config.pairs.num_pairs} pairs"
        tasks.append(Task(what, num_models * config.pairs.num_pairs * _pair_flops(config, explanation)))
    return tasks


def _precision_tasks(config: PrecisionConfig) -> list[Task]:
    tasks: list[Task] = []
    for precision in train.PRECISIONS:
        study = config.study_config(precision)
        if tasks:
            study = study.replace(pairs_file="of the first")
        tasks += [Task(f"{precision}: {task.what}", task.flops) for task in _study_tasks(study, _data(study), ())]
    return tasks


def _strength_tasks(config: AttackStrengthConfig) -> tuple[list[Task], StudyConfig]:
    study = _finished(config.models)
    images = _data(study)
    costs = _costs(study, images)
    gradients = {
        "pgd": config.pgd_steps, "apgd-t": config.num_targets * config.num_steps, "square": config.num_queries / 3,
        "fab-t": 2 * config.num_targets * config.num_steps,
    }  # fmt: skip
    num_images = config.num_images or images.test
    tasks = []
    for name in (*config.single_attacks, *config.ensemble_attacks):
        per_image = gradients.get(name, config.num_steps) * costs.input_gradient
        where = "alone" if name in config.single_attacks else "in the ensemble, at most"
        what = f"{name} {where} on {num_images} images of {', '.join(config.methods)}"
        tasks.append(Task(what, len(config.methods) * study.num_seeds * num_images * per_image))
    if config.peers:
        tasks.append(Task(f"the same by {', '.join(config.peers)}: not in the estimate", 0.0))
    return tasks, study


def plan(config: Configuration, *, done: Collection[tuple[str, int]] = ()) -> Plan:
    """What the run of a configuration would do.

    Operations are XLA's counts of the programs of the run; their speed is that of one gradient, compiled and timed.
    Memory is XLA's assignment of buffers to the training step that needs most, which this compiles as the run will: a
    run that keeps compiled programs on disk finds it there. Nothing is written, and no data set is read that is more
    than one file.

    Args: done: (method, seed) of models that a resumed study has already.
    Raises: InputError as the run would, where it needs models that are not there.
    """
    tasks, study = _tasks(config, done)
    if study is None:
        return Plan(tuple(tasks), None, None, "nothing was timed")
    images = _data(study)
    costs = _costs(study, images)
    seconds = sum(task.flops for task in tasks) / costs.flops_per_second(jax.random.key(0))
    basis = f"operations counted by the compiler, at the speed of one gradient of {TIMED_IMAGES} images; compiling is "
    basis += "not in it, and a factor of 2 either way is usual"
    memory = _training_memory(study, images, costs) if isinstance(config, StudyConfig) else None
    return Plan(tuple(tasks), seconds, memory, basis)


def _training_memory(study: StudyConfig, images: _Data, costs: ModelCosts) -> float | None:
    """Bytes of the training step with most terms, and of the images of the tests."""
    num_pixels = images.info.image_shape[0] * images.info.image_shape[1]
    settings = [study.train_config(method, num_pixels) for method in study.methods]
    largest = max(settings, key=lambda one: len(one.weights()))
    dtype = np.uint8 if images.bytes_per_pixel == 1 else np.float32
    size = math.prod(images.info.image_shape) * images.bytes_per_pixel
    streamed = images.train * size > data.STREAM_ABOVE if study.data.streams is None else study.data.streams
    found = costs.step_memory(
        largest, _STREAMED_BATCHES * study.training.batch_size if streamed else images.train, dtype
    )
    return None if found is None else float(found.total + (images.validation + images.test) * size)


_STREAMED_BATCHES = 6  # on the device at once, those that are sent ahead among them
