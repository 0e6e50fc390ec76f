"""Checks of what a caller hands in: each raises one line that says what was expected, what came and what to do.

Only static facts are checked (Python numbers, shapes, dtypes, NumPy arrays): a traced value passes.
"""

import difflib
import errno
import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any

import jax
import numpy as np


class InputError(ValueError):
    """Bad input from a caller or a user; scripts print its one line and exit with code 2."""


_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DISK_FULL_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that a file could not be written for want of room, by its number or its text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _DISK_FULL
    return any(text in str(error) for text in _DISK_FULL_TEXTS)


def _is_traced(value: Any) -> bool:
    return isinstance(value, jax.core.Tracer)


def check_choice(what: str, value: str, known: Iterable[str]) -> None:
    """Raises InputError unless `value` is one of the `known` names; suggests the nearest one."""
    known = list(known)
    if value in known:
        return
    near = difflib.get_close_matches(str(value), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(f"unknown {what} {value!r}: expected one of {', '.join(known)}{hint}")


def check_epsilon(epsilon: Any, norm: str = "linf", name: str = "epsilon") -> None:
    """Raises InputError unless the budget is a finite number >= 0 and, under linf, at most 1."""
    if _is_traced(epsilon) or not isinstance(epsilon, Real):
        return
    epsilon = float(epsilon)
    if not np.isfinite(epsilon) or epsilon < 0:
        raise InputError(f"{name} must be a number >= 0 (pixel units, images in [0, 1]), got {epsilon:g}")
    if norm == "linf" and epsilon > 1:
        hint = f"; did you mean {epsilon:g}/255?" if epsilon <= 255 else ""
        raise InputError(f"{name} must be in [0, 1] (pixel units, images in [0, 1]), got {epsilon:g}{hint}")


def check_count(name: str, value: Any, minimum: int = 1) -> None:
    """Raises InputError unless `value` is an integer >= `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise InputError(f"{name} must be an integer >= {minimum}, got {value!r}")


def check_positive(name: str, value: Any, *, allow_zero: bool = False) -> None:
    """Raises InputError unless `value` is a finite number > 0 (>= 0 with `allow_zero`)."""
    if _is_traced(value) or not isinstance(value, Real):
        return
    if not np.isfinite(float(value)) or value < 0 or (value == 0 and not allow_zero):
        raise InputError(f"{name} must be a number {'>=' if allow_zero else '>'} 0, got {value}")


def check_range(
    name: str,
    value: Any,
    *,
    whole: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> None:
    """Raises InputError unless `value` is a finite number, an integer where `whole`, within its bounds.

    Args: minimum, maximum: the smallest and the largest; above, below: bounds that are not reached.
    """
    is_number = isinstance(value, int | np.integer if whole else Real) and not isinstance(value, bool)
    missed = [
        f" {sign} {end if isinstance(end, int) else format(end, 'g')}"
        for sign, end, holds in (
            (">=", minimum, operator.ge),
            ("<=", maximum, operator.le),
            (">", above, operator.gt),
            ("<", below, operator.lt),
        )
        if end is not None and not (is_number and holds(value, end))
    ]
    if is_number and not missed and (whole or np.isfinite(float(value))):
        return
    low, high = (above if minimum is None else minimum), (below if maximum is None else maximum)
    if not whole and low is not None and high is not None and low >= 0 and high <= 1:
        ends = f"{'(' if minimum is None else '['}{low:g}, {high:g}{')' if maximum is None else ']'}"
        raise InputError(f"{name} must be in {ends}, got {value!r}")
    raise InputError(f"{name} must be {'an integer' if whole else 'a number'}{''.join(missed[:1])}, got {value!r}")


def check_image(image: Any, name: str = "image") -> None:
    """Raises InputError unless `image` is one (H, W, C) floating-point image."""
    shape = np.shape(image)
    if len(shape) != 3:
        hint = "; for a batch use jax.vmap" if len(shape) == 4 else ""
        raise InputError(f"{name} must be one (H, W, C) image, got shape {shape}{hint}")
    dtype = jax.numpy.result_type(image)
    if not jax.numpy.issubdtype(dtype, jax.numpy.floating):
        raise InputError(f"{name} must be floating point in [0, 1], got dtype {dtype}; divide uint8 images by 255")


def check_images(images: Any, name: str = "images") -> None:
    """Raises InputError unless `images` are (B, H, W, C) floating-point images with all pixels in [0, 1]."""
    if _is_traced(images):
        raise InputError(f"{name} must be arrays with values, got a traced one; call this outside of jit and vmap")
    images = np.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise InputError(f"{name} must be (B, H, W, C) with at least one image, got shape {images.shape}")
    if not np.issubdtype(images.dtype, np.floating):
        raise InputError(f"{name} must be floating point in [0, 1], got dtype {images.dtype}; divide uint8 by 255")
    low, high = float(images.min()), float(images.max())  # nan where a pixel is
    if not (low >= 0 and high <= 1):
        hint = "; divide them by 255" if 1 < high <= 255 and low >= 0 else ""
        raise InputError(f"{name} must be in [0, 1], got pixels from {low:g} to {high:g}{hint}")


def check_pixels(image: Any, name: str = "image") -> None:
    """Raises InputError when known pixels lie outside [0, 1] or are not finite."""
    if _is_traced(image):
        return
    values = np.asarray(image)
    if values.size and not (np.all(np.isfinite(values)) and values.min() >= 0 and values.max() <= 1):
        raise InputError(
            f"{name} must have pixels in [0, 1], got [{values.min():g}, {values.max():g}]; scale them first"
        )


def check_label(label: Any, num_classes: int) -> None:
    """Raises InputError when a label known at trace time is outside 0 .. num_classes - 1."""
    if _is_traced(label):
        return
    label = np.asarray(label)
    if not np.issubdtype(label.dtype, np.integer):
        raise InputError(f"label must be an integer class, got dtype {label.dtype}")
    if label.size and (label.min() < 0 or label.max() >= num_classes):
        wrong = label.min() if label.min() < 0 else label.max()
        raise InputError(f"label must be in 0 .. {num_classes - 1} (the model has {num_classes} classes), got {wrong}")


def check_logits(logits: Any) -> None:
    """Raises InputError when known logits (..., K) all look like probabilities: non-negative, and of sum 1."""
    if _is_traced(logits) or np.size(logits) == 0 or np.shape(logits)[-1] < 2:
        return
    values = np.asarray(logits)
    if np.all(values >= 0) and np.all(np.abs(values.sum(axis=-1) - 1) < 1e-3):
        raise InputError(
            "logits_fn returns probabilities (non-negative, sum 1), expected logits: take the softmax out of the model"
        )
