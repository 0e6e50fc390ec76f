"""What a study's configuration makes before anything is trained: its images, its models, its keys."""

import dataclasses

import jax

from jsep import data, models
from jsep.checks import InputError
from jsep.study.config import StudyConfig
from jsep.study.groups import ModelConfig
from jsep.types import Key


@dataclasses.dataclass(frozen=True)
class Splits:
    """The images of a study."""

    train: data.Dataset
    validation: data.Dataset
    test: data.Dataset


def load_split(dataset: str, data_dir: str | None, split: str, count: int, stream: bool | None = None) -> data.Dataset:
    """`count` images of a split, stratified by class; all of them for 0; `stream`: as `data.load`.

    Raises: InputError when the data set is unknown, unreadable or has fewer images.
    """
    whole = data.load(dataset, data_dir=data_dir, split=split, stream=stream)
    if count > len(whole):
        raise InputError(f"{split}_images: {dataset} has {len(whole)} {split} images, got {count}")
    return data.stratified_subset(whole, count) if count else whole


def load_splits(config: StudyConfig) -> Splits:
    """The images that the configuration names. Raises: InputError where they cannot be had."""
    own = config.data
    counts = {"train": own.train_images, "validation": own.validation_images, "test": own.test_images}
    return Splits(
        **{split: load_split(own.dataset, own.data_dir, split, count, own.streams) for split, count in counts.items()}
    )


def create_model(config: ModelConfig, info: data.DatasetInfo, name: str | None = None) -> models.Classifier:
    """The model that the configuration wants, or another one called `name` like it, for the images of `info`."""
    return models.create(
        name or config.name,
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
