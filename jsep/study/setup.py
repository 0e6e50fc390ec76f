"""The images, models, random keys and training settings that a study's configuration specifies; SEP weights that are
measured at the start of training, one per model, are stored in sep_weights.json of the run.
"""

import dataclasses
import enum
import json
from collections.abc import Callable
from pathlib import Path

import jax

from jsep import data, devices, models, train
from jsep.checks import InputError
from jsep.record.manifest import read_listed, write_listed
from jsep.study.config import StudyConfig
from jsep.study.groups import DataConfig, ModelConfig
from jsep.study.methods import training_method
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


class Purpose(enum.IntEnum):
    """What the random numbers of a seed are drawn for. A number never changes, so that results stay the same."""

    TRAINING = 0
    VALIDATION = 1
    FEATURES = 2
    ACCURACY = 3
    EXPLANATIONS = 4
    PROBE_IMAGES = 5
    AUTO_ATTACK = 5
    NOISE = 6
    PROPERTIES = 6


def key_of(seed: int, purpose: Purpose) -> Key:
    """The random key of a seed for one purpose, so that a model measured again with its seed gives the same numbers."""
    return jax.random.fold_in(jax.random.key(seed), purpose)


SEP_WEIGHTS = "sep_weights.json"
"""The file of measured weights in a run directory."""


def train_config_of(
    config: StudyConfig,
    method: str,
    seed: int,
    num_pixels: int,
    run_dir: str | Path,
    measure: Callable[[train.TrainConfig, float], float] | None = None,
) -> train.TrainConfig:
    """The training configuration of one model of a run; with the unit gradient_ratio its SEP weight is measured.

    Args: measure: (configuration, ratio) -> weight, called once per model; the weight is stored in the run directory,
      so that a resumed run trains with the same one. None: read the stored weight.
    Raises: InputError where the stored weight is missing, or its file cannot be read.
    """
    found = config.train_config(method, num_pixels)
    if config.sep.weight_unit != "gradient_ratio" or not training_method(method).sep_sign:
        return found
    name = f"{method}_seed{seed}"
    known = devices.call_on_first_process(lambda: _measured(Path(run_dir) / SEP_WEIGHTS))
    if name not in known:
        if measure is None:
            raise InputError(f"{run_dir} has no measured SEP weight of {name}; finish that run with resume=True")
        known[name] = measure(found, found.sep_weight)
        if devices.is_first():
            write_listed(Path(run_dir) / SEP_WEIGHTS, json.dumps(known, indent=1) + "\n")
    return dataclasses.replace(found, sep_weight=known[name])


def _measured(path: Path) -> dict[str, float]:
    try:
        return {str(name): float(weight) for name, weight in json.loads(read_listed(path)).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}); remove it to measure the weights again") from error
