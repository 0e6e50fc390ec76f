"""The floating-point format in which a training step computes its forward and backward passes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jsep.types import Array, ModelFn, PyTree

PRECISIONS = ("float32", "bfloat16")
"""Formats of the forward and backward passes of a training step; parameters, optimiser and evaluation stay float32."""

BatchFn = Callable[..., tuple[Array, PyTree]]


def _low(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), tree)


def _with_low_params(variables: PyTree) -> PyTree:
    # Batch statistics stay float32, because they accumulate over a batch and over steps.
    return {**variables, "params": _low(variables["params"])}


def in_precision(precision: str, model_fn: ModelFn, batch_fn: BatchFn) -> tuple[ModelFn, BatchFn]:
    """The two functions of a model, computed in `precision` with float32 inputs and outputs.

    "bfloat16": images and parameters are rounded to bfloat16 (8 bits of precision) at the input and logits converted to
    float32 at the output, so that losses, attack balls, parameter gradients, the optimiser and the batch statistics are
    float32. Pixels that differ by less than about 1/512 may become equal inside the model.

    Args: precision: one of `PRECISIONS`; model_fn: (variables, image, ...) -> logits; batch_fn: (variables, images,
      train=) -> (logits, batch statistics). Returns: functions of the same types; for "float32" the given ones.
    """
    if precision == "float32":
        return model_fn, batch_fn

    def low_model_fn(variables: PyTree, image: Array, *rest: Any) -> Array:
        return model_fn(_with_low_params(variables), _low(image), *rest).astype(jnp.float32)

    def low_batch_fn(variables: PyTree, images: Array, *, train: bool) -> tuple[Array, PyTree]:
        logits, batch_stats = batch_fn(_with_low_params(variables), _low(images), train=train)
        return logits.astype(jnp.float32), jax.tree.map(lambda leaf: leaf.astype(jnp.float32), batch_stats)

    return low_model_fn, low_batch_fn
