"""A model whose explanation attack has a closed form: an image of two pixels, so that a map that sums to 1 has one
degree of freedom, the ratio of its entries."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import oracles

SHAPE = (1, 2, 1)
COEFFICIENTS = np.array([1.0, 0.6])
VICTIM = np.array([0.4, 0.7], np.float32).reshape(SHAPE)
FAR_TARGET = jnp.array([[0.99, 0.01]], jnp.float32)
"""Out of reach of every ball used here: the best map has the largest first entry."""


def quadratic(boundary: float | None = None) -> oracles.Quadratic:
    """Class 0: sum c_i x_i^2, with the map c_i x_i / sum. With `boundary`, class 1 leads where x_1 < boundary."""
    other = COEFFICIENTS - np.array([0.0, 0.5])
    bias = -10.0 if boundary is None else 0.5 * boundary**2
    return oracles.Quadratic(np.stack([np.diag(COEFFICIENTS), np.diag(other)]), np.array([0.0, bias]))


def ridge(beta: float = 5.0) -> oracles.SoftplusRidge:
    """One ridge a pixel: under Gradient x Input the map is a_i x_i s(beta x_i) / sum, each entry growing in its x."""
    amplitudes = np.stack([COEFFICIENTS, COEFFICIENTS / 10])
    return oracles.SoftplusRidge(np.eye(2).reshape(2, *SHAPE), amplitudes, np.zeros(2), beta)


def loss_of_ratio(ratio: float, target: Any = FAR_TARGET) -> float:
    """mean((m - t)^2) of the map (ratio, 1) / (1 + ratio)."""
    first = ratio / (1 + ratio)
    goal = np.asarray(target, np.float64).ravel()
    return float(((first - goal[0]) ** 2 + (1 - first - goal[1]) ** 2) / 2)


def best_quadratic_ratio(epsilon: float, norm: str = "linf", lowest: float = 0.0) -> float:
    """The largest c_0 x_0 / (c_1 x_1) in the ball and the box with x_1 >= lowest."""
    first, second = VICTIM.ravel().astype(np.float64)
    if norm == "linf":
        x = min(first + epsilon, 1), max(second - epsilon, lowest)
    else:
        # The tangent from the origin to the circle: its angle with the line to the centre is asin(epsilon / |x|).
        size = np.hypot(first, second)
        angle = np.arctan2(second, first) - np.arcsin(epsilon / size)
        length = np.sqrt(size**2 - epsilon**2)
        x = length * np.cos(angle), length * np.sin(angle)
    return COEFFICIENTS[0] * x[0] / (COEFFICIENTS[1] * x[1])


def best_ridge_ratio(epsilon: float, beta: float = 5.0) -> float:
    """The same under linf for the map of `ridge`."""
    first, second = VICTIM.ravel().astype(np.float64)
    x = np.array([first + epsilon, second - epsilon])
    entries = COEFFICIENTS * x / (1 + np.exp(-beta * x))
    return float(entries[0] / entries[1])
