"""The images, models and random keys that a study's configuration specifies."""

import dataclasses

import jax

from jsep import data, models
from jsep.checks import InputError
from jsep.study.groups import DataConfig, ModelConfig
from jsep.types import Key


@dataclasses.dataclass(frozen=True)
class Splits:
    """The images of a study, by split."""

    train: data.Dataset
    validation: data.Dataset
    test: data.Dataset


def load_split(dataset: str, data_dir: str | None, split: str, count: int, stream: bool | None = None) -> data.Dataset:
    """`count` images of a split, stratified by class; 0: all images; `stream`: as in `data.load`.

    Raises: InputError where the data set is unknown, unreadable or has fewer images.
    """
    whole = data.load(dataset, data_dir=data_dir, split=split, stream=stream)
    if count > len(whole):
        raise InputError(f"{split}_images: {dataset} has {len(whole)} {split} images, got {count}")
    return data.stratified_subset(whole, count) if count else whole


def load_splits(config: DataConfig) -> Splits:
    """The images that the configuration names. Raises: InputError where they cannot be loaded."""
    counts = {"train": config.train_images, "validation": config.validation_images, "test": config.test_images}
    return Splits(
        **{
            split: load_split(config.dataset, config.data_dir, split, count, config.streams)
            for split, count in counts.items()
        }
    )


def create_model(config: ModelConfig, info: data.DatasetInfo, name: str | None = None) -> models.Classifier:
    """The model of the configuration, or the architecture `name` with its settings, for images of `info`."""
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
    """The random key for training the models of a study with `seed`."""
    return jax.random.fold_in(jax.random.key(seed), 0)
