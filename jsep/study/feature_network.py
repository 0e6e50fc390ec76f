"""The features of a study's test images, for the clusters from which pairs are drawn."""

from pathlib import Path

import jax
import numpy as np

from jsep import data, evaluate, models, train
from jsep.checks import InputError
from jsep.study.config import StudyConfig
from jsep.study.setup import Purpose, create_model, key_of
from jsep.study.trained import WEIGHTS, TrainedStudy, kept_weights
from jsep.types import PyTree

PIXELS = "pixels"
OWN = "features"
"""The feature network that a study trained to select its pairs."""


def pixels(dataset: data.Dataset) -> np.ndarray:
    """(B, H*W*C) features: the pixels of the images."""
    return dataset.as_float(slice(None)).reshape(len(dataset), -1)


def own_features(study: TrainedStudy, run_dir: str | Path, dataset: data.Dataset, *, chunk_size: int) -> np.ndarray:
    """(B, F) penultimate features from the feature network that the study in `run_dir` trained to select its pairs.

    Raises: InputError where the study was given its pairs and trained no feature network.
    """
    network, variables = own_network(study, run_dir)
    return evaluate.features(models.features_fn(network), variables, dataset, chunk_size=chunk_size)


def network_name(config: StudyConfig) -> str:
    """The name of the feature network among the stored models of a study."""
    return f"features_seed{config.seed}"


def has_own_network(study: TrainedStudy, run_dir: str | Path) -> bool:
    """Whether the study in `run_dir` trained a feature network."""
    name = network_name(study.config)
    return any((Path(run_dir) / place).exists() for place in (f"{WEIGHTS}/{name}.npz", f"checkpoints/{name}"))


def own_network(study: TrainedStudy, run_dir: str | Path) -> tuple[models.Classifier, PyTree]:
    """The feature network that the study in `run_dir` trained, and its variables. Raises: as `own_features`."""
    network = create_model(study.config.model, study.train.info, study.config.features.model)
    train_config = study.config.feature_train_config()
    key = key_of(study.config.seed, Purpose.FEATURES)
    name = network_name(study.config)
    directory = Path(run_dir) / "checkpoints" / name
    kept = kept_weights(key, Path(run_dir), name, network, study.train.info.image_shape)
    if kept is not None:
        return network, jax.device_put(kept)
    if not directory.is_dir():
        raise InputError(f"{run_dir} trained no feature network of its own; leave {OWN!r} out")
    like = train.init_state(key, network, study.train.info.image_shape, train_config, len(study.train))
    with train.Checkpoints(directory, train.describe(key, train_config, network, study.train)) as checkpoints:
        state = checkpoints.restore(like, allow_older=False)
    if state is None:
        raise InputError(f"{directory} holds no readable checkpoint; train that study again")
    return network, jax.device_put(state.variables)
