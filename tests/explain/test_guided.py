"""Guided backpropagation and deconvnet against the rules applied by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import explain, models
from jsep.checks import InputError
from jsep.explain.guided import GUIDED_VARIANTS
from jsep.models.layers import softplus

SHAPE = (3, 4, 2)
IMAGE = np.random.default_rng(0).uniform(0.1, 0.9, SHAPE).astype(np.float32)
BETA = 3.0


def two_layers(activation: str, seed: int = 0):
    """(logits, saliency by hand): image -> W1 -> a -> W2 -> a -> W3, and the rule R_in = rule(R, z) at both a."""
    rng = np.random.default_rng(seed)
    first, second, last = rng.normal(size=(24, 7)), rng.normal(size=(7, 6)), rng.normal(size=(6, 3))

    def act(x: jax.Array) -> jax.Array:
        return jax.nn.relu(x) if activation == "relu" else softplus(x, BETA)

    def logits(image: jax.Array) -> jax.Array:
        weights = [jnp.asarray(w, image.dtype) for w in (first, second, last)]
        return act(act(image.reshape(-1) @ weights[0]) @ weights[1]) @ weights[2]

    def by_hand(image: np.ndarray, label: int, rule) -> np.ndarray:
        def act(x: np.ndarray) -> np.ndarray:
            return np.maximum(x, 0) if activation == "relu" else np.log1p(np.exp(BETA * x)) / BETA

        def slope(x: np.ndarray) -> np.ndarray:
            return (x > 0) * 1.0 if activation == "relu" else 1 / (1 + np.exp(-BETA * x))

        z1 = image.reshape(-1).astype(float) @ first
        z2 = act(z1) @ second
        back = rule(last[:, label], slope(z2), act)
        back = rule(second @ back, slope(z1), act)
        return (first @ back).reshape(SHAPE)

    return logits, by_hand


RULES = {
    "relu": lambda back, slope, act: np.maximum(back, 0) * slope,
    "dombrowski": lambda back, slope, act: act(back) * slope,
    "captum on softplus": lambda back, slope, act: back * slope,
    "deconvnet": lambda back, slope, act: np.maximum(back, 0),
}


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("variant", ["relu", "dombrowski", "captum"])
@pytest.mark.parametrize("label", [0, 2])
def test_guided_backprop_equals_its_rule_by_hand(variant: str, activation: str, label: int) -> None:
    logits, by_hand = two_layers(activation)
    actual = jax.jit(lambda z: explain.guided_backprop(logits, z, label, variant=variant))(IMAGE)
    rule = "relu" if activation == "relu" else {"captum": "captum on softplus"}.get(variant, variant)
    np.testing.assert_allclose(actual, by_hand(IMAGE, label, RULES[rule]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_deconvnet_equals_its_rule_by_hand(activation: str) -> None:
    logits, by_hand = two_layers(activation)
    actual = explain.deconvnet(logits, jnp.asarray(IMAGE), 1)
    np.testing.assert_allclose(actual, by_hand(IMAGE, 1, RULES["deconvnet"]), rtol=1e-4, atol=1e-5)


def test_captum_variant_is_the_plain_gradient_on_a_softplus_network() -> None:
    logits = oracles.conv_net()
    actual = explain.guided_backprop(logits, jnp.asarray(IMAGE), 1, variant="captum")
    np.testing.assert_allclose(actual, explain.gradient(logits, IMAGE, 1), rtol=1e-5, atol=1e-7)


def test_all_variants_agree_on_a_relu_network() -> None:
    logits = oracles.conv_net(activation="relu")
    maps = [jax.jit(lambda z, v=v: explain.guided_backprop(logits, z, 1, variant=v))(IMAGE) for v in GUIDED_VARIANTS]
    np.testing.assert_allclose(maps[1], maps[0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(maps[2], maps[0], rtol=1e-5, atol=1e-7)
    assert float(jnp.abs(maps[0] - explain.gradient(logits, IMAGE, 1)).max()) > 1e-3


@pytest.mark.slow
def test_dombrowski_variant_tends_to_relu_as_beta_grows() -> None:
    model = models.ConvNet(num_classes=3, widths=(4, 5))
    image = jnp.asarray(np.random.default_rng(0).uniform(size=(8, 8, 2)), jnp.float32)
    variables = models.init(jax.random.key(0), model, (8, 8, 2))

    def saliency(**fields: object) -> jax.Array:
        logits_fn = models.logits_fn(model.clone(**fields), variables)
        return jax.jit(lambda z: explain.guided_backprop(logits_fn, z, 1))(image)

    target = saliency(activation="relu")
    errors = [oracles.relative_error(saliency(softplus_beta=beta), target) for beta in (10.0, 100.0, 1e4)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02


def test_layer_normalisation_is_not_an_activation() -> None:
    # max(variance, 0) inside a layer normalisation must keep its plain derivative.
    import flax.linen as nn

    def logits(image: jax.Array) -> jax.Array:
        x = nn.LayerNorm(use_scale=False, use_bias=False).apply({}, image.reshape(4, 6))
        return x.reshape(-1)[:3] + x.reshape(-1)[3:6]

    for saliency in (explain.guided_backprop, explain.deconvnet):
        np.testing.assert_allclose(
            saliency(logits, jnp.asarray(IMAGE), 1), explain.gradient(logits, IMAGE, 1), rtol=1e-5, atol=1e-6
        )


def test_loop_inside_the_model_is_an_input_error() -> None:
    def logits(image: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda c, _: (jax.nn.relu(c), None), image, None, length=2)[0].reshape(-1)[:3]

    with pytest.raises(InputError, match="cannot look into the primitive 'scan'"):
        explain.guided_backprop(logits, jnp.asarray(IMAGE), 1)


def test_unknown_variant_is_an_input_error() -> None:
    with pytest.raises(InputError, match="unknown variant of guided backpropagation 'torch': expected one of relu"):
        explain.guided_backprop(oracles.linear().logits, jnp.asarray(IMAGE), 1, variant="torch")
