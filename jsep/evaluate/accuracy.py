"""Clean and robust accuracy over a whole data set, with every image counted once."""

import dataclasses
import functools
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep import attack, devices
from jsep.arguments import shows_keywords_of
from jsep.checks import (
    InputError,
    check_count,
    check_epsilon,
    check_output,
    check_positive,
    is_probability,
    refuse_probabilities,
)
from jsep.data import Dataset
from jsep.evaluate.chunk_store import ChunkStore
from jsep.evaluate.metric import PAPER, QUALITY, TRAINING, accuracy, plain, register, remark
from jsep.evaluate.model_arguments import takes_logits_fn
from jsep.numerics import all_finite
from jsep.types import Array, Key, ModelFn, PyTree


@functools.partial(jax.jit, static_argnames=("model_fn", "norm", "num_steps", "random_start"))
def _correct(
    model_fn: ModelFn,
    variables: PyTree,
    images: Array,
    labels: Array,
    keys: Array,
    *,
    norm: str,
    epsilon: Array,
    alpha: Array,
    num_steps: int,
    random_start: bool,
) -> tuple[Array, Array, Array, Array]:
    """(clean correct, robust, everything finite, the clean output is a probability distribution), (B,) bool each."""

    def one(image: Array, label: Array, key: Key) -> tuple[Array, Array, Array, Array]:
        if image.dtype == jnp.uint8:
            image = image.astype(jnp.float32) / 255
        logits_fn = functools.partial(model_fn, variables)
        logits = logits_fn(image)
        finite, clean = all_finite(logits), jnp.argmax(logits) == label
        probable = is_probability(logits)
        if num_steps == 0:
            return clean & finite, clean & finite, finite, probable
        adversarial, info = attack.pgd(
            key,
            attack.cross_entropy(logits_fn, label),
            image,
            norm=norm,
            epsilon=epsilon,
            alpha=alpha,
            num_steps=num_steps,
            random_start=random_start,
        )
        logits = logits_fn(adversarial)
        finite &= all_finite(logits) & (info.num_non_finite == 0)
        return clean & finite, clean & finite & (jnp.argmax(logits) == label), finite, probable

    return jax.vmap(one)(images, labels, keys)


def check_classes(model_fn: ModelFn, variables: PyTree, dataset: Dataset) -> None:
    """Raises InputError unless the model returns logits (K,), with a class for every label of the data set."""
    image = jax.ShapeDtypeStruct(dataset.info.image_shape, jnp.float32)
    output = jax.eval_shape(model_fn, variables, image)
    check_output(output, "model_fn")
    num_logits = output.shape[0]
    if num_logits <= dataset.labels.max():
        raise InputError(
            f"the model has {num_logits} classes, but {dataset.info.name} has labels up to {dataset.labels.max()}"
        )


class Classification(NamedTuple):
    """The classification of each image of a data set under an attack, (B,) bool.

    clean: classified correctly; robust: correctly also at the end of the attack. finite: all logits and gradients along
    the attack were finite; if not, both others are False, and the image must be left out of every accuracy.
    """

    clean: np.ndarray
    robust: np.ndarray
    finite: np.ndarray

    @property
    def num_non_finite(self) -> int:
        """The number of images with non-finite logits or gradients."""
        return int(np.sum(~self.finite))

    def accuracies(self) -> tuple[float, float]:
        """(clean, robust) over the finite images, as fractions; NaN if there are none."""
        if not self.finite.any():
            return float("nan"), float("nan")
        return float(self.clean[self.finite].mean()), float(self.robust[self.finite].mean())


def _warn_of_non_finite(found: Classification) -> None:
    if found.num_non_finite:
        warnings.warn(
            f"the logits or gradients of {found.num_non_finite} of {len(found.finite)} images are not finite: nothing "
            "is known about them; look at the model's variables",
            stacklevel=3,
        )


@takes_logits_fn
def classification(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    dataset: Dataset,
    *,
    norm: str = "linf",
    epsilon: float = 8 / 255,
    alpha: float = 2 / 255,
    num_steps: int = 20,
    random_start: bool = True,
    chunk_size: int = 256,
    store: str | Path | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Classification:
    """Whether each image is classified correctly, clean and under PGD, and whether all logits and gradients are finite.

    An image counts as robust if it is classified correctly both clean and at the end of PGD on the cross-entropy
    (see `attack.pgd` for norm, epsilon, alpha, num_steps and random_start; with 0 steps robust equals clean).

    Args: model_fn, variables: (variables, image) -> logits (K,), or one logits_fn(image) for both; chunk_size: images
      in memory at once; the last chunk is padded and the padding not counted, so the result does not depend on
      chunk_size. The random start of an image depends on the key and the image's index alone. Variables on a mesh
      (`devices.replicate`) distribute the images of a chunk over its devices. store: a directory that keeps every
      finished chunk; a repeated call continues from it with the same results; on_progress: called after each chunk with
      its number of images.
    Raises: InputError for a bad setting, a model that does not return logits (but probabilities, or one number) or has
      fewer classes than the labels, or when `store` holds chunks of another call.
    """
    # Checked here: inside the compiled function the settings are traced values.
    attack.norm_by_name(norm)
    check_epsilon(epsilon, norm)
    check_positive("alpha", alpha, allow_zero=True)
    check_count("num_steps", num_steps, minimum=0)
    check_count("chunk_size", chunk_size)
    check_classes(model_fn, variables, dataset)
    settings: dict[str, Any] = {
        "norm": norm, "epsilon": epsilon, "alpha": alpha, "num_steps": num_steps, "random_start": random_start,
    }  # fmt: skip
    total = len(dataset)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(total))
    mesh = devices.mesh_of(variables)
    size = devices.padded_size(min(chunk_size, total), mesh)
    chunks = None
    if store is not None:
        made_from = (jax.random.key_data(key), variables, dataset.images, dataset.labels, repr(settings), size)
        chunks = ChunkStore(store, made_from)
    results: list[Any] = []
    for first in range(0, total, size):
        indices = np.minimum(np.arange(first, first + size), total - 1)
        kept = chunks.load(first) if chunks is not None else None
        if kept is None:
            rows = devices.shard((dataset.images[indices], dataset.labels[indices], keys[indices]), mesh)
            part = _correct(model_fn, variables, *rows, **settings)
            if chunks is not None:
                part = devices.to_host(part, mesh)
                chunks.save(first, dict(zip(_PARTS, part, strict=True)))
        else:
            part = tuple(kept[name] for name in _PARTS)
        results.append(part)
        if on_progress is not None:
            jax.block_until_ready(part)
            on_progress(min(size, total - first))
    # One host synchronisation for all chunks; the padding, repeats of the last image, is cut off.
    columns = zip(*devices.to_host(results, mesh), strict=True)
    clean, robust, finite, probable = (np.concatenate(column)[:total] for column in columns)
    refuse_probabilities(probable)
    return Classification(clean, robust, finite)


_PARTS = ("clean", "robust", "finite", "probable")
"""The arrays of a stored chunk."""


@shows_keywords_of(classification)
@takes_logits_fn
def correctly_classified(
    key: Key, model_fn: ModelFn, variables: PyTree, dataset: Dataset, **settings: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each image is classified correctly, clean and under PGD: ((B,) bool, (B,) bool).

    Args, Raises: as `classification`. An image with non-finite logits or gradients is False in both, and a warning
      gives their number; `classification` tells them apart.
    """
    found = classification(key, model_fn, variables, dataset, **settings)
    _warn_of_non_finite(found)
    return found.clean, found.robust


@shows_keywords_of(classification)
@takes_logits_fn
def accuracies(
    key: Key, model_fn: ModelFn, variables: PyTree, dataset: Dataset, **settings: Any
) -> tuple[float, float]:
    """(clean accuracy, accuracy under PGD), fractions of the whole `dataset`.

    Args, Raises: as `classification`. Images with non-finite logits or gradients are left out, and a warning gives
      their number; NaN if there are no others.
    """
    found = classification(key, model_fn, variables, dataset, **settings)
    _warn_of_non_finite(found)
    return found.accuracies()


@takes_logits_fn
def auto_attack_accuracy(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    dataset: Dataset,
    *,
    norm: str = "linf",
    epsilon: float = 8 / 255,
    version: str | attack.AutoAttackConfig = "standard",
    chunk_size: int = 64,
    part_size: int | None = None,
    store: str | Path | None = None,
    on_progress: Callable[[str, dict[str, float]], None] | None = None,
) -> tuple[float, float, attack.AutoAttackInfo]:
    """(clean accuracy, accuracy under `attack.auto_attack`, its info), with every image of `dataset` counted once.

    Check `info.raised` before trusting the robust accuracy. Images of `info.not_finite` are left out.
    Args: model_fn, variables: (variables, image) -> logits (K,), or one logits_fn(image) for both; part_size: images
      that pass the whole ensemble before the next part, default: all; an automatic check raised for one part is raised.
      store: a directory that keeps every finished part; a repeated call continues from it; on_progress: called after
      each attack on a part, with "attacked", "robust_accuracy" (of the part) and "done", the number of images in
      finished parts. The rest as of `attack.auto_attack`.
    Raises: InputError as `attack.auto_attack`, for a count < 1, or when `store` holds parts of another call.
    """
    check_classes(model_fn, variables, dataset)
    total = len(dataset)
    size = total if part_size is None else min(part_size, total)
    check_count("part_size", size)
    parts, kept = [], None
    if store is not None:
        settings = repr((norm, epsilon, version, size))
        kept = ChunkStore(store, (jax.random.key_data(key), variables, dataset.images, dataset.labels, settings))
    for first in range(0, total, size):
        stored = kept.load(first) if kept is not None else None
        if stored is not None:
            parts.append(_restored(stored))
            continue
        rows = slice(first, first + size)

        def on_attack(name: str, record: dict[str, float], first: int = first) -> None:
            if on_progress is not None:
                on_progress(name, {**record, "done": float(first)})

        _, info = attack.auto_attack(
            key if first == 0 else jax.random.fold_in(key, first),
            functools.partial(model_fn, variables),
            dataset.as_float(rows),
            dataset.labels[rows],
            norm=norm,
            epsilon=epsilon,
            version=version,
            chunk_size=chunk_size,
            on_progress=on_attack,
        )
        parts.append(info)
        if kept is not None:
            kept.save(first, _storable(info))
    info = _joined(parts)
    found = Classification(info.clean_correct, info.robust, ~info.not_finite)
    _warn_of_non_finite(found)
    return *found.accuracies(), info


_ARRAYS = ("clean_correct", "robust", "broken_by", "distance", "not_finite")


def _joined(parts: Sequence[attack.AutoAttackInfo]) -> attack.AutoAttackInfo:
    """The infos of all parts as one; for each check the first that was raised, else that of the first part."""
    sizes = [len(part.robust) for part in parts]
    names = parts[0].robust_accuracy
    accuracy = {name: float(np.average([p.robust_accuracy[name] for p in parts], weights=sizes)) for name in names}
    checks = zip(*(part.checks for part in parts), strict=True)
    return attack.AutoAttackInfo(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS},
        robust_accuracy=accuracy,
        checks=tuple(next((check for check in same if check.raised), same[0]) for same in checks),
    )


def _storable(info: attack.AutoAttackInfo) -> dict[str, np.ndarray]:
    rest = {"accuracy": info.robust_accuracy, "checks": [dataclasses.asdict(check) for check in info.checks]}
    return {**{name: getattr(info, name) for name in _ARRAYS}, "rest": np.array(json.dumps(rest))}


def _restored(stored: dict[str, np.ndarray]) -> attack.AutoAttackInfo:
    rest = json.loads(str(stored["rest"]))
    checks = tuple(attack.ReliabilityCheck(**check) for check in rest["checks"])
    arrays = {name: stored[name] for name in _ARRAYS}
    return attack.AutoAttackInfo(**arrays, robust_accuracy=rest["accuracy"], checks=checks)


register(
    remark("num_non_finite", "not finite",
        "Number of test images with a logit or gradient that is not finite: nothing is known about them, and no "
        "accuracy counts them."),
    accuracy("clean_accuracy", "clean acc.", PAPER,
        "Share of the test images that are classified correctly, without any attack."),
    accuracy("robust_accuracy", "robust acc.", PAPER,
        "Share of the test images that are still classified correctly under the attack on the prediction. "
        "Higher: classification is more robust."),
    accuracy("last_clean_accuracy", "clean, last", TRAINING,
        "Clean accuracy on the test images of the checkpoint after the last epoch."),
    accuracy("last_robust_accuracy", "robust, last", TRAINING,
        "Its accuracy under the attack."),
    plain("best_epoch", "best epoch", TRAINING,
        "The epoch with the highest robust accuracy on the validation images.", decimals=1),
    accuracy("best_clean_accuracy", "clean, best", TRAINING,
        "Clean accuracy of that epoch's checkpoint."),
    accuracy("best_robust_accuracy", "robust, best", TRAINING,
        "Its accuracy under the attack."),
    accuracy("auto_attack_accuracy", "AutoAttack acc.", QUALITY,
        "Share of the test images that withstand AutoAttack."),
)  # fmt: skip
