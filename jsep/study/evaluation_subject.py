"""The models of an evaluation, from studies or imported, and the images and pairs on which all are tested."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep import data, evaluate, models
from jsep.checks import InputError, check_choice
from jsep.study.card_subject import imported_model
from jsep.study.evaluation_config import STORED, EvaluationConfig, Source
from jsep.study.feature_network import OWN, PIXELS, has_own_network, own_features, pixels
from jsep.study.methods import described_method, is_reference, mark_degraded, training_methods
from jsep.study.setup import create_model, load_split
from jsep.study.trained import TrainedModel, TrainedStudy, load_all_trained
from jsep.types import ModelFn, PyTree


@dataclasses.dataclass(frozen=True)
class EvaluatedModel:
    """One model of an evaluation.

    method: its name in tables, the same for the seeds of a training method; seed: its training seed, 0 for
    imported models; source: its study, file or function; trained_as: its method in the study, "" for imported models;
    network: where it is a Flax classifier of this package, else own_fn, (variables, image) -> logits;
    sep_weight: lambda of the paper per MSE, 0 without SEP; collapsed: as of `TrainedModel`.
    """

    method: str
    seed: int
    source: str
    trained_as: str
    network: models.Classifier | None
    variables: PyTree
    sep_weight: float = 0.0
    own_fn: ModelFn | None = None
    collapsed: bool = False

    @property
    def name(self) -> str:
        """Such as "mat_seed0"."""
        return f"{self.method}_seed{self.seed}"

    @property
    def model_fn(self) -> ModelFn:
        """(variables, image) -> logits."""
        if self.network is not None:
            return models.model_fn(self.network)
        assert self.own_fn is not None
        return self.own_fn

    @property
    def features_fn(self) -> ModelFn:
        """(variables, image) -> features: the penultimate ones, or the logits of a model from another library."""
        return self.model_fn if self.network is None else models.features_fn(self.network)


@dataclasses.dataclass(frozen=True)
class Subject:
    """The models of an evaluation, with the images and pairs that test them."""

    models: tuple[EvaluatedModel, ...]
    test: data.Dataset
    pairs: evaluate.PairIndex
    reference: str | None


def load_subject(config: EvaluationConfig) -> Subject:
    """The models, images and pairs that the configuration names.

    Raises: InputError where a file is missing or unreadable, the classes or the image size of a model differ from the
      data's, the pair index is of other data, or the reference is not among the models.
    """
    config.check_subject()
    sources = config.sources()
    paths = list(dict.fromkeys(each.run_dir for each in sources))
    studies = list(load_all_trained(paths, data_dir=config.data_dir, older_checkpoint=config.older_checkpoint))
    by_path = dict(zip(paths, studies, strict=True))
    test = _test_images(config, studies)
    of_studies = _of_cells(sources, by_path) if config.cells else _of_studies(config, studies)
    found = (*of_studies, *_imported(config, test.info))
    for model in found:
        _check_fits(model, test)
    methods = list(dict.fromkeys(model.method for model in found))
    trained_as = {model.method: model.trained_as for model in found if model.trained_as}
    reference = config.reference
    if not config.cells:
        reference = reference or next((name for name in methods if is_reference(trained_as.get(name))), None)
    if reference is not None:
        check_choice("reference", reference, methods)
    pairs = _pairs(config, by_path, found, test, reference)
    if config.pairs.max_pairs:
        count = config.pairs.max_pairs
        pairs = dataclasses.replace(pairs, victims=pairs.victims[:count], targets=pairs.targets[:count])
    return Subject(found, test, pairs, reference)


def _test_images(config: EvaluationConfig, studies: list[TrainedStudy]) -> data.Dataset:
    own = studies[0].config if studies else None
    if own is not None and config.dataset in (None, own.data.dataset):
        count = own.data.test_images if config.test_images is None else config.test_images
        return load_split(own.data.dataset, config.data_dir or own.data.data_dir, "test", count)
    assert config.dataset is not None  # the configuration has checked it
    return load_split(config.dataset, config.data_dir, "test", config.test_images or 0)


def _of_studies(config: EvaluationConfig, studies: list[TrainedStudy]) -> list[EvaluatedModel]:
    known = dict.fromkeys(model.method for study in studies for model in study.trained)
    for method in config.methods:
        check_choice("method of the studies", method, known)
    found = []
    for path, study in zip(config.study_dirs, studies, strict=True):
        for model in study.trained:
            in_others = any(model.method in other.config.methods for other in studies if other is not study)
            if (config.methods and model.method not in config.methods) or (
                config.max_seeds and model.seed not in list(study.config.seeds)[: config.max_seeds]
            ):
                continue
            name = f"{model.method} ({Path(path).name})" if in_others else model.method
            found.append(_evaluated(name, path, study, model))
    names = [model.name for model in found]
    if len(set(names)) < len(names):
        raise InputError("two of study_dirs have the same last part and the same methods; rename one of them")
    return found


def _of_cells(sources: Sequence[Source], studies: Mapping[str, TrainedStudy]) -> list[EvaluatedModel]:
    found: list[EvaluatedModel] = []
    for path, cell, method in sources:
        study = studies[path]
        if method:
            check_choice(f"method of cell {cell!r} in {path}", method, dict.fromkeys(study.config.methods))
        for model in study.trained:
            if method in ("", model.method):
                found.append(_evaluated(cell, path, study, model))
    names = [model.name for model in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"cells: {twice} is found twice; name its method, or a pattern of other seeds")
    return found


def _evaluated(name: str, run_dir: str, study: TrainedStudy, model: TrainedModel) -> EvaluatedModel:
    return EvaluatedModel(
        name, model.seed, run_dir, model.method, study.model, model.variables, model.sep_weight,
        collapsed=model.collapsed,
    )  # fmt: skip


def _imported(config: EvaluationConfig, info: data.DatasetInfo) -> list[EvaluatedModel]:
    imported, shape = config.imported, info.image_shape
    mean, std = imported.mean(), imported.std()
    found: list[EvaluatedModel] = []

    def own_name(entry: str, otherwise: Callable[[str], str]) -> tuple[str, str]:
        name, _, source = entry.rpartition("=")
        name = name or otherwise(source)
        if name in training_methods() or name in {other.method for other in found}:
            raise InputError(f"{name!r} names another model already; write it as name={source}")
        return name, source

    for entry in imported.torch_weights:
        name, path = own_name(entry, lambda path: Path(path).stem)
        model = create_model(imported.model, dataclasses.replace(info, mean=mean or info.mean, std=std or info.std))
        variables = jax.device_put(models.import_torch(path, model, shape))
        found.append(EvaluatedModel(name, 0, Path(path).name, "", model, variables))
    for entry in imported.classifiers:
        name, source = own_name(entry, lambda source: source.rpartition(":")[2])
        logits_fn = imported_model(source, input_shape=shape, mean=mean, std=std)
        own_fn, variables = models.split_variables(logits_fn)
        found.append(EvaluatedModel(name, 0, source, "", None, jax.device_put(variables), own_fn=own_fn))
    return found


def _check_fits(model: EvaluatedModel, test: data.Dataset) -> None:
    """Raises: InputError for another image size or other classes, which need not fail when the model runs."""
    image = jax.ShapeDtypeStruct(test.info.image_shape, jnp.float32)
    channels = 1 if model.network is None else len(model.network.mean)
    if channels not in (1, test.info.image_shape[-1]):
        raise InputError(f"{model.name} takes images of {channels} channels, {test.info.name} has {image.shape}")
    try:
        num_logits = jax.eval_shape(model.model_fn, model.variables, image).shape[-1]
    except Exception as error:  # Flax has its own error types for parameters of another shape
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{model.name} does not take images of {image.shape} as in {test.info.name}: {reason}"
        ) from error
    if num_logits != test.info.num_classes:
        raise InputError(
            f"{model.name} has {num_logits} classes, but {test.info.name} has {test.info.num_classes}; evaluate it on "
            "the data it was trained for"
        )


def _pairs(
    config: EvaluationConfig,
    studies: Mapping[str, TrainedStudy],
    found: tuple[EvaluatedModel, ...],
    test: data.Dataset,
    reference: str | None,
) -> evaluate.PairIndex:
    if config.pairs.pairs_file is not None:
        pairs = evaluate.load_pairs(config.pairs.pairs_file)
    elif config.pairs.selection == STORED:
        pairs = next(iter(studies.values())).pairs
    else:
        pairs = evaluate.select_pairs(
            _points(config, studies, found, test),
            test,
            num_clusters=config.pairs.num_clusters,
            num_pairs=config.pairs.num_pairs,
            feature_network=config.pairs.feature_network,
            seed=config.seed,
            selection=config.pairs.selection,
            same_class=config.pairs.same_class,
            among=_correct_by_all(config, found, test, reference) if config.pairs.correct_by_all else None,
        )
    pairs.check_fits(test)
    return pairs


def _points(
    config: EvaluationConfig,
    studies: Mapping[str, TrainedStudy],
    found: tuple[EvaluatedModel, ...],
    test: data.Dataset,
) -> np.ndarray:
    """(B, F) features of the test images by the network that the configuration names."""
    network = config.pairs.feature_network
    if network == PIXELS:
        return pixels(test)
    if network == OWN and studies:
        # A study that was given its pairs trained none.
        path = next((path for path, study in studies.items() if has_own_network(study, path)), next(iter(studies)))
        return own_features(studies[path], path, test, chunk_size=config.chunk_size)
    names = list(dict.fromkeys(model.method for model in found))
    check_choice("feature network", network, [*([OWN] if studies else []), PIXELS, *names])
    chosen = next(model for model in found if model.method == network)
    return evaluate.features(chosen.features_fn, chosen.variables, test, chunk_size=config.chunk_size)


def _correct_by_all(
    config: EvaluationConfig, found: Sequence[EvaluatedModel], test: data.Dataset, reference: str | None
) -> np.ndarray:
    """(B,) bool: the images that all models classify correctly but the degraded ones, which verdicts leave out too."""
    correct, rows = [], []
    for model in found:
        logits = evaluate.features(model.model_fn, model.variables, test, chunk_size=config.chunk_size)
        correct.append(logits.argmax(axis=1) == test.labels)
        rows.append({
            "method": model.method, "seed": model.seed, "clean_accuracy": float(correct[-1].mean()),
            "collapsed": model.collapsed, **described(found, model),
        })  # fmt: skip
    mark_degraded(rows, {model.method: reference_for(config, reference, found, model) for model in found})
    return np.logical_and.reduce([own for own, row in zip(correct, rows, strict=True) if not row["degraded"]])


def reference_for(
    config: EvaluationConfig, reference: str | None, found: Sequence[EvaluatedModel], model: EvaluatedModel
) -> str | None:
    """The method below whose clean accuracy a model is degraded: with cells and no reference given, its baseline."""
    return described(found, model)["baseline"] if config.cells and reference is None else reference


def described(found: Sequence[EvaluatedModel], model: EvaluatedModel) -> dict[str, Any]:
    """The method's entries of a row, with the baseline's name in this evaluation; none for imported weights."""
    if not model.trained_as:
        return {"baseline": None, "adversarial": None}
    own = described_method(model.trained_as)
    named = {other.trained_as: other.method for other in found if other.source == model.source}
    return own | {"baseline": named.get(own["baseline"])}
