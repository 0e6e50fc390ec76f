"""SEP: the regulariser that flattens (weight > 0) or sharpens (weight < 0) the explanation-loss landscape."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jsep import explain
from jsep.attack.pgd import ascend
from jsep.checks import MAX_WEIGHT, InputError, check_choice, check_count, check_noise, check_number, check_positive
from jsep.compiled import compiled
from jsep.map_checks import floating
from jsep.train.batch_attack import BATCH_NORM_MODES, check_batch_labels
from jsep.types import Array, Key, MapFn, ModelFn, PyTree

NOISES = ("gaussian", "uniform", "worst")
"""Kinds of noise in the SEP term; see `SepConfig`."""

FORMS = ("mse", "sum", "root")
"""Distances between maps in the SEP term; see `SepConfig`."""

GRADIENTS = ("directional", "reverse")
"""Methods of differentiating the SEP term; both give the same gradient."""


@compiled
def sep_penalty(map_fn: MapFn, image: Array, noise: Array) -> Array:
    """The SEP term of one image, mean((I(x + noise) - I(x))^2).

    >>> import jax.numpy as jnp
    >>> from jsep import train
    >>> map_fn = lambda image: image[..., 0] / image.sum()
    >>> float(train.sep_penalty(map_fn, jnp.array([[[1.0], [1.0]]]), jnp.array([[[2.0], [0.0]]])))
    0.0625

    Args: map_fn: image -> map (H, W); image: (H, W, C) in [0, 1]; noise: (H, W, C), not clipped to [0, 1].
    Returns: () >= 0; at most 2/N for maps that sum to 1.
    Raises: InputError when noise and image differ in shape, or the noise is above 1000 in size.
    Reference: the paper, Algorithm 1, L_f.
    """
    check_noise(noise, image)
    return jnp.mean((floating(map_fn(image + noise)) - floating(map_fn(image))) ** 2)


@dataclasses.dataclass(frozen=True)
class SepConfig:
    """How the SEP term is computed.

    method: the explanation method, a key of `explain.METHODS`; method_options: its options, ((name, value), ...).
    map_config: how a saliency becomes a map.
    noise: "gaussian" with standard deviation `noise_scale`, "uniform" in [-noise_scale, noise_scale], or "worst": the
      min-max variant, which maximises the term in that box and [0, 1] by `noise_steps` sign steps from a uniform start.
    form: distance between two maps: "mse" (mean of squares over the N pixels), "sum" (of squares) or "root" (Euclidean
      norm). The text of the paper allows all three.
    gradient: "directional" (identity with directional derivatives, for methods that are a function of the input
      gradient alone) or "reverse" (reverse over reverse, for every differentiable method); same parameter gradient.
    batch_norm: statistics of batch normalisation in the SEP term during training: those of the clean batch ("training")
      or the running ones ("evaluation", with which SEP of weight > 0 degraded short runs); no effect on other networks.

    Raises: InputError for an unknown name, or "directional" with a method that is not a function of the input gradient.
    """

    method: str = "gradient_x_input"
    map_config: explain.MapConfig = explain.MapConfig()
    noise: str = "gaussian"
    noise_scale: float = 0.1
    form: str = "mse"
    gradient: str = "directional"
    noise_steps: int = 5
    batch_norm: str = "training"
    method_options: explain.Options = ()

    def __post_init__(self) -> None:
        explain.check_differentiable(self.method)
        explain.check_options(self.method, self.method_options)
        check_choice("SEP noise", self.noise, NOISES)
        check_choice("SEP form", self.form, FORMS)
        check_choice("SEP gradient", self.gradient, GRADIENTS)
        check_choice("batch normalisation of the SEP term", self.batch_norm, BATCH_NORM_MODES)
        check_positive("noise_scale", self.noise_scale)
        check_count("noise_steps", self.noise_steps)
        if self.gradient == "directional" and self.method_options:
            raise InputError(f"options of {self.method!r} need the SEP gradient 'reverse'")
        if self.gradient == "directional" and explain.method(self.method).from_gradient is None:
            raise InputError(
                f"{self.method!r} is not a function of the input gradient alone; use the SEP gradient 'reverse'"
            )

    def describe(self) -> dict[str, Any]:
        """The settings that determine the term, by name; see `TrainConfig.describe`."""
        settings = dataclasses.asdict(self)
        if self.batch_norm == "evaluation":
            del settings["batch_norm"]
        if not self.method_options:
            del settings["method_options"]
        if self.noise != "worst":
            del settings["noise_steps"]
        return settings


def draw_noise(key: Key, config: SepConfig, shape: tuple[int, ...]) -> Array:
    """The noise zeta of Algorithm 1, `shape` float32 in pixel units; for "worst" its random start."""
    if config.noise == "gaussian":
        return config.noise_scale * jax.random.normal(key, shape)
    return jax.random.uniform(key, shape, minval=-config.noise_scale, maxval=config.noise_scale)


def worst_noise(key: Key, config: SepConfig, map_fn: MapFn, image: Array) -> Array:
    """The noise (H, W, C) in the linf ball of radius noise_scale that changes the map of `image` most, found by PGD.

    The step size is 2.5 * noise_scale / noise_steps, so that every point of the ball can be reached.
    """
    own = map_fn(image)
    moved, *_ = ascend(
        key,
        lambda z: map_distance(config.form, map_fn(z), own),
        image,
        epsilon=config.noise_scale,
        alpha=2.5 * config.noise_scale / config.noise_steps,
        num_steps=config.noise_steps,
    )
    return moved - image


def map_distance(form: str, first: Array, second: Array) -> Array:
    """The distance between two maps (H, W), `form` one of `FORMS`; () >= 0, with derivative 0 for equal maps."""
    square = jnp.sum((first - second) ** 2)
    if form == "mse":
        return square / first.size
    if form == "sum":
        return square
    is_zero = square == 0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, square)))


def _penalty_reverse(
    config: SepConfig, model_fn: ModelFn, variables: PyTree, image: Array, noise: Array, label: Array, key: Key
) -> Array:
    map_fn = explain.make_map_fn(
        config.method,
        lambda z: model_fn(variables, z),
        label,
        map_config=config.map_config,
        key=key,
        **dict(config.method_options),
    )
    return map_distance(config.form, map_fn(image + noise), map_fn(image))


def _penalty_directional(
    from_gradient: Callable[[Array, Array], Array],
    config: SepConfig,
    model_fn: ModelFn,
    variables: PyTree,
    image: Array,
    noise: Array,
    label: Array,
) -> Array:
    points = jnp.stack([image, image + noise])
    held = jax.lax.stop_gradient(variables)

    def penalty(gradients: Array) -> Array:
        maps = [config.map_config(from_gradient(point, g)) for point, g in zip(points, gradients, strict=True)]
        return map_distance(config.form, maps[1], maps[0])

    gradients = jax.vmap(lambda z: explain.gradient(lambda y: model_fn(held, y), z, label))(points)
    value, cotangents = jax.value_and_grad(penalty)(gradients)

    def derivative_along(point: Array, direction: Array) -> Array:
        return jax.jvp(lambda z: model_fn(variables, z)[label], (point,), (direction,))[1]

    derivative = jnp.sum(jax.vmap(derivative_along)(points, jax.lax.stop_gradient(cotangents)))
    # Has the value of the penalty and the parameter gradient of the sum of directional derivatives.
    return value + derivative - jax.lax.stop_gradient(derivative)


def batch_penalty(
    key: Key, config: SepConfig, model_fn: ModelFn, variables: PyTree, images: Array, labels: Array
) -> Array:
    """The mean SEP term of a batch, a function to differentiate in `variables`.

    With R(g1, g2) the term as a function of the input gradients g1, g2 at x and x + noise, v = dR/dg held constant,

        dR/dtheta = sum_i v_i . dg_i/dtheta = d/dtheta sum_i <grad_x f_label(theta, x_i), v_i>,

    and the inner product is a forward directional derivative: one reverse pass over one forward-mode pass
    ("directional"), cheaper than differentiating a reverse pass in reverse ("reverse").

    Args: key: for the noise; variables: of `model_fn`; images: (B, H, W, C) in [0, 1]; labels: (B,), the explained
      classes. Returns: () >= 0.
    Reference: the paper, Algorithm 1.
    """
    check_batch_labels(model_fn, variables, images, labels)
    return jnp.mean(image_penalties(jax.random.split(key, len(images)), config, model_fn, variables, images, labels))


@compiled
def image_penalties(
    keys: Key, config: SepConfig, model_fn: ModelFn, variables: PyTree, images: Array, labels: Array
) -> Array:
    """The SEP term of every image, (B,); `batch_penalty` is its mean.

    Args: keys: (B,), one for each image; the others as `batch_penalty`.
    """
    # Keys for random explanation methods, independent of the keys of the noise.
    method_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, 1)
    if config.noise == "worst":
        held = jax.lax.stop_gradient(variables)

        def worst(key: Key, method_key: Key, image: Array, label: Array) -> Array:
            map_fn = explain.make_map_fn(
                config.method,
                lambda z: model_fn(held, z),
                label,
                map_config=config.map_config,
                key=method_key,
                **dict(config.method_options),
            )
            return worst_noise(key, config, map_fn, image)

        noises = jax.vmap(worst)(keys, method_keys, images, labels)
    else:
        noises = jax.vmap(lambda k: draw_noise(k, config, images.shape[1:]))(keys)
    if config.gradient == "directional":
        from_gradient = explain.method(config.method).from_gradient
        assert from_gradient is not None  # SepConfig has checked it
        penalties = jax.vmap(functools.partial(_penalty_directional, from_gradient, config, model_fn, variables))(
            images, noises, labels
        )
    else:
        penalties = jax.vmap(functools.partial(_penalty_reverse, config, model_fn, variables))(
            images, noises, labels, method_keys
        )
    return penalties


def scale_free_weight(sep_weight: float, num_pixels: int) -> float:
    """sep_weight / N^2: the weight for N^2 * MSE equivalent to `sep_weight` for MSE; 50,000 at 32x32 gives 0.048.

    >>> from jsep import train
    >>> round(train.scale_free_weight(50000.0, 32 * 32), 4)
    0.0477
    """
    check_number("sep_weight", sep_weight, -MAX_WEIGHT, MAX_WEIGHT)
    check_count("num_pixels", num_pixels)
    return sep_weight / num_pixels**2
