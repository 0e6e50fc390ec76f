"""The convolution of `jax.lax`, and a context in which all convolutions of this package are lowered to it."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

from jsep.compiled import depends_on
from jsep.models.cpu.patches import Padding
from jsep.types import Array

NHWC = ("NHWC", "HWIO", "NHWC")

_uses_lax_conv = contextvars.ContextVar("_uses_lax_conv", default=False)


@contextlib.contextmanager
def use_lax_conv() -> Iterator[None]:
    """A context in which `conv2d` is lowered to the convolution of `jax.lax`, for counting the operations of the
    definition: the faster implementations perform a different number."""
    token = _uses_lax_conv.set(True)
    try:
        yield
    finally:
        _uses_lax_conv.reset(token)


def uses_lax_conv() -> bool:
    """Whether the caller is inside `use_lax_conv`."""
    return _uses_lax_conv.get()


depends_on(uses_lax_conv)


def lax_conv(images: Array, kernel: Array, *, padding: Padding, strides: int = 1, groups: int = 1) -> Array:
    """Cross-correlation of images (B, H, W, C) with kernel (kh, kw, C / groups, F) -> (B, H', W', F)."""
    return jax.lax.conv_general_dilated(
        images, kernel, (strides, strides), padding, dimension_numbers=NHWC, feature_group_count=groups
    )
