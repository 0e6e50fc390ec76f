"""Square: random search with square patches, from logits only, without gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep.attack.entry import attack_method
from jsep.attack.losses import margin
from jsep.attack.norms import norm_by_name, project_to_ball_and_box
from jsep.checks import InputError, check_choice, check_count, check_positive
from jsep.types import Array, Key, LogitsFn

_HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries after which the fraction of changed pixels is halved: the published schedule, for any number of queries."""

_TILES = 5  # along each side of the image, at the start under l2
_SMALL = 1e-12


class SquareInfo(NamedTuple):
    """The record of a run of `square`.

    margin: () the best margin, max_{k != label} z_k - z_label: > 0 if the image is misclassified.
    success: () bool, the returned image is misclassified; num_queries: () int, evaluations of the model.
    distance: () norm of the perturbation; num_non_finite: () int, queries with non-finite logits, which are never kept.
    """

    margin: Array
    success: Array
    num_queries: Array
    distance: Array
    num_non_finite: Array


class _State(NamedTuple):
    query: Array
    image: Array
    margin: Array
    success: Array
    num_non_finite: Array


@attack_method
def square(
    key: Key,
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    *,
    norm: str = "linf",
    epsilon: Any,
    num_queries: int = 5000,
    p_init: float = 0.8,
) -> tuple[Array, SquareInfo]:
    """Square: random search on the margin, which changes a square of pixels and keeps the change if the margin grows.

    The square covers the fraction `p_init` of the pixels, halved after 10, 50, 200, 500, ... queries. Under linf the
    search starts from vertical stripes of +-epsilon, and the square is shifted by 2 epsilon with a random sign for each
    channel and projected into the ball; under l2 it starts from tiles of opposite peaks, and the budget of two windows
    is moved into one of them.

    Args:
      key: for all random draws.
      logits_fn: image -> logits (K,), not differentiated; image: (H, W, C) float in [0, 1]; label: its class.
      norm: "linf" or "l2"; epsilon: radius of the ball, pixel units.
      num_queries: largest number of changes tried, >= 0; it stops at the first misclassified image.
      p_init: fraction of the pixels that the first squares cover, in (0, 1].

    Returns: (adversarial (H, W, C), SquareInfo). One image; batch with `jax.vmap`.
    Raises: InputError for a setting or image out of range, or a norm without a rule here.
    Reference: Andriushchenko et al. 2020, algorithms 1 to 3.
    """
    check_choice("norm", norm, _RULES)
    ball = norm_by_name(norm)
    check_count("num_queries", num_queries, minimum=0)
    check_positive("p_init", p_init)
    if p_init > 1:
        raise InputError(f"p_init is a share of the pixels and must be in (0, 1], got {p_init}")
    begin, propose = _RULES[norm](image, epsilon, p_init)
    objective = margin(logits_fn, label)

    def put_back(candidate: Array) -> Array:
        return project_to_ball_and_box(ball, image, candidate, epsilon)

    def queried(candidate: Array) -> tuple[Array, Array]:
        value, success = objective.with_success(candidate)
        return jnp.where(jnp.isfinite(value), value, -jnp.inf), success  # ranks below any other

    def step(state: _State) -> _State:
        stage = jnp.sum(state.query > jnp.asarray(_HALVED_AFTER))
        candidate = put_back(propose(jax.random.fold_in(key, state.query), state.image, stage))
        value, success = queried(candidate)
        better = (value > state.margin) | success
        return _State(
            query=state.query + 1,
            image=jnp.where(better, candidate, state.image),
            margin=jnp.where(better, value, state.margin),
            success=success,
            num_non_finite=state.num_non_finite + ~jnp.isfinite(value),
        )

    start = put_back(begin(jax.random.fold_in(key, num_queries)))
    value, success = queried(start)
    final = jax.lax.while_loop(
        lambda state: (state.query < num_queries) & ~state.success,
        step,
        _State(jnp.int32(0), start, value, success, (~jnp.isfinite(value)).astype(jnp.int32)),
    )
    # If no query was finite, the clean image is returned.
    adversarial = jnp.where(jnp.isfinite(final.margin), final.image, image)
    distance = ball.size(adversarial - image)
    return adversarial, SquareInfo(final.margin, final.success, final.query + 1, distance, final.num_non_finite)


def _sizes(image: Array, p_init: float, *, smallest: int, odd: bool) -> np.ndarray:
    """The side of the square in each stage of the schedule."""
    height, width = image.shape[:2]
    shares = p_init / 2.0 ** np.arange(len(_HALVED_AFTER) + 1)
    sides = np.maximum(np.round(np.sqrt(shares * height * width)).astype(int), smallest)
    if odd:
        sides += sides % 2 == 0
    return np.minimum(sides, min(height, width))


def _random_window(key: Key, image: Array, side: Array) -> tuple[Array, Array]:
    """(the corner (2,) of a random window inside the image, its pixels (H, W, 1) bool)."""
    room = jnp.asarray(image.shape[:2]) - side
    corner = jnp.minimum(jnp.floor(jax.random.uniform(key, (2,)) * (room + 1)).astype(jnp.int32), room)
    rows, columns = (jnp.arange(length) - corner[axis] for axis, length in enumerate(image.shape[:2]))
    inside = ((rows >= 0) & (rows < side))[:, None] & ((columns >= 0) & (columns < side))[None, :]
    return corner, inside[:, :, None]


def _random_signs(key: Key, shape: tuple[int, ...], dtype: Any) -> Array:
    return jax.random.rademacher(key, shape).astype(dtype)


def _linf_rules(image: Array, epsilon: Any, p_init: float) -> tuple[Any, Any]:
    _, width, channels = image.shape
    sides = jnp.asarray(_sizes(image, p_init, smallest=1, odd=False))

    def begin(key: Key) -> Array:
        return image + epsilon * _random_signs(key, (1, width, channels), image.dtype)

    def propose(key: Key, current: Array, stage: Array) -> Array:
        where_key, sign_key = jax.random.split(key)
        _, inside = _random_window(where_key, image, sides[stage])
        return current + jnp.where(inside, 2 * epsilon * _random_signs(sign_key, (channels,), image.dtype), 0.0)

    return begin, propose


def _hill(height: int, width: int) -> np.ndarray:
    """A peak of nested rectangles around the centre, the r-th adding 1 / r^2, scaled to unit L2 norm."""
    rows, columns = (np.abs(np.arange(length) - length // 2) for length in (height, width))
    radius = np.maximum(rows[:, None], columns[None, :])
    # The pixel at distance r lies in rectangles r + 1, r + 2, ... up to the last one.
    terms = 1.0 / np.arange(1, max(height, width) // 2 + 2) ** 2
    values = np.array([terms[r:].sum() for r in range(len(terms))])[radius]
    return values / np.sqrt((values**2).sum())


def _peaks(side: int) -> np.ndarray:
    """(side, side): a peak in the upper half and a negative one in the lower half, scaled to unit L2 norm."""
    upper, lower = side // 2, side - side // 2
    peaks = np.concatenate([_hill(upper, side) if upper else np.zeros((0, side)), -_hill(lower, side)])
    return peaks / np.sqrt((peaks**2).sum())


def _channel_size(values: Array) -> Array:
    return jnp.sqrt(jnp.sum(values**2, axis=(0, 1), keepdims=True))


def _l2_rules(image: Array, epsilon: Any, p_init: float) -> tuple[Any, Any]:
    height, width, channels = image.shape
    sizes = _sizes(image, p_init, smallest=3, odd=True)
    table = np.zeros((len(sizes), 2, height, width), np.float32)  # in the upper left corner; upright and lying
    for stage, side in enumerate(sizes):
        table[stage, 0, :side, :side] = _peaks(side)
        table[stage, 1, :side, :side] = _peaks(side).T
    patterns, sides = jnp.asarray(table, image.dtype), jnp.asarray(sizes)

    def scaled(delta: Array) -> Array:
        return image + epsilon * delta / (jnp.sqrt(jnp.sum(delta**2)) + _SMALL)

    def begin(key: Key) -> Array:
        side = max(min(height, width) // _TILES, 1)
        rows, columns = height // side, width // side
        turn_key, sign_key = jax.random.split(key)
        upright = jnp.asarray(_peaks(side), image.dtype)
        turned = jax.random.bernoulli(turn_key, shape=(rows, 1, columns, 1, 1))
        tile = jnp.where(turned, upright.T[None, :, None, :, None], upright[None, :, None, :, None])
        tiles = tile * _random_signs(sign_key, (rows, 1, columns, 1, channels), image.dtype)
        tiles = tiles.reshape(rows * side, columns * side, channels)
        margins = [(room // 2, room - room // 2) for room in (height - rows * side, width - columns * side)]
        return scaled(jnp.pad(tiles, [*margins, (0, 0)]))

    def propose(key: Key, current: Array, stage: Array) -> Array:
        into_key, from_key, turn_key, sign_key = jax.random.split(key, 4)
        corner, into = _random_window(into_key, image, sides[stage])
        _, source = _random_window(from_key, image, sides[stage])
        delta = current - image
        old = jnp.where(into, delta, 0.0)
        pattern = patterns[stage, jax.random.bernoulli(turn_key).astype(jnp.int32)]
        pattern = jnp.roll(pattern, corner, (0, 1))[:, :, None]
        new = pattern * _random_signs(sign_key, (channels,), image.dtype) + old / (_channel_size(old) + _SMALL)
        # For each channel: the budget of the two windows, and its part of what the ball has left.
        unused = jnp.maximum(epsilon**2 - jnp.sum(delta**2), 0.0) / channels
        budget = jnp.sqrt(unused + _channel_size(jnp.where(into | source, delta, 0.0)) ** 2)
        new = budget * new / (_channel_size(new) + _SMALL)
        return scaled(jnp.where(into, new, jnp.where(source, 0.0, delta)))

    return begin, propose


_RULES = {"linf": _linf_rules, "l2": _l2_rules}
"""norm -> (image, epsilon, p_init) -> (key -> first candidate, (key, current, stage) -> next candidate)."""
