"""Every explanation method on the same images of the same models: pictures, concentration, and the sanity check of
randomised weights."""

import dataclasses
import functools
import time
from collections.abc import Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep import data, evaluate, explain, models, train
from jsep.checks import InputError
from jsep.study.configuration import Configuration, amount, count, random_seed, setting
from jsep.study.runner import Run, StudyKind
from jsep.study.setup import load_split
from jsep.study.work import Task, Work
from jsep.types import Array, PyTree

LARGEST_WIDTH = 10_000
"""The largest width of a transformer, and limit of its other sizes: one block of this width has 1.2e9 parameters."""


@dataclasses.dataclass(frozen=True)
class ExplanationMethodsConfig(Configuration):
    """Two small models, trained with the standard objective or taken from the zoo, and the methods that explain them.
    The help text of each field is its documentation."""

    dataset: str = setting("digits", f"data set: {', '.join(data.DATASETS)}, or the path of an .npz file")
    data_dir: str | None = setting(None, "TFDS data directory; default: TFDS's own; downloaded there if absent")
    methods: tuple[str, ...] = setting(tuple(explain.METHODS), "explanation methods", choices=explain.METHODS)
    train_images: int = count(0, "number of training images, stratified by class; 0: all", minimum=0)
    num_images: int = count(
        6,
        "images explained: of each of so many classes the first test image that all models classify correctly",
    )
    pretrained: str | None = setting(
        None,
        "model of the zoo, of the same data set, in place of the ConvNet; none is trained then",
        choices=models.pretrained(),
    )
    epochs: int = count(5, "training epochs of the ConvNet")
    vit_epochs: int = count(5, "training epochs of the vision transformer, which only attention methods explain")
    vit_width: int = count(64, "width of the transformer", maximum=LARGEST_WIDTH)
    vit_heads: int = count(4, "attention heads of the transformer, a divisor of its width", maximum=LARGEST_WIDTH)
    vit_depth: int = count(4, "blocks of the transformer", maximum=LARGEST_WIDTH)
    vit_patch: int = count(4, "side of its patches, pixels", maximum=LARGEST_WIDTH)
    batch_size: int = count(50, "images a training step")
    learning_rate: float = amount(1e-3, "AdamW learning rate of both models")
    seed: int = random_seed(0, "seed of the models, of the samples and of the randomised weights")


class _Prepared(NamedTuple):
    train: data.Dataset
    test: data.Dataset


def _prepare(config: ExplanationMethodsConfig) -> _Prepared:
    train_split = load_split(config.dataset, config.data_dir, "train", config.train_images)
    if config.pretrained is not None:
        knows = models.load_pretrained(config.pretrained).card["dataset"]
        if knows != train_split.info.name:
            raise InputError(f"expected a pretrained model of {config.dataset}; {config.pretrained} is one of {knows}")
    return _Prepared(train_split, load_split(config.dataset, config.data_dir, "test", 0))


def measure(config: ExplanationMethodsConfig, prepared: _Prepared, run: Run) -> None:
    """Trains the two models, or takes one of the zoo, and explains the same images by every method: a row per method,
    its maps in maps.npz. The images are the first of their classes that both models classify correctly.

    Each row also has the similarity of the maps to those of the same model with (a) a re-initialised head and (b) all
    weights re-initialised; maps that explain the model must change (Adebayo et al. 2018).
    """
    test = prepared.test
    trained = {
        name: _model(config, name, prepared, run)
        for name in ("convnet", "vit")
        if any(_model_of(method) == name for method in config.methods)
    }
    known = np.flatnonzero(np.all([each.correct for each in trained.values()], axis=0))
    labels, firsts = np.unique(test.labels[known], return_index=True)
    labels, chosen = labels[: config.num_images], known[firsts[: config.num_images]]
    if not len(chosen):
        raise InputError("no test image is classified correctly by all models; train for more epochs or on more images")
    images = jnp.asarray(test.as_float(chosen))
    names = np.array([test.info.class_names[label] for label in labels])
    run.directory.add_maps({"images": np.asarray(images), "labels": labels, "class_names": names})
    for method in run.missing(config.methods, "method", "explaining by {}".format, arrays=("maps.npz",)):
        row, maps = _explain(config, method, trained[_model_of(method)], images)
        run.directory.add_maps({method: maps})
        run.rows.append({"method": method, "model": _model_of(method), **row})
        run.save()


def _model_of(method: str) -> str:
    return "vit" if explain.METHODS[method].needs == "attention" else "convnet"


@dataclasses.dataclass(frozen=True)
class _Trained:
    model: models.Classifier
    variables: PyTree
    new_head: PyTree
    new_weights: PyTree
    correct: np.ndarray
    """(N,) bool: which test images it classifies correctly."""


def _model(config: ExplanationMethodsConfig, name: str, prepared: _Prepared, run: Run) -> _Trained:
    if name == "convnet" and config.pretrained is not None:
        loaded = models.load_pretrained(config.pretrained)
        return _with_randomised(config, loaded.model, loaded.variables, prepared.test)
    info = prepared.train.info
    model: models.Classifier
    if name == "vit":
        model = models.ViT(
            num_classes=info.num_classes,
            mean=info.mean,
            std=info.std,
            width=config.vit_width,
            depth=config.vit_depth,
            num_heads=config.vit_heads,
            patch=config.vit_patch,
        )
    else:
        model = models.create(
            name, num_classes=info.num_classes, input_shape=info.image_shape, mean=info.mean, std=info.std
        )
    settings = train.TrainConfig(
        objective="standard",
        epochs=config.vit_epochs if name == "vit" else config.epochs,
        batch_size=config.batch_size,
        optimizer=train.OptimizerConfig("adamw", config.learning_rate, "constant"),
    )
    key = jax.random.key(config.seed)
    described = train.describe(key, settings, model, prepared.train)
    with train.Checkpoints(run.directory.checkpoints(name), described) as checkpoints:
        variables = train.fit(
            key, model, prepared.train, settings, log_every=20, checkpoints=checkpoints,
            on_log=lambda record: run.progress(f"training {name}", record),
        ).variables  # fmt: skip
    return _with_randomised(config, model, variables, prepared.test)


def _with_randomised(
    config: ExplanationMethodsConfig, model: models.Classifier, variables: PyTree, test: data.Dataset
) -> _Trained:
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    other = models.init(key, model, test.info.image_shape)
    new_head = {**variables, "params": {**variables["params"], "head": other["params"]["head"]}}
    correct, _ = evaluate.correctly_classified(
        key, models.model_fn(model), variables, test, epsilon=0.0, alpha=0.0, num_steps=0
    )
    return _Trained(model, variables, new_head, other, correct)


def _explain(
    config: ExplanationMethodsConfig, method: str, trained: _Trained, images: Array
) -> tuple[dict[str, float], np.ndarray]:
    """A row of result.json, and the maps (images, H, W) of the trained model."""
    key = jax.random.fold_in(jax.random.key(config.seed), 2)
    model_fn = models.model_fn(trained.model)

    @jax.jit
    def to_maps(variables: PyTree) -> Array:
        def one(image: Array) -> Array:
            # The explained class is the trained model's prediction, for the randomised models too.
            label = jnp.argmax(model_fn(trained.variables, image))
            return explain.make_map_fn(method, functools.partial(model_fn, variables), label, key=key)(image)

        return jax.lax.map(one, images)

    own = jax.block_until_ready(to_maps(trained.variables))
    started = time.perf_counter()
    jax.block_until_ready(to_maps(trained.variables))
    seconds = (time.perf_counter() - started) / len(images)
    row = {
        "clean_accuracy": float(trained.correct.mean()),
        "effective_pixels": float(jnp.mean(jax.vmap(evaluate.effective_pixels)(own))),
        "milliseconds": round(1000 * seconds, 2),
    }
    for name, variables in (("new_head", trained.new_head), ("new_weights", trained.new_weights)):
        other = to_maps(variables)
        row[f"spearman_{name}"] = float(jnp.mean(jax.vmap(evaluate.spearman)(own, other)))
        row[f"cosine_{name}"] = float(jnp.mean(jax.vmap(evaluate.cosine_similarity)(own, other)))
    return row, np.asarray(own)


def _work(config: ExplanationMethodsConfig, done: Collection[tuple[str, int]]) -> Work:
    what = f"train a small ConvNet and a transformer, explain by {len(config.methods)} methods"
    return Work([Task(what, 0.0)], None)


EXPLANATION_METHODS = StudyKind("explanation_methods", ExplanationMethodsConfig, _prepare, measure, work=_work)
"""Every explanation method on the same images. Figure 4."""
