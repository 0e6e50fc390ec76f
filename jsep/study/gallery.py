"""Every explanation method on the same images of the same models: pictures, concentration, and the sanity check of
randomised weights."""

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep import data, evaluate, explain, models, record, report, train
from jsep.checks import check_choice, check_count
from jsep.study import environment
from jsep.study.flat_config import FlatConfig, setting
from jsep.study.run import OnProgress
from jsep.study.run_directory import RunDirectory
from jsep.study.splits import load_split
from jsep.types import Array, PyTree


@dataclasses.dataclass(frozen=True)
class GalleryConfig(FlatConfig):
    """Two small models, trained with the standard objective, and the methods that explain them. The help text of each
    field is its documentation."""

    dataset: str = setting("digits", f"data set: {', '.join(data.DATASETS)}, or the path of an .npz file")
    data_dir: str | None = setting(None, "TFDS data directory; default: TFDS's own; downloaded there if absent")
    methods: tuple[str, ...] = setting(tuple(explain.METHODS), "explanation methods")
    train_images: int = setting(0, "number of training images, stratified by class; 0: all")
    num_images: int = setting(6, "images explained: the first of each of so many classes of the test split")
    epochs: int = setting(5, "training epochs of the ConvNet")
    vit_epochs: int = setting(5, "training epochs of the vision transformer, which only attention methods explain")
    vit_width: int = setting(64, "width of the transformer")
    vit_heads: int = setting(4, "attention heads of the transformer, a divisor of its width")
    vit_depth: int = setting(4, "blocks of the transformer")
    vit_patch: int = setting(4, "side of its patches, pixels")
    batch_size: int = setting(50, "images a training step")
    learning_rate: float = setting(1e-3, "AdamW learning rate of both models")
    seed: int = setting(0, "seed of the models, of the samples and of the randomised weights")

    def __post_init__(self) -> None:
        for name in self.methods:
            check_choice("explanation method", name, explain.METHODS)
        for name in (
            "num_images",
            "epochs",
            "vit_epochs",
            "vit_width",
            "vit_heads",
            "vit_depth",
            "vit_patch",
            "batch_size",
        ):
            check_count(name, getattr(self, name))


def run_gallery(
    config: GalleryConfig, run_dir: str | Path, *, overwrite: bool = False, on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """Trains the two models, explains the images by every method and writes result.json, maps.npz and methods.png.

    For each method also the similarity of its maps to those of the same model with (a) a new head and (b) all weights
    new: an explanation of the model must change (Adebayo et al. 2018).
    Raises: InputError for bad input, before anything is written.
    """
    progress = on_progress or (lambda what, record: None)
    progress("loading data", {})
    train_split = load_split(config.dataset, config.data_dir, "train", config.train_images)
    test_split = load_split(config.dataset, config.data_dir, "test", 0)
    directory = RunDirectory(run_dir, config, overwrite=overwrite)
    started = time.perf_counter()
    result: dict[str, Any] = {
        "format": record.FORMAT,
        "kind": "explanation_methods",
        "experiment": config.experiment,
        "config": config.as_dict(),
        "environment": environment.describe(),
        "rows": [],
    }
    trained = {
        name: _train(config, name, train_split, test_split, progress)
        for name in ("convnet", "vit")
        if any((explain.METHODS[method].needs == "attention") == (name == "vit") for method in config.methods)
    }
    classes, firsts = np.unique(test_split.labels, return_index=True)
    images = jnp.asarray(test_split.as_float(firsts[: config.num_images]))
    maps = {"images": np.asarray(images), "labels": classes[: config.num_images]}
    for method in config.methods:
        part = {"unit": len(result["rows"]), "num_units": len(config.methods), "of": "method"}
        progress(f"explaining by {method}", part)
        name = "vit" if explain.METHODS[method].needs == "attention" else "convnet"
        row, maps[method] = _explain(config, method, trained[name], images)
        result["rows"].append({"method": method, "model": name, **row})
    result["environment"]["seconds"] = round(time.perf_counter() - started, 1)
    maps["class_names"] = np.array([test_split.info.class_names[label] for label in maps["labels"]])
    directory.add_maps(maps)
    directory.write_result(result)
    progress("drawing the figure", {})
    report.write(directory.path)
    return result


@dataclasses.dataclass(frozen=True)
class _Trained:
    model: models.Classifier
    variables: PyTree
    new_head: PyTree
    new_weights: PyTree
    clean_accuracy: float


def _train(
    config: GalleryConfig, name: str, train_split: data.Dataset, test_split: data.Dataset, progress: OnProgress
) -> _Trained:
    info = train_split.info
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
    variables = train.fit(
        key, model, train_split, settings, log_every=20, on_log=lambda record: progress(f"training {name}", record)
    ).variables
    other = models.init(jax.random.fold_in(key, 1), model, info.image_shape)
    clean, _ = evaluate.accuracies(
        key, models.model_fn(model), variables, test_split, epsilon=0.0, alpha=0.0, num_steps=0
    )
    new_head = {**variables, "params": {**variables["params"], "head": other["params"]["head"]}}
    return _Trained(model, variables, new_head, other, clean)


def _explain(
    config: GalleryConfig, method: str, trained: _Trained, images: Array
) -> tuple[dict[str, float], np.ndarray]:
    """A row of result.json, and the maps (images, H, W) of the trained model."""
    key = jax.random.fold_in(jax.random.key(config.seed), 2)
    model_fn = models.model_fn(trained.model)

    @jax.jit
    def to_maps(variables: PyTree) -> Array:
        def one(image: Array) -> Array:
            # The class is the trained model's prediction, for the randomised models too.
            label = jnp.argmax(model_fn(trained.variables, image))
            return explain.make_map_fn(method, functools.partial(model_fn, variables), label, key=key)(image)

        return jax.lax.map(one, images)

    own = jax.block_until_ready(to_maps(trained.variables))
    started = time.perf_counter()
    jax.block_until_ready(to_maps(trained.variables))
    seconds = (time.perf_counter() - started) / len(images)
    row = {
        "clean_accuracy": trained.clean_accuracy,
        "effective_pixels": float(jnp.mean(jax.vmap(evaluate.effective_pixels)(own))),
        "milliseconds": round(1000 * seconds, 2),
    }
    for name, variables in (("new_head", trained.new_head), ("new_weights", trained.new_weights)):
        other = to_maps(variables)
        row[f"spearman_{name}"] = float(jnp.mean(jax.vmap(evaluate.spearman)(own, other)))
        row[f"cosine_{name}"] = float(jnp.mean(jax.vmap(evaluate.cosine_similarity)(own, other)))
    return row, np.asarray(own)
