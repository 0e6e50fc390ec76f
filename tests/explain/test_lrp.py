"""Layer-wise relevance propagation against the rules written out, and its conservation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import explain, models
from jsep.checks import InputError
from jsep.explain.lrp import LRP_COMPOSITES
from jsep.explain.program import vjp_rule
from jsep.models.convolution import conv2d
from jsep.models.cpu.lax_conv import lax_conv
from jsep.models.layers import softplus

SHAPE = (3, 4, 2)
IMAGE = np.random.default_rng(0).uniform(0.1, 0.9, SHAPE).astype(np.float32)


def pos(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def neg(x: np.ndarray) -> np.ndarray:
    return np.minimum(x, 0)


def relevance_by_hand(rule: str, x: np.ndarray, w: np.ndarray, b: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """One dense layer z = x w + b, input by input and output by output."""
    out = np.zeros_like(x)
    for j, r in enumerate(relevance):
        z = x @ w[:, j] + b[j]
        if rule == "epsilon":
            out += x * w[:, j] * r / z
        elif rule == "flat":
            out += r / len(x)
        elif rule == "z_plus":
            terms = pos(x * w[:, j])
            out += terms * r / (terms.sum() + max(b[j], 0))
        else:
            part = pos if z > 0 else neg
            terms = x * w[:, j] + 0.25 * part(x * w[:, j])
            out += terms * r / (terms.sum() + b[j] + 0.25 * part(b[j]))
    return out


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("composite", LRP_COMPOSITES)
@pytest.mark.parametrize("label", [0, 2])
def test_dense_network_equals_the_rules_written_out(composite: str, activation: str, label: int) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(24, 7)), rng.normal(size=(7, 3))
    bias, offset = rng.normal(size=7), rng.normal(size=3)
    image = rng.normal(size=SHAPE)  # inputs of both signs

    def act(x: jax.Array) -> jax.Array:
        return jax.nn.relu(x) if activation == "relu" else softplus(x, 3.0)

    def logits(image: jax.Array) -> jax.Array:
        return act(image.reshape(-1) @ first + bias) @ second + offset

    hidden = np.asarray(act(jnp.asarray(image.ravel() @ first + bias)))
    start = np.zeros(3)
    start[label] = (hidden @ second + offset)[label]
    rules = LRP_COMPOSITES[composite]
    back = relevance_by_hand(rules[2], hidden, second, offset, start)
    expected = relevance_by_hand(rules[0], image.ravel(), first, bias, back).reshape(SHAPE)
    actual = jax.jit(lambda z: explain.lrp(logits, z, label, composite=composite, epsilon=1e-12))(jnp.asarray(image))
    assert oracles.relative_error(actual, expected) < 1e-8


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_relevance_sums_to_the_logit_of_a_network_without_biases(activation: str) -> None:
    logits = oracles.conv_net(activation=activation, bias=False)
    image = jnp.asarray(IMAGE, jnp.float64)

    @jax.jit
    def sums(image: jax.Array) -> list[jax.Array]:
        return [explain.lrp(logits, image, 1, composite=c, epsilon=1e-9).sum() for c in LRP_COMPOSITES]

    np.testing.assert_allclose(sums(image), float(logits(image)[1]), rtol=1e-4)


@pytest.mark.usefixtures("float64")
def test_epsilon_rule_on_a_relu_network_without_biases_is_gradient_x_input() -> None:
    # Ancona et al. 2018, proposition 1.
    logits, image = oracles.conv_net(activation="relu", bias=False), jnp.asarray(IMAGE, jnp.float64)
    saliency = explain.lrp(logits, image, 1, epsilon=1e-12)
    assert oracles.relative_error(saliency, explain.gradient_x_input(logits, image, 1)) < 1e-6


@pytest.mark.usefixtures("float64")
def test_linear_model_equals_weights_times_image_over_all() -> None:
    oracle = oracles.linear()
    image = np.asarray(IMAGE, np.float64)
    products = oracle.weights[1] * image
    actual = explain.lrp(oracle.logits, jnp.asarray(image), 1, epsilon=1e-12)
    assert oracles.relative_error(actual, products) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("composite", LRP_COMPOSITES)
def test_batch_norm_folded_or_written_into_the_weights_is_the_same(composite: str) -> None:
    model = models.ResNet(num_classes=3, stage_sizes=(1, 1), width=4, activation="relu")
    shapes = jax.eval_shape(lambda: models.init(jax.random.key(0), model, (8, 8, 2)))
    variables = oracles.random_variables(shapes)
    image = jnp.asarray(np.random.default_rng(0).uniform(size=(8, 8, 2)), jnp.float32)
    folded = {name: dict(tree) for name, tree in variables.items()}

    # Norm i follows convolution i here: its scale goes into the kernel, and only a shift stays.
    def fold(params: dict, stats: dict) -> None:
        for index in range(sum(name.startswith("Conv_") for name in params)):
            norm, kept = params[f"BatchNorm_{index}"], stats[f"BatchNorm_{index}"]
            factor = norm["scale"] / jnp.sqrt(kept["var"] + 1e-5)
            params[f"Conv_{index}"] = {"kernel": params[f"Conv_{index}"]["kernel"] * factor}
            params[f"BatchNorm_{index}"] = {
                "scale": jnp.ones_like(factor),
                "bias": norm["bias"] - kept["mean"] * factor,
            }
            stats[f"BatchNorm_{index}"] = {"mean": jnp.zeros_like(factor), "var": jnp.full_like(factor, 1 - 1e-5)}

    fold(folded["params"], folded["batch_stats"])
    saliencies = [
        jax.jit(lambda z, v=v: explain.lrp(models.logits_fn(model, v), z, 1, composite=composite, epsilon=1e-3))(image)
        for v in (variables, folded)
    ]
    assert oracles.relative_error(saliencies[1], saliencies[0]) < 1e-3


def test_primitive_without_a_rule_is_named_and_can_be_given_one() -> None:
    def logits(image: jax.Array) -> jax.Array:
        return jnp.sort(image.reshape(-1))[:3] * 2.0

    with pytest.raises(InputError, match=r"no rule for the primitive 'sort' .* rules=\{'sort': rule\}"):
        explain.lrp(logits, jnp.asarray(IMAGE), 1)
    saliency = explain.lrp(logits, jnp.asarray(IMAGE), 1, rules={"sort": vjp_rule})
    assert float(saliency.sum()) == pytest.approx(float(logits(IMAGE)[1]), rel=1e-5)
    assert int((saliency != 0).sum()) == 1


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("norm", [False, True])
def test_transformer_equals_gradient_x_input_of_the_linearised_one(class_token: bool, norm: bool) -> None:
    """Ali et al. 2022: without biases the epsilon rule is Gradient x Input of the network whose weights are held."""
    image = jnp.asarray(IMAGE, jnp.float64)
    whole, linearised = (
        oracles.transformer(class_token=class_token, norm=norm, linearised=held) for held in (False, True)
    )
    np.testing.assert_allclose(whole(image), linearised(image), rtol=1e-9)
    actual = jax.jit(lambda z: explain.lrp(whole, z, 1, epsilon=1e-13))(image)
    expected = explain.gradient_x_input(linearised, image, 1)
    assert oracles.relative_error(actual, expected) < 1e-6
    assert oracles.relative_error(explain.gradient_x_input(whole, image, 1), expected) > 0.01  # holding them matters
    if not class_token:
        assert float(actual.sum()) == pytest.approx(float(whole(image)[1]), rel=1e-6)


@pytest.mark.parametrize("composite", LRP_COMPOSITES)
def test_vision_transformer_is_explained(composite: str) -> None:
    model = models.ViT(num_classes=3, width=12, depth=2, num_heads=3)
    variables = oracles.random_variables(jax.eval_shape(lambda: models.init(jax.random.key(0), model, (8, 12, 2))))
    image = jnp.asarray(np.random.default_rng(1).uniform(size=(8, 12, 2)), jnp.float32)
    saliency, slope = jax.jit(
        lambda z: jax.jvp(
            lambda z: explain.lrp(models.logits_fn(model, variables), z, 1, composite=composite, epsilon=0.1),
            (z,),
            (jnp.ones_like(z),),
        )
    )(image)
    assert saliency.shape == image.shape
    assert bool(jnp.all(jnp.isfinite(saliency)) & jnp.all(jnp.isfinite(slope)))
    assert float(jnp.abs(saliency).max()) > 0
    assert float(jnp.abs(slope).max()) > 0


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("strides", [1, 2])
def test_own_and_library_convolutions_are_explained_alike(strides: int) -> None:
    rng = np.random.default_rng(0)
    first, second, head = rng.normal(size=(3, 3, 2, 4)), rng.normal(size=(3, 3, 4, 5)), rng.normal(size=(5, 3))
    image = jnp.asarray(rng.uniform(0.1, 0.9, (9, 8, 2)))

    def library(images: jax.Array, kernel: jax.Array, *, strides: int, padding: int) -> jax.Array:
        return lax_conv(images, kernel, strides=strides, padding=((padding, padding), (padding, padding)))

    def explained(conv: Callable[..., jax.Array]) -> list[jax.Array]:
        def logits(z: jax.Array) -> jax.Array:
            x = jax.nn.relu(conv(z[None], jnp.asarray(first), strides=strides, padding=1) + 0.1)
            x = jax.nn.relu(conv(x, jnp.asarray(second), strides=strides, padding=1))
            return x.mean((0, 1, 2)) @ jnp.asarray(head)

        return jax.jit(lambda z: [explain.lrp(logits, z, 1, composite=c) for c in LRP_COMPOSITES])(image)

    for mine, expected in zip(explained(conv2d), explained(library), strict=True):
        assert oracles.relative_error(mine, expected) < 1e-12


def test_product_of_two_values_that_weigh_nothing_has_no_rule_and_says_so() -> None:
    def gated(image: jax.Array) -> jax.Array:
        flat = image.reshape(-1)
        return (flat * jnp.sqrt(flat[::-1] + 1.0))[:3]

    with pytest.raises(InputError, match=r"no rule for the primitive 'mul' of 2 values"):
        explain.lrp(gated, jnp.asarray(IMAGE), 1)


def test_max_pooling_gives_all_to_the_maximum_and_average_pooling_in_proportion() -> None:
    image = jnp.asarray(IMAGE[:2, :2])

    def pooled(kind: str):
        def logits(z: jax.Array) -> jax.Array:
            value = z.max(axis=(0, 1)) if kind == "max" else z.mean(axis=(0, 1))
            return jnp.concatenate([value, value[:1]])

        return explain.lrp(logits, image, 0)

    largest = np.asarray(pooled("max"))
    assert (largest != 0).sum() == 1
    assert largest.max() == pytest.approx(float(image[..., 0].max()))
    np.testing.assert_allclose(pooled("mean")[..., 0], image[..., 0] / 4, rtol=1e-4)


def test_unknown_composite_and_negative_epsilon_are_input_errors() -> None:
    with pytest.raises(InputError, match="unknown LRP composite 'alpha_beta': expected one of epsilon"):
        explain.lrp(oracles.linear().logits, jnp.asarray(IMAGE), 1, composite="alpha_beta")
    with pytest.raises(InputError, match="epsilon must be a number > 0"):
        explain.lrp(oracles.linear().logits, jnp.asarray(IMAGE), 1, epsilon=0.0)


HEADS = {
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "minus logsumexp": lambda z: z - jax.nn.logsumexp(z),
    "minus log of a sum": lambda z: z - jnp.log(jnp.sum(jnp.exp(z))),
    "log of softmax": lambda z: jnp.log(jax.nn.softmax(z)),
    "scaled log_softmax": lambda z: 2 * jax.nn.log_softmax(z) + 1,
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("jit", [False, True])
def test_softmax_and_log_softmax_heads_are_refused(head: str, jit: bool) -> None:
    base = oracles.conv_net()
    saliency = lambda z: explain.lrp(lambda y: HEADS[head](base(y)), z, 1)  # noqa: E731
    with pytest.raises(InputError, match="take (it|the softmax) out of the model"):
        (jax.jit(saliency) if jit else saliency)(jnp.asarray(IMAGE))
