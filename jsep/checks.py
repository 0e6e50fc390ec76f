"""Input checks: each raises an error of one line with what was expected, what was given and how to correct it.

Every kind of input has one check, shared by all functions that take it. Shapes and dtypes are always checked; values
only outside of `jit`, `vmap` and `grad`: traced ones are unknown. docs/faults.md lists the results for invalid ones.
"""

import difflib
import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep.noting import is_noted, of_values
from jsep.types import Array


class InputError(ValueError):
    """Invalid input; scripts print the message as one line and exit with code 2."""


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


MAX_WEIGHT = 1e12
"""Largest weight of a loss term; with larger ones gradients overflow in float32."""

_LARGEST = float(np.finfo(np.float32).max)

ROUNDING = 1e-6
"""Tolerance for pixels and fractions outside [0, 1]: within it they count as rounding errors and are clipped."""

_PROBABILITY_SUM = 1e-5  # tolerance for the sum of float32 probabilities; 1e-2 in half precision


def _known_number(name: str, value: Any, expected: str) -> float | None:
    """The value of one real number (a Python or NumPy number, or a 0-d array); None if it is traced."""
    if _is_traced(value):
        if np.shape(value) != () or not _is_real(value.dtype):
            raise InputError(f"{name} must be {expected}, got {value.dtype} of shape {np.shape(value)}")
        return None
    array = value if isinstance(value, np.ndarray | np.generic | jax.Array) else None
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if array is not None:
        is_number = array.shape == () and _is_real(array.dtype)
    if not is_number:
        shape = f" of shape {array.shape}" if array is not None and array.shape else ""
        raise InputError(f"{name} must be {expected}, got {type(value).__name__ if shape else repr(value)}{shape}")
    if np.isfinite(number := float(value)) and abs(number) > _LARGEST:
        raise InputError(f"{name} must be at most {_LARGEST:.1g} in size, the limit of float32, got {value}")
    return number


def _is_real(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer))


@of_values(0)
def check_epsilon(epsilon: Any, norm: str = "linf", name: str = "epsilon") -> None:
    """Raises InputError unless the budget is one finite number >= 0 and, under linf, at most 1."""
    number = _known_number(name, epsilon, "a number >= 0 (pixel units, images in [0, 1])")
    if number is None:
        return
    if not np.isfinite(number) or number < 0:
        raise InputError(f"{name} must be a number >= 0 (pixel units, images in [0, 1]), got {number:g}")
    if norm == "linf" and number > 1:
        hint = f"; did you mean {number:g}/255?" if number <= 255 else ""
        raise InputError(f"{name} must be in [0, 1] (pixel units, images in [0, 1]), got {number:g}{hint}")


LARGEST_COUNT = 10**9
"""The largest number of images, steps or epochs: more than any data set has, or days of the fastest step, and far below
2**31, the limit of a 32-bit index."""


def check_count(name: str, value: Any, minimum: int = 1) -> None:
    """Raises InputError unless `value` is an integer >= `minimum`, and at most `LARGEST_COUNT`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise InputError(f"{name} must be an integer >= {minimum}, got {value!r}")
    if value > LARGEST_COUNT:
        raise InputError(f"{name} must be at most {LARGEST_COUNT:,}, got {value}")


@of_values(1)
def check_positive(name: str, value: Any, *, allow_zero: bool = False, maximum: float | None = None) -> None:
    """Raises InputError unless `value` is one finite number > 0 (>= 0 with `allow_zero`), at most `maximum`."""
    expected = f"a number {'>=' if allow_zero else '>'} 0"
    number = _known_number(name, value, expected)
    if number is None:
        return
    if not np.isfinite(number) or number < 0 or (number == 0 and not allow_zero):
        raise InputError(f"{name} must be {expected}, got {value}")
    if maximum is not None and number > maximum:
        raise InputError(f"{name} must be at most {maximum:g}, got {value}")


@of_values(1)
def check_number(name: str, value: Any, low: float, high: float, *, above_low: bool = False) -> None:
    """Raises InputError unless `value` is one finite number in [low, high], or (low, high] with `above_low`."""
    where = f"in {'(' if above_low else '['}{low:g}, {high:g}]"
    number = _known_number(name, value, f"a number {where}")
    if number is not None and (not low <= number <= high or (above_low and number == low)):
        raise InputError(f"{name} must be {where}, got {number:g}")


def _as_array(value: Any, name: str) -> Any:
    """The value as a NumPy array; NumPy and JAX arrays unchanged."""
    if isinstance(value, jax.Array | np.ndarray):
        return value
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be an array, got {type(value).__name__} ({error})") from None
    if array.dtype == object:
        raise InputError(f"{name} must be an array of numbers, got {type(value).__name__}")
    return array


def _check_float(array: Any, name: str) -> None:
    if jnp.issubdtype(array.dtype, jnp.floating):
        return
    hint = "convert it, as by .astype('float32')"
    if array.dtype == np.uint8:
        hint = "divide uint8 images by 255"
    elif jnp.issubdtype(array.dtype, jnp.complexfloating):
        hint = "take its real part"
    raise InputError(f"{name} must be floating point in [0, 1], got dtype {array.dtype}; {hint}")


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
    """Raises InputError unless `value` is a finite number within its bounds, and an integer if `whole`.

    Args: minimum, maximum: inclusive bounds; above, below: exclusive bounds.
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
    """Raises InputError unless `image` has the shape (H, W, C) of one image and a floating-point dtype."""
    array = _as_array(image, name)
    shape = array.shape
    if len(shape) != 3 or 0 in shape:
        hint = "; for a batch use jax.vmap" if len(shape) == 4 else ""
        hint = "; add the axis of the channels, image[..., None]" if len(shape) == 2 else hint
        raise InputError(f"{name} must be one (H, W, C) image, got shape {shape}{hint}")
    _check_float(array, name)


def as_image(image: Any, name: str = "image", *, in_box: bool = True) -> Array:
    """The checked image as a JAX array of the same floating-point dtype.

    Args: in_box: whether pixels must be in [0, 1]; those outside by at most `ROUNDING` are clipped. Pixels of a traced
      image are neither checked nor clipped.
    Raises: InputError unless it is one finite (H, W, C) floating-point image, in [0, 1] if `in_box`.
    """
    check_image(image, name)
    check_pixels(image, name, in_box=in_box)
    array = _as_array(image, name)
    if in_box:  # of a noted one, what is further outside is refused before
        array = jnp.clip(array, 0, 1) if is_noted(array) else clip_rounding(array)
    return jnp.asarray(array)


def as_images(images: Any, name: str = "images") -> np.ndarray:
    """The images (B, H, W, C) as a NumPy array of the same floating-point dtype, clipped as in `as_image`.

    Raises: InputError as `check_images`.
    """
    check_images(images, name)
    array = np.asarray(images)
    return np.asarray(clip_rounding(array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)))


def clip_rounding(array: Any) -> Any:
    """The array clipped to [0, 1] if all pixels are within `ROUNDING` of it; otherwise, or if traced, unchanged."""
    if _is_traced(array):
        return array
    # NumPy, because under jit the result of jax.numpy is traced even for constants.
    values = np.asarray(array)
    low, high = values.min(initial=0), values.max(initial=0)
    needed = (low < 0 or high > 1) and low >= -ROUNDING and high <= 1 + ROUNDING
    return values.clip(0, 1) if needed else array


def check_images(images: Any, name: str = "images") -> None:
    """Raises InputError unless `images` are (B, H, W, C) floating-point images with all pixels in [0, 1]."""
    if _is_traced(images):
        raise InputError(f"{name} must be arrays with values, got a traced one; call this outside of jit and vmap")
    images = np.asarray(_as_array(images, name))
    if images.ndim != 4 or 0 in images.shape:
        raise InputError(f"{name} must be (B, H, W, C) with at least one image, got shape {images.shape}")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        hint = "; divide uint8 by 255" if images.dtype == np.uint8 else "; convert them, as by .astype('float32')"
        raise InputError(f"{name} must be floating point in [0, 1], got dtype {images.dtype}{hint}")
    low, high = float(images.min()), float(images.max())  # NaN if any pixel is
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        hint = "; divide them by 255" if 1 < high <= 255 and low >= 0 else ""
        raise InputError(f"{name} must be in [0, 1], got pixels from {low:g} to {high:g}{hint}")


@of_values(0)
def check_pixels(image: Any, name: str = "image", *, in_box: bool = True) -> None:
    """Raises InputError for untraced pixels that are not finite or, with `in_box`, outside [0, 1] beyond `ROUNDING`."""
    if _is_traced(image):
        return
    values = np.asarray(_as_array(image, name))
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())  # NaN if any pixel is
    if not in_box:
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError(f"{name} has pixels that are not finite, got [{low:g}, {high:g}]")
    elif not (low >= -ROUNDING and high <= 1 + ROUNDING):
        hint = "divide them by 255" if 1 < high <= 255 and low >= 0 else "scale them first"
        hint = "" if np.isnan(low) else f"; {hint}"
        raise InputError(f"{name} must have pixels in [0, 1], got [{low:g}, {high:g}]{hint}")


LARGEST_NOISE = 1000.0
"""The largest noise added to an image, in pixel units: images are in [0, 1], and beyond it float32 loses them."""


def check_noise(noise: Any, image: Any) -> None:
    """Raises InputError unless noise is floating point, of the image's shape, finite and at most `LARGEST_NOISE`."""
    if np.shape(noise) != np.shape(image):
        raise InputError(f"noise must have the image's shape {np.shape(image)}, got {np.shape(noise)}")
    check_pixels(noise, "noise", in_box=False)
    _check_float(noise, "noise")
    _check_noise_values(noise)


@of_values(0)
def _check_noise_values(noise: Any) -> None:
    if not _is_traced(noise) and (largest := float(np.max(np.abs(np.asarray(noise)), initial=0.0))) > LARGEST_NOISE:
        raise InputError(f"noise must be at most {LARGEST_NOISE:g} in size (pixel units), got {largest:g}")


def as_baseline(baseline: Any, image: Array, name: str = "baseline") -> Array:
    """The baseline that replaces pixels of `image`, in its dtype: a number, or an array that broadcasts to its shape.

    Raises: InputError unless the baseline is real, broadcasts and, if it is not traced, is finite.
    """
    array = _as_array(baseline, name)
    if not _is_real(array.dtype):
        raise InputError(f"{name} must be a number or an array of them, pixel units, got dtype {array.dtype}")
    try:
        fits = np.broadcast_shapes(array.shape, image.shape) == image.shape
    except ValueError:
        fits = False
    if not fits:
        raise InputError(f"{name} must broadcast to the image's shape {image.shape}, got shape {array.shape}")
    check_pixels(array, name, in_box=False)  # the array itself, whose check is noted where it is traced
    array = jnp.asarray(array, image.dtype)
    check_pixels(array, name, in_box=False)
    return array


@of_values(0)
def check_label(label: Any, num_classes: int, name: str = "label") -> None:
    """Raises InputError unless `label` is one integer class () and, if it is not traced, in 0 .. num_classes - 1."""
    array = _as_array(label, name)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        hint = "; for a one-hot row pass its argmax" if array.shape == (num_classes,) else ""
        raise InputError(f"{name} must be an integer class, got dtype {array.dtype} of shape {array.shape}{hint}")
    if array.shape != ():
        hint = "; for a one-hot row pass its argmax" if array.shape == (num_classes,) else ""
        raise InputError(
            f"{name} must be one class of shape (), got shape {array.shape}; for a batch use jax.vmap{hint}"
        )
    _check_range(array, num_classes, name)


@of_values(0)
def check_labels(labels: Any, num_images: int, num_classes: int, name: str = "labels") -> None:
    """Raises InputError unless `labels` are (num_images,) integer classes in 0 .. num_classes - 1."""
    array = _as_array(labels, name)
    if array.shape != (num_images,):
        hint = "; for one-hot rows pass their argmax" if array.shape == (num_images, num_classes) else ""
        raise InputError(f"{name} must be one class for each of the {num_images} images, got shape {array.shape}{hint}")
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise InputError(f"label must be an integer class, got dtype {array.dtype}")
    _check_range(array, num_classes, "label")


def _check_range(array: Any, num_classes: int, name: str) -> None:
    if _is_traced(array) or not array.size:
        return
    low, high = int(np.asarray(array).min()), int(np.asarray(array).max())
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        raise InputError(f"{name} must be in 0 .. {num_classes - 1} (the model has {num_classes} classes), got {wrong}")


def at_label(values: Array, label: Any) -> Array:
    """values[label]; NaN for a traced label outside 0 .. K-1, which cannot raise.

    Args: values: (K,) floating point; label: () integer, checked. Returns: (); its derivative is NaN in the same cases.
    """
    if not _is_traced(label):
        return values[label]
    is_class = (label >= 0) & (label < values.shape[-1])
    # A product, so that the derivative is NaN too; for a valid label it multiplies by 1.
    return values[label] * jnp.where(is_class, 1.0, jnp.nan).astype(values.dtype)


def check_output(logits: Any, name: str = "logits_fn") -> None:
    """Raises InputError unless a model's output for one image is logits (K,), floating point, of at least 2 classes.

    Outputs that are not traced are also rejected if they are probabilities (non-negative, sum 1).
    """
    shape, dtype = getattr(logits, "shape", None), getattr(logits, "dtype", None)
    must = f"{name} must map one image (H, W, C) to logits (K,)"
    if shape is None or dtype is None:
        raise InputError(f"{must} alone, got {type(logits).__name__}; pick them out of it")
    if len(shape) != 1:
        hint = ""
        if shape == ():
            hint = "; it is a score already: give the model of all classes"
        elif len(shape) == 2 and 1 in shape:
            hint = "; take the axis of the batch out, as by [0]" if shape[0] == 1 else "; flatten them, as by [:, 0]"
        raise InputError(f"{must}, got shape {shape}{hint}")
    if shape[0] < 2:
        raise InputError(
            f"{must} of at least 2 classes, got shape {shape}; for one logit z give the two classes, as by "
            "jnp.stack([-z, z])"
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError(f"{must}, floating point, got dtype {dtype}")
    check_logits(logits)


def is_probability(logits: Array) -> Array:
    """() bool: whether a model's output (K,), traced or not, is non-negative and sums to 1, like a softmax."""
    return jnp.all(logits >= 0) & (jnp.abs(jnp.sum(logits.astype(jnp.float32)) - 1) < _PROBABILITY_SUM)


def refuse_probabilities(found: Any, name: str = "model_fn") -> None:
    """Raises InputError if `is_probability` was true for all images; found: (B,) bool."""
    if np.all(found):
        raise InputError(f"{name} returns probabilities (non-negative, sum 1), expected logits: take the softmax out")


def check_logits(logits: Any) -> None:
    """Raises InputError when all logits (..., K) look like probabilities (non-negative, sum 1); traced ones pass."""
    if _is_traced(logits) or isinstance(logits, jax.ShapeDtypeStruct):
        return
    if np.size(logits) == 0 or np.shape(logits)[-1] < 2:
        return
    values = np.asarray(logits)
    tolerance = _PROBABILITY_SUM if values.dtype.itemsize > 2 else 1e-2
    sums = values.sum(axis=-1, dtype=np.float64)
    if np.all((values == 0) | (values == 1)):
        return  # one-hot logits, as of a toy model
    if np.all(values >= -ROUNDING) and np.all(np.abs(sums - 1) < tolerance):
        raise InputError(
            "logits_fn returns probabilities (non-negative, sum 1), expected logits: take the softmax out of the model"
        )
