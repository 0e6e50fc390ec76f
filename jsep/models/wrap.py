"""Any classifier, of any framework, as a function of one image that carries its variables."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep.checks import InputError, check_image, check_number, check_output
from jsep.models.conv_replacement import with_own_convolutions
from jsep.models.frameworks import Parts, Static, parts_of
from jsep.types import Array, LogitsFn, PyTree


@dataclasses.dataclass(frozen=True)
class _OneImage:
    """(variables, image) -> logits; instances with equal fields are equal, so that jit caches hit."""

    apply: Static
    input_shape: tuple[int, int, int]
    batched: bool
    channels_first: bool
    low: float
    high: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    select: Callable[[Any], Any] | None

    def __call__(self, variables: PyTree, image: Array) -> Array:
        check_image(image)
        if image.shape != self.input_shape:
            raise InputError(f"the model was wrapped for images {self.input_shape}, got one of shape {image.shape}")
        output = self.outputs(variables, jnp.asarray(image)[None])[0]
        check_output(output, "the wrapped model")
        return output

    def outputs(self, variables: PyTree, images: Array) -> Any:
        """images (B, H, W, C) in [0, 1] -> what the model returns for them, (B, K) where all is well."""
        images = self.seen(images)
        output = functools.partial(with_own_convolutions, self._output, variables)
        if self.batched:
            return output(images)
        if len(images) == 1:
            return jax.tree.map(lambda value: value[None], output(images[0]))
        return jax.vmap(output)(images)

    def _output(self, variables: PyTree, seen: Array) -> Any:
        return self.selected(self.apply.value(variables, seen))

    def seen(self, images: Array) -> Array:
        """What the model sees of images (B, H, W, C) in [0, 1]."""
        if (self.low, self.high) != (0, 1):
            images = self.low + (self.high - self.low) * images
        if self.mean:
            images = images - jnp.asarray(self.mean, images.dtype)
        if self.std:
            images = images / jnp.asarray(self.std, images.dtype)
        return jnp.moveaxis(images, -1, 1) if self.channels_first else images

    def selected(self, output: Any) -> Any:
        """The logits in what the model returns."""
        return output if self.select is None else self.select(output)


def wrap(
    model: Any,
    variables: PyTree = None,
    *,
    input_shape: tuple[int, int, int],
    batched: bool | None = None,
    channels_first: bool | None = None,
    input_range: Sequence[float] | Array = (0.0, 1.0),
    mean: float | Sequence[float] | Array = (),
    std: float | Sequence[float] | Array = (),
    select: Callable[[Any], Any] | None = None,
) -> LogitsFn:
    """A classifier of any framework as image (H, W, C) in [0, 1] -> logits (K,), the form used throughout jsep.

    The model sees (low + (high - low) image - mean) / std, in evaluation mode: dropout off, batch normalisation with
    its running statistics. The model itself is not changed.

    >>> import jax.numpy as jnp
    >>> from jsep import models
    >>> logits_fn = models.wrap(lambda image: image.ravel() @ jnp.ones((4, 3)), input_shape=(2, 2, 1))
    >>> logits_fn(jnp.ones((2, 2, 1))).tolist()
    [4.0, 4.0, 4.0]

    Args:
      model: one of
        a function image -> logits or images -> logits (B, K), of (variables, image) or (variables, images) where
          `variables` are given;
        a Flax module: Linen with its `variables`, or NNX; a Haiku transform with its parameters or (params, state);
        an Equinox module, of one image as a rule, with its State as `variables` where it has one;
        a Keras 3 model on the JAX backend; a PyTorch module (needs torchax: pip install "jsep[torch]").
      input_shape: (H, W, C) of the images that it is given here.
      batched: whether it takes a batch of images; default: as modules of its framework do; of a function and of an
        Equinox module it is found out, and asked for where both could be.
      channels_first: whether it takes (C, H, W); default: True for Equinox and PyTorch, False for the others.
      input_range: (low, high), what black and white are to the model. mean, std: one number, or one a channel, in units
        of input_range; empty: no normalisation.
      select: what the model returns -> logits, for a model that returns more, such as lambda output: output["logits"].

    Returns: logits_fn; `split_variables` gives its (model_fn, variables), which functions of jsep use, so that models
      of equal structure share compiled programs.
    Raises: InputError where it is none of these, or where a forward pass of two random images fails, returns something
      else than finite logits (B, K), returns probabilities, draws random numbers, or gives an image other logits beside
      another one (batch statistics). Warns of log-probabilities, whose explanations differ from those of logits.
    """
    input_shape = _checked_shape(input_shape)
    low, high = _checked_range(input_range)
    mean, std = _checked_normalisation(mean, std, input_shape[-1], low, high)
    parts = parts_of(model, variables)
    parts = parts if batched is None else parts._replace(batched=batched)
    given = parts.channels_first if channels_first is None else channels_first
    one = _OneImage(Static(parts.apply), input_shape, bool(parts.batched), given, low, high, mean, std, select)
    one = _that_fits(one, parts)
    _check_values(one, parts)
    return functools.partial(one, parts.variables)


def _checked_shape(input_shape: Any) -> tuple[int, int, int]:
    shape = tuple(input_shape) if isinstance(input_shape, Sequence) else ()
    if len(shape) != 3 or not all(isinstance(size, int | np.integer) and size > 0 for size in shape):
        raise InputError(f"input_shape must be (H, W, C), got {input_shape!r}")
    height, width, channels = (int(size) for size in shape)
    if channels > 4 and height <= 4:
        raise InputError(
            f"input_shape must be (H, W, C), got {shape}: channels first? Give {(width, channels, height)}, and "
            "channels_first=True if the model takes them so"
        )
    return height, width, channels


def _checked_range(input_range: Any) -> tuple[float, float]:
    if hasattr(input_range, "tolist"):
        input_range = input_range.tolist()
    if not isinstance(input_range, Sequence) or len(input_range) != 2:
        raise InputError(f"input_range must be (low, high), such as (0, 255) or (-1, 1), got {input_range!r}")
    for value in input_range:
        check_number("input_range", value, -1e6, 1e6)
    low, high = (float(value) for value in input_range)
    if not low < high:
        raise InputError(f"input_range must be (low, high) with low < high, got {input_range!r}")
    return low, high


def _checked_normalisation(
    mean: Any, std: Any, channels: int, low: float, high: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    found = []
    for name, values in (("mean", mean), ("std", std)):
        values = tuple(np.atleast_1d(np.asarray(values, object)).tolist())
        if len(values) not in (0, 1, channels):
            raise InputError(f"{name} must be one number for each of the {channels} channels, got {len(values)}")
        for value in values:
            check_number(name, value, -1e6, 1e6)
        found.append(tuple(float(value) for value in values))
    mean, std = found
    if any(not low <= value <= high for value in mean):
        hint = "; give input_range=(0, 255), or divide them by 255" if max(mean) <= 255 and high == 1 else ""
        raise InputError(f"mean must be in units of input_range, {low:g} to {high:g}, got {_listed(mean)}{hint}")
    is_identity = not any(mean) and set(std) == {1.0}
    if mean and std and high - low > 2 and max(*map(abs, mean), *std) <= 1 and not is_identity:
        raise InputError(
            f"mean and std must be in units of input_range, {low:g} to {high:g}, got {_listed(mean)} and "
            f"{_listed(std)}, as of images in [0, 1]: leave input_range out, or multiply them by 255"
        )
    if any(value <= 0 for value in std):
        raise InputError(f"std must be > 0, got {_listed(std)}")
    if any(value > 2 * (high - low) for value in std):
        raise InputError(f"std must be in units of input_range, {low:g} to {high:g}, got {_listed(std)}")
    return mean, std


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _that_fits(one: _OneImage, parts: Parts) -> _OneImage:
    """The function with `batched` found out where the framework does not say, checked by shapes alone."""
    choices = [parts.batched] if parts.batched is not None else [False, True]
    tried = [dataclasses.replace(one, batched=batched) for batched in choices]
    outcomes = [_outcome(each, parts) for each in tried]
    fitting = [each for each, (problem, _) in zip(tried, outcomes, strict=True) if problem is None]
    if len(fitting) == 2:
        images = _random_images(one.input_shape)[:2]
        of_images, of_batch = (np.asarray(jax.jit(each.outputs)(parts.variables, images)) for each in fitting)
        if of_images.shape != of_batch.shape or not _is_close(of_images, of_batch):
            raise InputError(
                f"the model returns {of_images.shape[1]} logits of one image and {of_batch.shape[1]} other ones of one "
                "in a batch: say which it takes by batched=True or batched=False"
            )
    if fitting:
        return fitting[0]
    ran = next((problem for problem, error in reversed(outcomes) if error is None), None)
    if ran is not None:
        raise InputError(ran)
    problem = ", and ".join(dict.fromkeys(str(problem) for problem, _ in outcomes))
    if any(
        _outcome(dataclasses.replace(each, channels_first=not one.channels_first), parts)[0] is None for each in tried
    ):
        problem = f"{problem}; it takes its channels {'last' if one.channels_first else 'first'}: give "
        problem += f"channels_first={not one.channels_first}"
    raise InputError(problem) from outcomes[-1][1]


def _outcome(one: _OneImage, parts: Parts) -> tuple[str | None, Exception | None]:
    """What is wrong with the output for two images, None if nothing; the error if the model raised one."""
    images = jax.ShapeDtypeStruct((2, *one.input_shape), jnp.float32)
    try:
        output = jax.eval_shape(one.outputs, parts.variables, images)
    except InputError as error:
        return str(error), error
    except Exception as error:  # every framework has its own types
        height, width, channels = one.input_shape
        taken = (channels, height, width) if one.channels_first else one.input_shape
        reason = " ".join(str(error).split())[:200]
        hint = f"; {parts.hint}" if parts.hint else ""
        shown = f"images (B, {', '.join(map(str, taken))})" if one.batched else f"an image {taken}"
        return f"the model fails for {shown} ({type(error).__name__}: {reason}){hint}", error
    return _wrong_output(output, one.batched), None


def _wrong_output(output: Any, batched: bool) -> str | None:
    """One line on an output for two images that is not logits (2, K)."""
    must = "the model must return logits (K,)" if not batched else "the model must return logits (B, K)"
    if isinstance(output, dict) or hasattr(output, "keys"):
        names, first = ", ".join(map(repr, output)), next(iter(output), "logits")
        return f"{must} alone, got a dict of {names}; pick them by select=lambda output: output[{first!r}]"
    if isinstance(output, tuple | list):
        kind = f"{type(output).__name__} of {len(output)}"
        return f"{must} alone, got a {kind}; pick them by select=lambda output: output[0]"
    shape, dtype = getattr(output, "shape", None), getattr(output, "dtype", None)
    if shape is None or dtype is None:
        return f"{must} alone, got {type(output).__name__}; pick them by select=lambda output: output.logits"
    if shape in ((2,), (2, 1)):
        pair = "jnp.stack([-z, z], axis=-1)" if shape == (2,) else "jnp.concatenate([-z, z], axis=-1)"
        return (
            f"{must} of at least 2 classes, got one number; for one logit z give both classes: select=lambda z: {pair}"
        )
    if len(shape) != 2 or shape[0] != 2:
        given = f"{shape} for 2 images" if batched else f"{shape[1:]}"
        return f"{must}, got shape {given}"
    if not jnp.issubdtype(dtype, jnp.floating):
        return f"{must}, floating point, got dtype {dtype}"
    return None


def _check_values(one: _OneImage, parts: Parts) -> None:
    """Raises InputError for logits that are no function of the image and the variables alone, or are no logits."""
    images = _random_images(one.input_shape)
    program = jax.jit(one.outputs)
    first = np.asarray(program(parts.variables, images[:2]))
    if not np.isfinite(first).all():
        raise InputError("the model's logits for a random image are not finite: look at its variables and input_range")
    check_output(jnp.asarray(first[0]), "the model")
    if np.abs(np.logaddexp.reduce(first.astype(np.float64), axis=-1)).max() < 1e-4:
        warnings.warn(
            "the model returns log-probabilities: predictions and attacks on them are as those of logits, but an "
            "explanation is then of log p(label), not of the logit as usual; take the log_softmax out for that",
            stacklevel=3,
        )
    if parts.reference is not None:
        output, fault = parts.reference(np.asarray(one.seen(jnp.asarray(images[:2]))))
        error = np.abs(first - np.asarray(one.selected(output))).max()
        if error > 1e-3 * np.abs(first).max():
            raise InputError(f"the logits differ by {error:.2g} from those of the model's own framework{fault()}")
    # The same program with another second image: only statistics of the batch can tell the difference.
    beside = np.asarray(program(parts.variables, images[[0, 2]]))[0]
    if not _is_close(first[0], beside):
        raise InputError(
            "the model gives an image other logits beside another image: it normalises by statistics of the batch; set "
            "it to its evaluation mode, with running statistics"
        )


def _random_images(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (3, *shape)).astype(np.float32)


def _is_close(some: np.ndarray, others: np.ndarray) -> bool:
    """Equal but for the rounding of another program."""
    return bool(np.allclose(some, others, rtol=1e-3, atol=1e-4 * np.abs(some).max()))
