"""Attacks a model's predictions and explanations on images of one's own.

jsep attack --model=cifar10_convnet_mat --images=a.png,b.png
Every image is attacked in two ways: its prediction (PGD), and its explanation, which shall become that of the next
image while the prediction stays. Prints a table and writes a picture of the first attack.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from jsep import attack, data, evaluate, explain, models, plot, report, study
from jsep.checks import InputError
from jsep.cli import command_line
from jsep.types import LogitsFn

Subject = tuple[LogitsFn, tuple[int, int, int], tuple[str, ...]]


def _subject(name: str) -> Subject:
    """The model: logits of an image, the shape of its images, the names of its classes."""
    if name in models.pretrained():
        loaded = models.load_pretrained(name)
        shape = tuple(loaded.card["model"]["input_shape"])
        return loaded.logits_fn, shape, data.examples(loaded.card["dataset"]).info.class_names
    path, _, method = name.partition(":")
    if not Path(path).is_dir():
        raise InputError(
            f"model={name}: no run directory and no model of the package; give RUN_DIR or RUN_DIR:METHOD of a finished "
            f"study, or one of {', '.join(models.pretrained())}"
        )
    found = study.load_trained(path)
    names = [each.method for each in found.trained]
    if method and method not in names:
        raise InputError(f"model={name}: {path} has the methods {', '.join(dict.fromkeys(names))}")
    chosen = found.trained[names.index(method) if method else 0]
    info = found.test.info
    return models.logits_fn(found.model, chosen.variables), info.image_shape, info.class_names


def _attacked(logits_fn: LogitsFn, images: np.ndarray, values: Any) -> dict[str, np.ndarray]:
    """What both attacks find for each image; all images in one program."""

    def one(inputs: tuple[Any, Any, Any]) -> dict[str, Any]:
        key, image, target = inputs
        label = jnp.argmax(logits_fn(image))

        def map_of(label: Any) -> Any:
            return explain.make_map_fn(values.method, logits_fn, label, key=key)

        map_fn, target_map = map_of(label), map_of(jnp.argmax(logits_fn(target)))(target)
        adversarial, _ = attack.pgd(
            key, attack.cross_entropy(logits_fn, label), image,
            epsilon=values.epsilon, alpha=values.epsilon / 4, num_steps=20,
        )  # fmt: skip
        manipulated, _ = attack.auto_explanation_attack(
            key, map_fn, logits_fn, image, target_map, epsilon=values.epsilon, version=values.version
        )
        return {
            "predicted": label,
            "adversarial_predicted": jnp.argmax(logits_fn(adversarial)),
            "manipulated": manipulated,
            "manipulated_predicted": jnp.argmax(logits_fn(manipulated)),
            "map": map_fn(image),
            "manipulated_map": map_fn(manipulated),
            "target_map": target_map,
        }

    keys = jax.random.split(jax.random.key(values.seed), len(images))
    found = jax.jit(lambda *inputs: jax.lax.map(one, inputs, batch_size=16))(
        keys, jnp.asarray(images), jnp.asarray(np.roll(images, -1, axis=0))
    )
    return {name: np.asarray(each) for name, each in found.items()}


def _table(found: dict[str, np.ndarray], names: tuple[str, ...]) -> report.Table:
    rows = []
    loss = jax.vmap(lambda one, other: one.size**2 * evaluate.explanation_loss(one, other))
    starts, ends = (np.asarray(loss(found[name], found["target_map"])) for name in ("map", "manipulated_map"))
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        seen = [names[found[name][index]] for name in ("predicted", "adversarial_predicted", "manipulated_predicted")]
        removed = f"{100 * (start - end) / start:.0f}" if start > 0 else "–"
        rows.append([f"{index + 1}", *seen, f"{start:.2f} → {end:.2f}", removed])
    columns = [
        "image", "predicted", "after PGD", "after the map's attack", report.Column("loss start → end", "N²·MSE"),
        report.Column("removed", "%"),
    ]  # fmt: skip
    note = "Loss: distance to the map of the next image, whose explanation was aimed at."
    return report.make_table(columns, rows, num_names=4, notes=(note,))


def _main() -> None:
    values = flags.FLAGS
    if values.model is None:
        raise InputError(f"expected a model: --model=RUN_DIR, or one of {', '.join(models.pretrained())}")
    logits_fn, shape, names = _subject(values.model)
    labels = None
    if values.images:
        images = data.read_images(values.images, shape)
    elif values.model in models.pretrained():
        examples = data.examples(models.load_pretrained(values.model).card["dataset"])
        images, labels = examples.as_float(), examples.labels
    else:
        raise InputError("expected images: --images=FILE,FILE,... (.npz, .npy, PNG or JPEG)")
    images = images[: values.num_images]
    if len(images) < 2:
        raise InputError("expected two or more images: the explanation of each is moved to that of the next")
    found = _attacked(logits_fn, images, values)
    print(report.format_table(_table(found, names)))
    first = {name: each[0] for name, each in found.items()}
    second = names[found["predicted"][1]]
    seen = [f"predicted {name}" for name in (names[first["predicted"]], names[first["manipulated_predicted"]], second)]
    if labels is not None:
        seen = [f"{names[labels[index]]}, {said}" for index, said in zip((0, 0, 1), seen, strict=True)]
    axes = plot.attack(
        images[0],
        first["manipulated"],
        images[1],
        maps=[first["map"], first["manipulated_map"], first["target_map"]],
        below=seen,
    )
    axes[0, 0].figure.savefig(values.out, dpi=150)
    print(f"\npicture of the first attack: {values.out}")


def start() -> None:
    """Defines the flags and runs the program."""
    flags.DEFINE_string("model", None, "a model of the package, or a study: RUN_DIR or RUN_DIR:METHOD")
    flags.DEFINE_list("images", [], "files: .npz, .npy, PNG or JPEG; default: examples of the model's data set")
    flags.DEFINE_integer("num_images", 16, "how many of them are attacked, the first ones", lower_bound=2)
    flags.DEFINE(command_line.FractionParser(), "epsilon", 8 / 255, "largest change of a pixel, in [0, 1]")
    flags.DEFINE_string("method", "gradient_x_input", "the explanation method")
    flags.DEFINE_enum("version", "fast", ["fast", "standard"], "of the attack on the explanation")
    flags.DEFINE_integer("seed", 0, "random seed", lower_bound=0)
    flags.DEFINE_string("out", "attack.png", "the picture to write")
    command_line.main(_main, name="attack")
