"""One network, softplus(x W + b) V, written in every framework, dropout and all."""

import importlib.util
import os
import tempfile
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jsep import models
from jsep.types import LogitsFn

# Read when keras is imported.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("KERAS_HOME", os.path.join(tempfile.gettempdir(), "jsep_keras"))

SHAPE = (4, 3, 2)
RNG = np.random.default_rng(1)
W, B, V = ((RNG.normal(size=size) / 3).astype(np.float32) for size in ((24, 6), (6,), (6, 3)))
IMAGES = RNG.uniform(0.1, 0.9, (12, *SHAPE)).astype(np.float32)
# Rows of W for pixels whose channels come first.
W_FIRST = W.reshape(*SHAPE, 6).transpose(2, 0, 1, 3).reshape(24, 6)


def by_hand(image: jax.Array) -> jax.Array:
    return jax.nn.softplus(image.ravel() @ W + B) @ V


def of_batches() -> LogitsFn:
    return models.wrap(lambda images: jax.vmap(by_hand)(images), input_shape=SHAPE)


def of_variables() -> LogitsFn:
    def apply(params: dict[str, jax.Array], images: jax.Array) -> jax.Array:
        return jax.nn.softplus(images.reshape(len(images), -1) @ params["w"] + params["b"]) @ params["v"]

    return models.wrap(apply, {"w": jnp.asarray(W), "b": jnp.asarray(B), "v": jnp.asarray(V)}, input_shape=SHAPE)


class LinenNetwork(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, train: bool = True) -> jax.Array:
        x = nn.softplus(nn.Dense(6)(x.reshape(len(x), -1)))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(3, use_bias=False)(nn.BatchNorm(use_running_average=not train, epsilon=0)(x))


def linen() -> LogitsFn:
    params = {"Dense_0": {"kernel": W, "bias": B}, "Dense_1": {"kernel": V}}
    params["BatchNorm_0"] = {"scale": np.ones(6, np.float32), "bias": np.zeros(6, np.float32)}
    statistics = {"BatchNorm_0": {"mean": np.zeros(6, np.float32), "var": np.ones(6, np.float32)}}
    variables = jax.tree.map(jnp.asarray, {"params": params, "batch_stats": statistics})
    return models.wrap(LinenNetwork(), variables, input_shape=SHAPE)


class NnxNetwork(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.first, self.last = nnx.Linear(24, 6, rngs=rngs), nnx.Linear(6, 3, use_bias=False, rngs=rngs)
        self.dropout, self.norm = nnx.Dropout(0.5, rngs=rngs), nnx.BatchNorm(6, epsilon=0, rngs=rngs)
        self.first.kernel.value, self.first.bias.value, self.last.kernel.value = map(jnp.asarray, (W, B, V))

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.softplus(self.first(x.reshape(len(x), -1)))
        return self.last(self.norm(self.dropout(x)))


def nnx_module() -> LogitsFn:
    return models.wrap(NnxNetwork(), input_shape=SHAPE)


def equinox() -> LogitsFn:
    import equinox as eqx

    key = jax.random.key(0)
    first, last = eqx.nn.Linear(24, 6, key=key), eqx.nn.Linear(6, 3, use_bias=False, key=key)
    first = eqx.tree_at(lambda m: (m.weight, m.bias), first, (jnp.asarray(W_FIRST.T), jnp.asarray(B)))
    last = eqx.tree_at(lambda m: m.weight, last, jnp.asarray(V.T))
    layers = [eqx.nn.Lambda(jnp.ravel), first, eqx.nn.Lambda(jax.nn.softplus), eqx.nn.Dropout(0.5), last]
    return models.wrap(eqx.nn.Sequential(layers), input_shape=SHAPE)


def haiku() -> LogitsFn:
    import haiku as hk

    def forward(images: jax.Array) -> jax.Array:
        return hk.Linear(3, with_bias=False)(jax.nn.softplus(hk.Linear(6)(hk.Flatten()(images))))

    params = {"linear": {"w": jnp.asarray(V)}, "linear_1": {"w": jnp.asarray(W), "b": jnp.asarray(B)}}
    return models.wrap(hk.transform(forward), params, input_shape=SHAPE)


def keras() -> LogitsFn:
    import keras

    layers = keras.layers
    network = keras.Sequential(
        [layers.Input(SHAPE), layers.Flatten(), layers.Dense(6, "softplus"), layers.Dropout(0.5),
         layers.BatchNormalization(epsilon=0.0), layers.Dense(3, use_bias=False)]
    )  # fmt: skip
    ones, zeros = np.ones(6), np.zeros(6)
    network.set_weights([W, B, ones, zeros, zeros, ones, V])
    return models.wrap(network, input_shape=SHAPE)


def torch() -> LogitsFn:
    import torch

    nn_ = torch.nn
    network = nn_.Sequential(
        nn_.Flatten(), nn_.Linear(24, 6), nn_.Softplus(), nn_.Dropout(0.5), nn_.BatchNorm1d(6, eps=0.0),
        nn_.Linear(6, 3, bias=False),
    )  # fmt: skip
    with torch.no_grad():
        for parameter, value in ((network[1].weight, W_FIRST.T), (network[1].bias, B), (network[5].weight, V.T)):
            parameter.copy_(torch.tensor(np.ascontiguousarray(value)))
    return models.wrap(network, input_shape=SHAPE)


FRAMEWORKS: dict[str, tuple[Callable[[], LogitsFn], str | None]] = {
    "function of batches": (of_batches, None),
    "function of variables": (of_variables, None),
    "linen": (linen, None),
    "nnx": (nnx_module, None),
    "equinox": (equinox, None),
    "haiku": (haiku, "haiku"),
    "keras": (keras, "keras"),
    "torch": (torch, "torchax"),
}
"""name -> (the wrapped network, the package that the fast environment lacks)."""


def wrapped(name: str, *, may_skip: bool) -> Any:
    """The network in a framework; skips the test where the framework is not installed, if it may."""
    make, package = FRAMEWORKS[name]
    # Not importorskip: torchax is imported as `models.wrap` does it.
    if package is not None and may_skip and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    return make()
