"""The tasks of a study and their cost, listed by each kind of study for a plan."""

import dataclasses
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from jsep import data, models, train
from jsep.checks import InputError
from jsep.record.manifest import read_listed
from jsep.study.config import StudyConfig
from jsep.study.costs import ModelCosts
from jsep.study.setup import create_model


@dataclasses.dataclass(frozen=True)
class Task:
    """A part of the work: its description, and its floating-point operations."""

    what: str
    flops: float


class Work(NamedTuple):
    """tasks: of a run, in order; study: the study whose network is timed, None where no operations are counted."""

    tasks: list[Task]
    study: StudyConfig | None


@dataclasses.dataclass(frozen=True)
class DataSizes:
    """The images of a study: the size of each split, and the bytes per stored pixel."""

    info: data.DatasetInfo
    bytes_per_pixel: int
    train: int
    validation: int
    test: int


def data_sizes(config: StudyConfig) -> DataSizes:
    """The images of a study; a data set whose metadata state its size is not read."""
    own = config.data
    name = own.dataset
    counts = [getattr(own, f"{split}_images", 0) for split in ("train", "validation", "test")]
    source = data.DATASETS.get(name)
    if source is not None and source.info is not None and source.num_images is not None:
        info, sizes = source.info, list(source.num_images)
        bytes_per_pixel = 1  # uint8 images
    else:  # embedded, a single file, or registered from outside
        splits = [data.load(name, data_dir=own.data_dir, split=split) for split in ("train", "validation", "test")]
        info, sizes = splits[0].info, [len(split) for split in splits]
        bytes_per_pixel = splits[0].images.dtype.itemsize
    return DataSizes(info, bytes_per_pixel, *(given or whole for given, whole in zip(counts, sizes, strict=True)))


def model_costs(study: StudyConfig, images: DataSizes) -> ModelCosts:
    """The costs of the network of a study."""
    return ModelCosts(create_model(study.model, images.info), images.info.image_shape)


def network_costs(network: models.Classifier, images: DataSizes) -> ModelCosts:
    """The costs of a network that is trained already."""
    return ModelCosts(network, images.info.image_shape)


def study_tasks(config: StudyConfig, done: Collection[tuple[str, int]] = ()) -> list[Task]:
    """Training and evaluation of the models of a study that are not in `done`, (method, seed) each."""
    images = data_sizes(config)
    shape = images.info.image_shape
    costs = model_costs(config, images)
    explanation = config.explanation_attack()
    tasks = []
    if config.pairs.file is None and not done:
        network = ModelCosts(create_model(config.model, images.info, config.features.model), shape)
        settings = config.feature_train_config()
        steps = settings.epochs * settings.steps_per_epoch(images.train)
        flops = steps * network.training_step(settings)
        tasks.append(Task(f"train the feature network {config.features.model}: {steps} steps", flops))
    attacked = costs.pgd(config.attack.num_steps), costs.pgd(config.tests.num_steps)
    attacks = config.explanation_attacks().values()
    a_pair = sum(map(costs.explanation_attack, attacks))
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
        num_steps = " and ".join(str(each.total_steps) for each in attacks)
        what += f"explanation attack of {num_steps} steps on {config.pairs.num_pairs} pairs "
        what += f"by {explanation.attacked}"
        if explanation.attacked != config.explanation.method:
            what += f"; maps by {config.explanation.method}, which are not in the estimate"
        tasks.append(Task(what, len(seeds) * (images.test * attacked[1] + config.pairs.num_pairs * a_pair)))
    return tasks


def finished_config(run_dir: str | Path) -> StudyConfig:
    """The configuration of the study in a directory. Raises: InputError where it holds none, or a damaged one."""
    try:
        content = read_listed(Path(run_dir).expanduser() / "config.json")
        return StudyConfig.from_dict(json.loads(content))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{run_dir} holds no study that can be read ({error}); give the run_dir of one") from error


def pair_flops(study: StudyConfig, method: str | None = None) -> float:
    """Operations of the study's explanation attack on one pair, for its own explanation method or for `method`."""
    images = data_sizes(study)
    explanation = study.explanation_attack()
    if method is not None:
        own = explanation.options_of(method)
        explanation = dataclasses.replace(explanation, method=method, method_options=own, attacked_method=None)
    return model_costs(study, images).explanation_attack(explanation)


def work_of_reading(study_dirs: Sequence[str]) -> Work:
    """The work of a study that only reads finished studies."""
    return Work([Task(f"read the finished studies in {', '.join(study_dirs)}; nothing is trained", 0.0)], None)
