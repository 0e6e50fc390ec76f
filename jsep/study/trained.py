"""The trained models of a finished study, read back from its run directory for a further analysis."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from jsep import data, evaluate, models, record, train
from jsep.checks import InputError, check_choice
from jsep.record.manifest import listed_checksum
from jsep.study.config import StudyConfig
from jsep.study.groups import CHECKPOINTS, DataConfig
from jsep.study.setup import Purpose, Splits, create_model, key_of, load_splits, train_config_of
from jsep.study.work import finished_config
from jsep.types import Key, ModelFn, PyTree

WEIGHTS = "weights"
"""The file with the models of a kept study (`keep_study`), in place of checkpoints."""


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """One model of a study: its training method, its seed, its variables and its SEP weight (lambda, per MSE).

    collapsed: whether its adversarial training over-fitted (`record.is_collapsed`).
    """

    method: str
    seed: int
    variables: PyTree
    sep_weight: float = 0.0
    collapsed: bool = False

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

    def attack_explanations(
        self, of: TrainedModel, settings: evaluate.ExplanationAttackConfig, *, pairs: evaluate.PairIndex | None = None,
        key: Key | None = None, **how: Any,
    ) -> evaluate.PairResults:  # fmt: skip
        """`evaluate.explanation_robustness` of one of the models, on the pairs of the study and with the random numbers
        that the study used, if no others are given."""
        return evaluate.explanation_robustness(
            key_of(of.seed, Purpose.EXPLANATIONS) if key is None else key, self.model_fn, of.variables, self.test,
            self.pairs if pairs is None else pairs, settings, **how,
        )  # fmt: skip


def load_trained(
    run_dir: str | Path, *, data_dir: str | None = None, which: str | None = None, older_checkpoint: bool = False
) -> TrainedStudy:
    """The study in `run_dir`, with one checkpoint of each of its models.

    Args: data_dir: the directory of its data set; default: the one in the study. which: "last" or "best" (by robust
      accuracy on the validation images); default: the one that the study itself evaluated. older_checkpoint: whether
      the one before is taken, with a warning, where that checkpoint is damaged.
    Raises: InputError where `run_dir` holds no study, a model has no intact checkpoint, or the data changed.
    """
    (found,) = load_all_trained([run_dir], data_dir=data_dir, which=which, older_checkpoint=older_checkpoint)
    return found


def load_all_trained(
    run_dirs: Sequence[str | Path],
    *,
    data_dir: str | None = None,
    which: str | None = None,
    older_checkpoint: bool = False,
) -> tuple[TrainedStudy, ...]:
    """The studies in `run_dirs`; those on the same images share them, so that they are read and in memory once.

    Args, Raises: as `load_trained`.
    """
    images = functools.cache(load_splits)
    return tuple(_load(Path(path).expanduser(), data_dir, which, older_checkpoint, images) for path in run_dirs)


def _load(
    path: Path,
    data_dir: str | None,
    which: str | None,
    older_checkpoint: bool,
    images: Callable[[DataConfig], Splits],
) -> TrainedStudy:
    config = finished_config(path)
    if data_dir is not None:
        config = config.replace(data_dir=data_dir)
    which = config.evaluated_checkpoint if which is None else which
    check_choice("checkpoint", which, CHECKPOINTS)
    splits = images(config.data)
    model = create_model(config.model, splits.train.info)
    num_pixels = splits.train.info.image_shape[0] * splits.train.info.image_shape[1]
    trained, collapsed = [], _collapsed(path)
    for seed in config.seeds:
        key = key_of(seed, Purpose.TRAINING)
        for method in config.methods:
            train_config = train_config_of(config, method, seed, num_pixels, path)
            name = f"{method}_seed{seed}{'_best' if which == 'best' else ''}"
            directory = path / "checkpoints" / name
            kept = kept_weights(key, path, name, model, splits.train.info.image_shape)
            if kept is not None:
                trained.append(TrainedModel(method, seed, kept, train_config.sep_weight, (method, seed) in collapsed))
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
            variables = jax.device_put(variables)
            trained.append(TrainedModel(method, seed, variables, train_config.sep_weight, (method, seed) in collapsed))
    pairs = evaluate.load_pairs(path / "pairs.json")
    pairs.check_fits(splits.test)
    return TrainedStudy(config, model, splits.train, splits.test, pairs, tuple(trained))


def _collapsed(run_dir: Path) -> set[tuple[str, int]]:
    """(method, seed) of the models whose rows say that their training collapsed; empty without rows."""
    if not (run_dir / "result.json").exists():
        return set()
    rows = record.read_json(run_dir).get("rows", ())
    return {(row["method"], row["seed"]) for row in rows if record.is_collapsed(row)}


def kept_weights(
    key: Key, run_dir: Path, name: str, model: models.Classifier, image_shape: tuple[int, int, int]
) -> PyTree | None:
    """The variables of one model of a kept study; None where the study has checkpoints.

    Args: key: any; it initialises the variables whose shapes the file must have.
    Raises: InputError for a damaged file, or one of another model.
    """
    path = run_dir / WEIGHTS / f"{name}.npz"
    if not path.exists():
        return None
    like = models.init(key, model, image_shape)
    return models.load_weights(path, like, expected_sha256=listed_checksum(run_dir, f"{WEIGHTS}/{path.name}"))


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
