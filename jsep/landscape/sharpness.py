"""The change of a function or a map inside a ball: its average, and the largest change found by gradient ascent."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jsep import attack
from jsep.checks import as_image, check_count, check_epsilon
from jsep.compiled import compiled
from jsep.landscape.scalars import check_chunk_size, check_scalar_fn
from jsep.map_checks import as_map
from jsep.types import Array, Key, MapFn, Objective


class Sharpness(NamedTuple):
    """Statistics of f(z) - f(point) over the ball, each ().

    average: the mean over uniform z; standard_error: of that mean; worst: the largest value found by gradient ascent.
    """

    average: Array
    standard_error: Array
    worst: Array


def _largest_on_the_way(
    key: Key,
    objective: Objective,
    point: Array,
    norm: str,
    epsilon: Any,
    alpha: Any,
    num_steps: int,
    num_starts: int,
    chunk_size: int | None,
) -> Array:
    """The largest value among all iterates of projected gradient ascent from `num_starts` random starts."""

    def one(key: Key) -> Array:
        end, info = attack.pgd(key, objective, point, norm=norm, epsilon=epsilon, alpha=alpha, num_steps=num_steps)
        return jnp.maximum(jnp.max(info.objectives, initial=-jnp.inf), objective(end))

    keys = jax.random.split(key, num_starts)
    return jnp.max(jax.lax.map(one, keys, batch_size=min(chunk_size or num_starts, num_starts)))


@compiled
def sharpness(
    key: Key,
    scalar_fn: Objective,
    point: Array,
    *,
    norm: str = "linf",
    epsilon: Any,
    alpha: Any,
    num_steps: int,
    num_samples: int,
    num_starts: int = 1,
    chunk_size: int | None = None,
) -> Sharpness:
    """Average and worst-case increase of a function in the ball (within [0, 1]): mean and max of f(z) - f(point).

    Args:
      key: for the samples and the random starts.
      scalar_fn: image -> scalar; point: (H, W, C) in [0, 1].
      norm, epsilon, alpha, num_steps: the ball and the ascent, as of `attack.pgd`.
      num_samples: uniform points of the ball, >= 2; num_starts: ascents; chunk_size: of either in memory at once.

    Returns: Sharpness; `worst` is a lower bound of the true maximum, and at least 0.
    Raises: InputError for a function that is not scalar, or settings out of range.
    Reference: Keskar et al. 2017, for the parameters; here for the image.
    """
    ball = attack.norm_by_name(norm)
    point = check_scalar_fn(scalar_fn, point, in_box=True)
    check_epsilon(epsilon, norm)
    check_count("num_samples", num_samples, minimum=2)
    check_count("num_starts", num_starts)
    check_chunk_size(chunk_size)
    sample_key, ascent_key = jax.random.split(key)
    own = scalar_fn(point)

    def rise(key: Key) -> Array:
        moved = point + ball.random(key, point.shape, epsilon).astype(point.dtype)
        return scalar_fn(attack.project_to_ball_and_box(ball, point, moved, epsilon)) - own

    keys = jax.random.split(sample_key, num_samples)
    rises = jax.lax.map(rise, keys, batch_size=min(chunk_size or num_samples, num_samples))
    worst = _largest_on_the_way(ascent_key, scalar_fn, point, norm, epsilon, alpha, num_steps, num_starts, chunk_size)
    error = jnp.std(rises, ddof=1) / num_samples**0.5
    return Sharpness(jnp.mean(rises), error, jnp.maximum(worst - own, 0.0))


@compiled
def local_lipschitz(
    key: Key,
    map_fn: MapFn,
    point: Array,
    *,
    norm: str = "linf",
    epsilon: Any,
    alpha: Any,
    num_steps: int,
    num_starts: int = 1,
    chunk_size: int | None = None,
) -> Array:
    """max ||I(z) - I(point)||_2 / ||z - point||_2 over z in the ball, as found by gradient ascent.

    Args: key: for the random starts; map_fn: image -> map (H, W); point: (H, W, C) in [0, 1]; the others as of
      `sharpness`; `norm` is that of the ball only.
    Returns: (), a lower bound of the local Lipschitz constant of the map in Euclidean norms.
    Raises: InputError for settings out of range.
    Reference: Alvarez-Melis and Jaakkola 2018, equation 1.
    """
    check_count("num_starts", num_starts)
    check_chunk_size(chunk_size)
    point = as_image(point, "point")
    own = as_map(map_fn(point), "the map of map_fn")

    def ratio(image: Array) -> Array:
        moved, distance = jnp.sum((map_fn(image) - own) ** 2), jnp.sum((image - point) ** 2)
        nowhere = (distance == 0) | (moved == 0)  # sqrt has no derivative at 0
        return jnp.where(nowhere, 0.0, jnp.sqrt(jnp.where(nowhere, 1.0, moved / jnp.where(nowhere, 1.0, distance))))

    return _largest_on_the_way(key, ratio, point, norm, epsilon, alpha, num_steps, num_starts, chunk_size)
