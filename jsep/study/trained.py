"""The trained models of a finished study, read back from its run directory for a further analysis."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax

from jsep import data, evaluate, models, train
from jsep.checks import InputError, check_choice
from jsep.record.manifest import read_listed, read_manifest, write_listed, write_manifest
from jsep.study.config import StudyConfig
from jsep.study.groups import CHECKPOINTS
from jsep.study.measured_weights import SEP_WEIGHTS, train_config_of
from jsep.study.setup import create_model, load_splits, training_key
from jsep.study.work import finished_config
from jsep.types import ModelFn, PyTree

WEIGHTS = "weights"
"""The file with the models of a kept study (`keep_study`), in place of checkpoints."""


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """One model of a study: its training method, its seed, its variables and its SEP weight (lambda, per MSE)."""

    method: str
    seed: int
    variables: PyTree
    sep_weight: float = 0.0

    @property
    def name(self) -> str:
        """Such as "mat_seed0"."""
        return f"{self.method}_seed{self.seed}"


@dataclasses.dataclass(frozen=True)
class TrainedStudy:
    """A study read for analysis: its configuration, test images, pairs, network, and the variables of every model.

    `model_fn` is shared by all models: (variables, image) -> logits.
    """

    config: StudyConfig
    model: models.Classifier
    train: data.Dataset
    test: data.Dataset
    pairs: evaluate.PairIndex
    trained: tuple[TrainedModel, ...]

    @property
    def model_fn(self) -> ModelFn:
        """(variables, image) -> logits."""
        return models.model_fn(self.model)


def load_trained(
    run_dir: str | Path, *, data_dir: str | None = None, which: str | None = None, older_checkpoint: bool = False
) -> TrainedStudy:
    """The study in `run_dir`, with one checkpoint of each of its models.

    Args: data_dir: the directory of its data set; default: the one in the study. which: "last" or "best" (by robust
      accuracy on the validation images); default: the one that the study itself evaluated. older_checkpoint: whether
      the one before is taken, with a warning, where that checkpoint is damaged.
    Raises: InputError where `run_dir` holds no study, a model has no intact checkpoint, or the data changed.
    """
    path = Path(run_dir).expanduser()
    config = finished_config(path)
    if data_dir is not None:
        config = config.replace(data_dir=data_dir)
    which = config.evaluated_checkpoint if which is None else which
    check_choice("checkpoint", which, CHECKPOINTS)
    splits = load_splits(config)
    model = create_model(config.model, splits.train.info)
    num_pixels = splits.train.info.image_shape[0] * splits.train.info.image_shape[1]
    listed = {name: known[0] for name, known in (read_manifest(path) or {"files": {}})["files"].items()}
    trained = []
    for seed in config.seeds:
        key = training_key(seed)
        for method in config.methods:
            train_config = train_config_of(config, method, seed, num_pixels, path)
            name = f"{method}_seed{seed}{'_best' if which == 'best' else ''}"
            directory, weights = path / "checkpoints" / name, path / WEIGHTS / f"{name}.npz"
            if weights.exists():
                like = models.init(key, model, splits.train.info.image_shape)
                kept = models.load_weights(weights, like, expected_sha256=listed.get(f"{WEIGHTS}/{weights.name}"))
                trained.append(TrainedModel(method, seed, kept, train_config.sep_weight))
                continue
            if not directory.is_dir():
                raise InputError(f"{path} has no checkpoints of {directory.name}; finish that run with resume=True")
            described = train.describe(key, train_config, model, splits.train)
            like = train.init_state(key, model, splits.train.info.image_shape, train_config, len(splits.train))
            with train.Checkpoints(directory, described) as checkpoints:
                if which == "best":
                    found = train.BestCheckpoint(checkpoints).restore(like.evaluated, allow_older=older_checkpoint)
                    variables = None if found is None else found.variables
                else:
                    state = checkpoints.restore(like, allow_older=older_checkpoint)
                    variables = None if state is None else state.evaluated
            if variables is None:
                raise InputError(f"{directory} holds no readable checkpoint; train that model again")
            trained.append(TrainedModel(method, seed, jax.device_put(variables), train_config.sep_weight))
    pairs = evaluate.load_pairs(path / "pairs.json")
    pairs.check_fits(splits.test)
    return TrainedStudy(config, model, splits.train, splits.test, pairs, tuple(trained))


def keep_study(run_dir: str | Path, kept_dir: str | Path) -> Path:
    """Writes to `kept_dir` all that further analysis of a finished study needs, small enough to be kept with the code:
    its configuration, result and pairs, and the weights of its models as float16 in place of checkpoints.

    `load_trained(kept_dir)` reads them; later measurements and training start from the rounded weights.
    Raises: InputError where `run_dir` holds no finished study.
    """
    source, target = Path(run_dir).expanduser(), Path(kept_dir).expanduser()
    study = load_trained(source)
    (target / WEIGHTS).mkdir(parents=True, exist_ok=True)
    suffix = "_best" if study.config.evaluated_checkpoint == "best" else ""
    checksums = {}
    for trained in study.trained:
        name = f"{WEIGHTS}/{trained.name}{suffix}.npz"
        checksums[name] = [models.save_weights(target / name, trained.variables)]
    write_manifest(target, files=checksums)
    for name in ("pairs.json", SEP_WEIGHTS):
        if (source / name).exists():
            write_listed(target / name, read_listed(source / name))
    for name in ("config.json", "result.json"):
        content = _without_data_dir(json.loads(read_listed(source / name)))
        write_listed(target / name, json.dumps(content, indent=1) + "\n")
    return target


def _without_data_dir(content: dict[str, Any]) -> dict[str, Any]:
    """A configuration or result without where its data lay, which only the machine of the run knows."""
    config, environment = content.get("config", content), content.get("environment", {})
    data_dir, config["data_dir"] = config.get("data_dir"), None
    if data_dir is not None and "command" in environment:
        environment["command"] = environment["command"].replace(f"--data_dir={data_dir}", "--data_dir=DIR")
    return content


def load_start(config: StudyConfig, model: models.Classifier) -> dict[int, PyTree]:
    """seed -> the variables that the models of that seed start from; {} where they start from scratch.

    Raises: InputError where `config.start.run_dir` lacks the method or a seed, or has other models than `model`.
    """
    if config.start.run_dir is None:
        return {}
    study = load_trained(config.start.run_dir, data_dir=config.data.data_dir)
    if study.model != model:
        raise InputError(
            f"start_from: {config.start.run_dir} holds models {study.model}, expected {model}; "
            "set the flags of the model alike"
        )
    found = {trained.seed: trained.variables for trained in study.trained if trained.method == config.start.method}
    missing = [seed for seed in config.seeds if seed not in found]
    if missing:
        raise InputError(f"start_from: {config.start.run_dir} has no model {config.start.method}_seed{missing[0]}")
    return found
