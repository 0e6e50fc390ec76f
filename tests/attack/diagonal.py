"""A model whose gradient map is any map that one likes, and the attack on it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles

from jsep import attack, explain
from jsep.attack.explanation import ExplanationAttackInfo
from jsep.types import Array

SHAPE = (2, 3, 1)
KEY = jax.random.key(0)
SETTINGS = {"num_steps": 300, "learning_rate": 1e-2, "map_weight": 1e7, "output_weight": 1e6}


def diagonal_model(num_classes: int = 2, seed: int = 0, bias: float = 0.0) -> oracles.Quadratic:
    """Class 0 has positive curvature everywhere, so its gradient map c_i x_i / sum is any map that one likes."""
    diagonals = np.random.default_rng(seed).uniform(0.5, 2, (num_classes, 6))
    biases = np.concatenate([[bias], np.zeros(num_classes - 1)])
    return oracles.Quadratic(np.stack([np.diag(row) for row in diagonals]), biases)


def images(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(victim, target) away from the box's walls."""
    first, second = np.random.default_rng(seed).uniform(0.2, 0.8, (2, *SHAPE)).astype(np.float32)
    return first, second


def run(
    oracle: Any, victim: Any, target: Any, label: int = 0, key: Any = KEY, **settings: Any
) -> tuple[Array, ExplanationAttackInfo]:
    map_fn = explain.make_map_fn("gradient", oracle.logits, label)

    # jit only saves time here; that it changes nothing is a test of its own.
    @jax.jit
    def attacked(key: Array, victim: Array, target: Array) -> tuple[Array, ExplanationAttackInfo]:
        return attack.attack_explanation(key, map_fn, oracle.logits, victim, map_fn(target), **SETTINGS | settings)

    return attacked(key, jnp.asarray(victim), jnp.asarray(target))


def loss_of(oracle: Any, image: Any, target: Any) -> float:
    """The explanation loss under "gradient" for class 0 of a `diagonal_model`, in NumPy."""
    maps = [np.abs(oracle.gradient(np.asarray(z, np.float64), 0)).sum(-1) for z in (image, target)]
    return float(np.mean((maps[0] / maps[0].sum() - maps[1] / maps[1].sum()) ** 2))
