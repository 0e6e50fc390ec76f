"""The 2-D convolution by its definition, as the library has it, and where operations are counted by it."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

from jsep.models.shifted import Padding
from jsep.types import Array

NHWC = ("NHWC", "HWIO", "NHWC")

_by_definition = contextvars.ContextVar("_by_definition", default=False)


@contextlib.contextmanager
def by_definition() -> Iterator[None]:
    """Functions that are lowered inside have the library's convolution: to count operations, whose number a form may
    change."""
    token = _by_definition.set(True)
    try:
        yield
    finally:
        _by_definition.reset(token)


def is_by_definition() -> bool:
    """Whether the caller is inside `by_definition`."""
    return _by_definition.get()


def library_conv(images: Array, kernel: Array, *, padding: Padding, strides: int = 1) -> Array:
    """Cross-correlation of images (B, H, W, C) with kernel (kh, kw, C, F) -> (B, H', W', F)."""
    return jax.lax.conv_general_dilated(images, kernel, (strides, strides), padding, dimension_numbers=NHWC)
