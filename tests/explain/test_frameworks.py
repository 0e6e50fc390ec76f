"""One network by hand, in Flax and in Equinox: the methods that read jaxprs see the same network in all three."""

from collections.abc import Callable

import equinox
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import explain

SHAPE = (6, 5, 2)
IMAGE = np.random.default_rng(0).uniform(0.1, 0.9, SHAPE).astype(np.float32)
RNG = np.random.default_rng(1)
KERNELS = [(RNG.normal(size=(3, 3, i, o)) / 3).astype(np.float32) for i, o in ((2, 4), (4, 5))]
BIASES = [RNG.normal(size=o).astype(np.float32) for o in (4, 5)]
HEAD = RNG.normal(size=(5, 3)).astype(np.float32)


def by_hand(image: jax.Array) -> jax.Array:
    x = image[None]
    for kernel, bias in zip(KERNELS, BIASES, strict=True):
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jnp.log1p(jnp.exp(x + bias))
    return jnp.sum(x, axis=(1, 2))[0] / 30 @ HEAD


class FlaxNetwork(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for features in (4, 5):
            x = nn.softplus(nn.Conv(features, (3, 3))(x))
        return nn.Dense(3, use_bias=False)(jnp.mean(x, axis=(1, 2)))


def in_flax() -> Callable[[jax.Array], jax.Array]:
    params = {f"Conv_{i}": {"kernel": k, "bias": b} for i, (k, b) in enumerate(zip(KERNELS, BIASES, strict=True))}
    variables = {"params": {**params, "Dense_0": {"kernel": HEAD}}}
    return lambda image: FlaxNetwork().apply(variables, image[None])[0]


def in_equinox() -> Callable[[jax.Array], jax.Array]:
    key = jax.random.key(0)
    convolutions = []
    for kernel, bias in zip(KERNELS, BIASES, strict=True):
        layer = equinox.nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, padding=1, key=key)
        parts = (jnp.asarray(kernel.transpose(3, 2, 0, 1)), jnp.asarray(bias[:, None, None]))
        convolutions.append(equinox.tree_at(lambda m: (m.weight, m.bias), layer, parts))
    head = equinox.tree_at(lambda m: m.weight, equinox.nn.Linear(5, 3, use_bias=False, key=key), jnp.asarray(HEAD.T))
    pool = equinox.nn.AvgPool2d((6, 5))

    def logits(image: jax.Array) -> jax.Array:
        x = jnp.transpose(image, (2, 0, 1))  # Equinox puts the channels first
        for layer in convolutions:
            x = jax.nn.softplus(layer(x))
        return head(pool(x).ravel())

    return logits


@pytest.mark.parametrize(
    "method", ["guided_backprop", "deconvnet", "lrp_epsilon_gamma", "lrp_epsilon_plus_flat", "grad_cam", "score_cam"]
)
def test_method_gives_the_same_saliency_in_every_framework(method: str) -> None:
    saliency = explain.method(method).saliency
    maps = [
        np.asarray(jax.jit(lambda z, f=logits_fn: saliency(f, z, 1))(jnp.asarray(IMAGE)))
        for logits_fn in (by_hand, in_flax(), in_equinox())
    ]
    assert np.abs(maps[0]).max() > 1e-3
    for other in maps[1:]:
        np.testing.assert_allclose(other, maps[0], rtol=1e-3, atol=1e-4 * np.abs(maps[0]).max())
