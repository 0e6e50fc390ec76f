"""Grad-CAM and Score-CAM: the cut of the model, the formulas."""

import functools

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import explain, models
from jsep.checks import InputError
from jsep.explain.cam import split_at_last_features

SHAPE = (8, 8, 2)
IMAGE = np.random.default_rng(0).uniform(0.1, 0.9, SHAPE).astype(np.float32)


@functools.cache
def jsep_network(name: str):
    model = {
        "convnet": models.ConvNet(num_classes=3, widths=(4, 5, 6)),
        "resnet": models.ResNet(num_classes=3, stage_sizes=(1, 1), width=4),
    }[name]
    variables = oracles.random_variables(jax.eval_shape(lambda: models.init(jax.random.key(0), model, SHAPE)))
    return models.logits_fn(model, variables)


def equinox_network():
    keys = jax.random.split(jax.random.key(0), 3)
    layers = [equinox.nn.Conv2d(2, 4, 3, padding=1, key=keys[0]), equinox.nn.Conv2d(4, 5, 3, 2, 1, key=keys[1])]
    head = equinox.nn.Linear(80, 3, key=keys[2])

    def logits(image: jax.Array) -> jax.Array:
        x = jnp.transpose(image, (2, 0, 1))
        for layer in layers:
            x = jax.nn.softplus(layer(x))
        return head(x.ravel())

    return logits


@pytest.mark.parametrize(
    ("logits_fn", "shape"),
    [
        (functools.partial(jsep_network, "convnet"), (2, 2, 6)),
        (functools.partial(jsep_network, "resnet"), (4, 4, 8)),
        (lambda: oracles.conv_net(shape=SHAPE), (8, 8, 5)),
        (equinox_network, (4, 4, 5)),
    ],
    ids=["convnet", "resnet", "by hand", "equinox"],
)
def test_model_is_cut_at_its_last_feature_maps(logits_fn, shape: tuple[int, ...]) -> None:
    fn = logits_fn()
    features_fn, head_fn = split_at_last_features(fn, IMAGE)
    features = features_fn(jnp.asarray(IMAGE))
    assert features.shape == shape
    np.testing.assert_allclose(head_fn(features), fn(jnp.asarray(IMAGE)), rtol=1e-5)
    # After the activation: softplus has no negative values.
    assert float(features.min()) > 0


def test_grad_cam_equals_its_formula() -> None:
    logits_fn = oracles.conv_net(shape=SHAPE)
    features_fn, head_fn = split_at_last_features(logits_fn, IMAGE)
    features = np.asarray(features_fn(jnp.asarray(IMAGE)))
    jacobian = np.asarray(jax.jacobian(head_fn)(jnp.asarray(features)))[1]
    expected = np.maximum((features * jacobian.mean((0, 1))).sum(-1), 0)
    actual = explain.grad_cam(logits_fn, jnp.asarray(IMAGE), 1)
    np.testing.assert_allclose(actual[..., 0], expected, rtol=1e-4, atol=1e-6)


def test_grad_cam_is_enlarged_to_the_image() -> None:
    saliency = explain.grad_cam(jsep_network("resnet"), jnp.asarray(IMAGE), 2)
    assert saliency.shape == (8, 8, 1)


def test_own_split_is_used() -> None:
    logits_fn = oracles.conv_net(shape=SHAPE)
    split = split_at_last_features(logits_fn, IMAGE)
    for method in (explain.grad_cam, explain.score_cam):
        given = method(logits_fn, jnp.asarray(IMAGE), 1, split=split)
        # Two programs, whose operations XLA may fuse differently.
        np.testing.assert_allclose(given, method(logits_fn, jnp.asarray(IMAGE), 1), rtol=1e-5, atol=1e-6)


def test_score_cam_equals_a_loop_over_the_feature_maps() -> None:
    logits_fn = oracles.conv_net(shape=SHAPE)
    features_fn, _ = split_at_last_features(logits_fn, IMAGE)
    features = np.asarray(features_fn(jnp.asarray(IMAGE)))
    scores = []
    for index in range(features.shape[-1]):
        one = features[..., index]
        mask = (one - one.min()) / (one.max() - one.min())
        scores.append(float(logits_fn(IMAGE * mask[..., None])[1]))
    expected = np.maximum(features @ oracles.softmax(np.asarray(scores)), 0)
    for chunk_size in (2, 64):
        actual = explain.score_cam(logits_fn, jnp.asarray(IMAGE), 1, chunk_size=chunk_size)
        np.testing.assert_allclose(actual[..., 0], expected, rtol=1e-4)


def test_model_without_feature_maps_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"the model has no feature maps .* pass split="):
        explain.grad_cam(lambda z: z.reshape(-1)[:3] * 2.0, jnp.asarray(IMAGE), 1)
