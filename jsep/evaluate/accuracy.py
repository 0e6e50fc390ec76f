"""Clean and robust accuracy over a whole data set, every image counted once."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jsep import attack, devices
from jsep.checks import InputError, check_count, check_epsilon, check_positive
from jsep.data import Dataset
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
) -> tuple[Array, Array]:
    def one(image: Array, label: Array, key: Key) -> tuple[Array, Array]:
        if image.dtype == jnp.uint8:
            image = image.astype(jnp.float32) / 255
        logits_fn = functools.partial(model_fn, variables)
        clean = jnp.argmax(logits_fn(image)) == label
        if num_steps == 0:
            return clean, clean
        adversarial, _ = attack.pgd(
            key,
            attack.cross_entropy(logits_fn, label),
            image,
            norm=norm,
            epsilon=epsilon,
            alpha=alpha,
            num_steps=num_steps,
            random_start=random_start,
        )
        return clean, clean & (jnp.argmax(logits_fn(adversarial)) == label)

    return jax.vmap(one)(images, labels, keys)


def accuracies(
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
) -> tuple[float, float]:
    """(clean accuracy, accuracy under PGD), fractions of the whole `dataset`.

    An image counts as robust when it is classified correctly both clean and at the end of PGD on the cross-entropy
    (see `attack.pgd` for norm, epsilon, alpha, num_steps and random_start; 0 steps gives the clean accuracy twice).

    Args: model_fn: (variables, image) -> logits (K,); chunk_size: images in memory at once; the last chunk is padded,
    and
      the padding is not counted, so the result does not depend on it. The random start of an image depends on the key
      and the image's place alone. Variables that lie on a mesh (`devices.replicate`) share the images of a chunk out
      over its devices.
    Raises: InputError for a bad setting, or when the model has fewer classes than the labels need.
    """
    # Inside the compiled function they are traced values, which no check can see.
    attack.norm_by_name(norm)
    check_epsilon(epsilon, norm)
    check_positive("alpha", alpha, allow_zero=True)
    check_count("num_steps", num_steps, minimum=0)
    check_count("chunk_size", chunk_size)
    image = jax.ShapeDtypeStruct(dataset.info.image_shape, jnp.float32)
    num_logits = jax.eval_shape(model_fn, variables, image).shape[-1]
    if num_logits <= dataset.labels.max():
        raise InputError(
            f"the model has {num_logits} classes, but {dataset.info.name} has labels up to {dataset.labels.max()}"
        )
    total = len(dataset)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(total))
    mesh = devices.mesh_of(variables)
    size = devices.multiple(min(chunk_size, total), mesh)
    results = []
    for first in range(0, total, size):
        indices = np.minimum(np.arange(first, first + size), total - 1)
        rows = devices.cut((dataset.images[indices], dataset.labels[indices], keys[indices]), mesh)
        results.append(
            _correct(
                model_fn,
                variables,
                *rows,
                norm=norm,
                epsilon=epsilon,
                alpha=alpha,
                num_steps=num_steps,
                random_start=random_start,
            )
        )
    # One host synchronisation for all chunks; the repeated last image of the padding is cut off.
    clean, robust = (np.concatenate([r[which] for r in devices.to_host(results, mesh)])[:total] for which in (0, 1))
    return float(clean.mean()), float(robust.mean())


def auto_attack_accuracy(
    key: Key,
    model_fn: ModelFn,
    variables: PyTree,
    dataset: Dataset,
    *,
    norm: str = "linf",
    epsilon: float = 8 / 255,
    version: str | attack.Version = "standard",
    chunk_size: int = 64,
    on_progress: Callable[[str, dict[str, float]], None] | None = None,
) -> tuple[float, float, attack.AutoAttackInfo]:
    """(clean accuracy, accuracy under `attack.auto_attack`, its info), every image of `dataset` counted once.

    Look at `info.raised` before the robust accuracy is believed.
    Args: model_fn: (variables, image) -> logits (K,); the rest as in `attack.auto_attack`.
    Raises: InputError as `attack.auto_attack` does.
    """
    _, info = attack.auto_attack(
        key,
        model_fn,
        dataset.as_float(slice(None)),
        dataset.labels,
        norm=norm,
        epsilon=epsilon,
        version=version,
        variables=variables,
        chunk_size=chunk_size,
        on_progress=on_progress,
    )
    return float(info.clean_correct.mean()), float(info.robust.mean()), info
