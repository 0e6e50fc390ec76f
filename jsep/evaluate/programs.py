"""The compiled programs of evaluations from shapes alone, to know what they need before they run."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep.evaluate.accuracy import _correct
from jsep.evaluate.robustness import ExplanationAttackConfig, _attack_pairs
from jsep.types import ModelFn, PyTree

Program = tuple[Callable[..., Any], tuple[Any, ...]]
"""A jitted function of arrays, and the shapes of its arguments."""


def classification_program(
    model_fn: ModelFn, variables: PyTree, image_shape: tuple[int, int, int], num_images: int, *, norm: str = "linf",
    num_steps: int = 20, dtype: Any = np.uint8,
) -> Program:  # fmt: skip
    """The program of `classification` for one chunk of images: PGD and the classes before and after.

    Args: variables: arrays or their shapes; num_images: of a chunk; dtype: of the stored images.
    Returns: (program, shapes): `program.lower(*shapes).compile()`.
    """

    def program(variables: PyTree, images: Any, labels: Any, keys: Any, epsilon: Any, alpha: Any) -> Any:
        settings = {"norm": norm, "num_steps": num_steps, "random_start": True}
        return _correct(model_fn, variables, images, labels, keys, epsilon=epsilon, alpha=alpha, **settings)

    number = jax.ShapeDtypeStruct((), jnp.float32)
    labels = jax.ShapeDtypeStruct((num_images,), jnp.int32)
    images = jax.ShapeDtypeStruct((num_images, *image_shape), dtype)
    return jax.jit(program), (_shapes(variables), images, labels, _keys(num_images), number, number)


def explanation_program(
    model_fn: ModelFn, variables: PyTree, image_shape: tuple[int, int, int], num_pairs: int,
    config: ExplanationAttackConfig,
) -> Program:  # fmt: skip
    """The program of `explanation_robustness` for one chunk of pairs: the attack, and the maps before and after.

    Args, Returns: as `classification_program`.
    """

    def program(variables: PyTree, keys: Any, victims: Any, targets: Any) -> Any:
        return _attack_pairs(keys, model_fn, variables, victims, targets, config, num_pairs, None)

    images = jax.ShapeDtypeStruct((num_pairs, *image_shape), jnp.float32)
    return jax.jit(program), (_shapes(variables), _keys(num_pairs), images, images)


def _shapes(variables: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), variables)


def _keys(count: int) -> Any:
    return jax.eval_shape(functools.partial(jax.random.split, num=count), jax.eval_shape(jax.random.key, 0))
