"""Attention rollout and gradient-weighted relevance, on a transformer by hand and on the library's."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import explain, models
from jsep.checks import InputError
from jsep.explain.attention import attention_maps

SHAPE = (3, 4, 2)
IMAGE = np.random.default_rng(0).uniform(0.1, 0.9, SHAPE).astype(np.float32)


@pytest.fixture(scope="module")
def vit():
    model = models.ViT(num_classes=3, width=12, depth=2, num_heads=3)
    variables = oracles.random_variables(jax.eval_shape(lambda: models.init(jax.random.key(0), model, (8, 12, 2))))
    image = jnp.asarray(np.random.default_rng(1).uniform(size=(8, 12, 2)), jnp.float32)
    return model, variables, image


def test_attention_found_in_the_jaxpr_is_what_the_model_exposes(vit) -> None:
    model, variables, image = vit
    found = jax.jit(lambda z: attention_maps(models.logits_fn(model, variables), z))(image)
    exposed = jax.jit(models.attention_fn(model))(variables, image)
    assert exposed.shape == (2, 3, 7, 7)
    np.testing.assert_allclose(jnp.stack(found), exposed, rtol=1e-5)
    np.testing.assert_allclose(exposed.sum(-1), 1, rtol=1e-5)


def test_rollout_equals_the_product_by_hand(vit) -> None:
    model, variables, image = vit
    rollout = np.eye(7)
    for attention in np.asarray(jax.jit(models.attention_fn(model))(variables, image), np.float64):
        rollout = (attention.mean(0) + np.eye(7)) / 2 @ rollout
    actual = jax.jit(lambda z: explain.attention_rollout(models.logits_fn(model, variables), z, 0))(image)
    expected = jax.image.resize(rollout[0, 1:].reshape(2, 3, 1), (8, 12, 1), "bilinear")
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("class_token", [True, False])
def test_relevance_equals_the_published_update_with_finite_differences(class_token: bool) -> None:
    """The gradient in an attention map by finite differences of a model that adds an offset to it."""
    rng = np.random.default_rng(0)
    embed, token, head = rng.normal(size=(2, 4)), rng.normal(size=(1, 4)), rng.normal(size=(4, 3))
    weights = rng.normal(size=(2, 4, 4, 4)) / 2
    num_tokens = 12 + class_token

    def forward(offsets: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        x = IMAGE.astype(float).reshape(-1, 2) @ embed
        x = np.concatenate([token, x]) if class_token else x
        maps = []
        for (query, key, value, out), offset in zip(weights, offsets, strict=True):
            q, k, v = ((x @ w).reshape(len(x), 2, 2).swapaxes(0, 1) for w in (query, key, value))
            maps.append(oracles.softmax(q @ k.swapaxes(1, 2) / 2.0) + offset)
            x = x + (maps[-1] @ v).swapaxes(0, 1).reshape(len(x), 4) @ out
        return (x[0] if class_token else x.mean(0)) @ head, maps

    zeros = np.zeros((2, 2, num_tokens, num_tokens))
    gradients = oracles.central_difference(lambda o: forward(o)[0][1], zeros)
    relevance = np.eye(num_tokens)
    for attention, gradient in zip(forward(zeros)[1], gradients, strict=True):
        relevance = relevance + np.maximum(attention * gradient, 0).mean(0) @ relevance
    row = relevance[0, 1:] if class_token else relevance.mean(0)
    logits = oracles.transformer(class_token=class_token)
    actual = jax.jit(lambda z: explain.attention_relevance(logits, z, 1))(jnp.asarray(IMAGE, jnp.float64))
    assert oracles.relative_error(actual[..., 0], row.reshape(3, 4)) < 1e-6


def test_rollout_ignores_the_label_and_relevance_does_not() -> None:
    logits, image = oracles.transformer(), jnp.asarray(IMAGE)
    rollout, relevance = (
        jax.jit(lambda z, label, method=method: method(logits, z, label))
        for method in (explain.attention_rollout, explain.attention_relevance)
    )
    np.testing.assert_array_equal(*(rollout(image, label) for label in (0, 1)))
    first, second = (relevance(image, label) for label in (0, 1))
    assert float(jnp.abs(first - second).max()) > 1e-3


def test_tokens_that_are_no_grid_are_an_input_error() -> None:
    logits = oracles.transformer()
    with pytest.raises(InputError, match="attention over 15 tokens is no grid of patches"):
        explain.attention_rollout(lambda z: logits(jnp.pad(z.reshape(1, 12, 2), ((0, 0), (1, 1), (0, 0)))), IMAGE, 0)


def test_exposed_attention_of_a_convnet_is_an_input_error(tiny) -> None:
    with pytest.raises(InputError, match="ConvNet has no attention maps; vit_tiny has"):
        models.attention_fn(tiny.model)(tiny.variables, jnp.zeros((8, 8, 1)))


def patches_transformer(height: int, width: int, patch: tuple[int, int], *, extra: int = 0, read: str = "mean"):
    """One layer of attention over patches that are cut without a reshape that shows the grid; tokens by their sums."""
    rng = np.random.default_rng(0)
    rows, columns = height // patch[0], width // patch[1]
    weights = [jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((1, 4), (4, 4), (4, 4), (4, 3), (extra, 4))]

    def logits(image):
        cut = [
            jnp.sum(image[i * patch[0] : (i + 1) * patch[0], j * patch[1] : (j + 1) * patch[1]], keepdims=True).reshape(
                1, 1
            )
            for i in range(rows)
            for j in range(columns)
        ]
        x = jnp.concatenate([weights[4], jnp.concatenate(cut) @ weights[0]])
        attention = jax.nn.softmax((x @ weights[1]) @ (x @ weights[2]).T)
        x = x + attention @ x
        last = {"mean": lambda: x.mean(0), "first": lambda: x[0], "patches": lambda: x[extra:].mean(0)}[read]()
        return last @ weights[3]

    return logits, (rows, columns), lambda z: attention_maps(logits, z)[0][0]


def test_grid_that_is_not_the_only_one_is_asked_for_and_taken() -> None:
    image = jnp.asarray(np.random.default_rng(2).uniform(size=(5, 12, 1)), jnp.float32)
    logits, grid, attention = patches_transformer(5, 12, (5, 1))
    with pytest.raises(InputError, match=r"may be a grid of 1x12 or 5x.* patches: pass grid=\(rows, columns\)|1x12 or"):
        # 12 tokens of a 5 x 12 image: 1 x 12 patches of 5 x 1, or (with a class token) none; 60 pixels leave others.
        explain.attention_rollout(patches_transformer(4, 12, (4, 1))[0], image[:4], 0)
    given = explain.attention_rollout(logits, image, 0, grid=grid)
    row = np.asarray((attention(image) + np.eye(12)) / 2).mean(0)
    np.testing.assert_allclose(given[..., 0], np.tile(row, (5, 1)), rtol=1e-5)


@pytest.mark.parametrize(("extra", "read"), [(0, "mean"), (1, "first"), (1, "mean"), (2, "patches"), (2, "first")])
def test_what_the_head_reads_is_the_row_that_is_shown(extra: int, read: str) -> None:
    image = jnp.asarray(np.random.default_rng(2).uniform(size=(4, 6, 1)), jnp.float32)
    logits, grid, attention = patches_transformer(4, 6, (2, 2), extra=extra, read=read)
    rollout = (np.asarray(attention(image), np.float64) + np.eye(6 + extra)) / 2
    rows = {"first": rollout[0], "mean": rollout.mean(0), "patches": rollout[extra:].mean(0)}[read]
    expected = jax.image.resize(jnp.asarray(rows[extra:], jnp.float32).reshape(*grid, 1), (4, 6, 1), "bilinear")
    found = explain.attention_rollout(logits, image, 0, grid=grid, num_extra_tokens=extra)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    chosen = explain.attention_relevance(logits, image, 0, grid=grid, token=3)
    assert chosen.shape == (4, 6, 1)


def test_grid_of_a_convolution_over_patches_is_that_of_the_model() -> None:
    image = jnp.asarray(np.random.default_rng(2).uniform(size=(6, 12, 1)), jnp.float32)
    kernel = jnp.asarray(np.random.default_rng(3).normal(size=(3, 2, 1, 4)), jnp.float32)

    def logits(z):
        numbers = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(z[None], kernel, (3, 2), "VALID", dimension_numbers=numbers).reshape(12, 4)
        return (x + jax.nn.softmax(x @ x.T) @ x).mean(0)[:3]

    rollout = (attention_maps(logits, image)[0][0] + jnp.eye(12)) / 2
    expected = jax.image.resize(jnp.mean(rollout, axis=0).reshape(2, 6, 1), (6, 12, 1), "bilinear")
    np.testing.assert_allclose(explain.attention_rollout(logits, image, 0), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": 4}, r"grid must be \(rows, columns\)"),
        ({"grid": (3, 5)}, r"grid \(3, 5\) does not fit 13 tokens"),
        ({"grid": (3, 4), "num_extra_tokens": 2}, "does not fit 13 tokens, 2 of them extra"),
        ({"token": 13}, "token must be below the 13 tokens"),
        ({"num_extra_tokens": -1}, "num_extra_tokens must be an integer >= 0"),
    ],
)
def test_layout_that_does_not_fit_is_an_input_error(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        explain.attention_rollout(oracles.transformer(), jnp.asarray(IMAGE), 0, **options)
