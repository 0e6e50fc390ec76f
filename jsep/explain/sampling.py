"""Shared by the methods that evaluate the model on many images: keys, chunks, no derivative."""

from collections.abc import Callable
from typing import Any

import jax

from jsep.checks import InputError, check_count
from jsep.types import Array, Key


def check_key(key: Key | None, method: str) -> Key:
    """The key. Raises InputError without one, for an explanation method that samples."""
    if key is None:
        raise InputError(f"explanation method {method!r} samples: pass key=jax.random.key(...)")
    return key


def map_in_chunks(fn: Callable[[Any], Any], inputs: Any, chunk_size: int) -> Any:
    """`fn` of every row of `inputs`, stacked; `chunk_size` rows in memory at once, in the derivative too."""
    check_count("chunk_size", chunk_size)
    num_rows = len(jax.tree.leaves(inputs)[0])
    # Recomputed when differentiated: the chunks' activations would be kept otherwise.
    return jax.lax.map(jax.checkpoint(fn), inputs, batch_size=min(chunk_size, num_rows))


def without_derivative(name: str, saliency: Array) -> Array:
    """The saliency, which raises InputError when something asks for its derivative."""

    @jax.custom_jvp
    def identity(x: Array) -> Array:
        return x

    @identity.defjvp
    def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        raise InputError(
            f"{name} has no derivative here: its samples are drawn once, for one image. Attack a differentiable method "
            "(gradient_x_input, smooth_grad, ...) and evaluate this one on the result"
        )

    return identity(saliency)
