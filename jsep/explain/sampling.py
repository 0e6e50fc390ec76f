"""Helpers of the methods that evaluate the model on many images: keys, chunks, blocked derivatives."""

from collections.abc import Callable
from typing import Any

import jax

from jsep.checks import InputError, check_count
from jsep.types import Array, Key


def check_key(key: Key | None, method: str) -> Key:
    """Returns the key. Raises InputError if an explanation method that samples has none."""
    if key is None:
        raise InputError(f"explanation method {method!r} samples: pass key=jax.random.key(...)")
    return key


def map_in_chunks(fn: Callable[[Any], Any], inputs: Any, chunk_size: int) -> Any:
    """`fn` of every row of `inputs`, stacked; at most `chunk_size` rows in memory at once, also when differentiated."""
    check_count("chunk_size", chunk_size)
    num_rows = len(jax.tree.leaves(inputs)[0])
    # Rematerialised: otherwise the activations of all chunks would be stored for the derivative.
    return jax.lax.map(jax.checkpoint(fn), inputs, batch_size=min(chunk_size, num_rows))


def without_derivative(name: str, saliency: Array) -> Array:
    """The saliency, raising InputError on any attempt to differentiate it."""

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
