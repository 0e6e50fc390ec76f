"""Functions over batches as functions of one image: any framework, variables inside or as an argument."""

import equinox
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import attack, explain, models
from jsep.checks import InputError

IMAGE = np.random.default_rng(0).uniform(0.1, 0.9, (4, 3, 2)).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=(24, 5)).astype(np.float32)


def linear(images: jax.Array) -> jax.Array:
    return images.reshape(len(images), -1) @ KERNEL


def test_one_image_of_a_batch_function() -> None:
    logits_fn = models.from_batch_fn(linear)
    np.testing.assert_allclose(logits_fn(IMAGE), IMAGE.ravel() @ KERNEL, rtol=1e-5)
    # The gradient of a linear model is its kernel, and PGD ends at the corner of the ball that the kernel points to.
    saliency = explain.gradient(logits_fn, IMAGE, 2)
    np.testing.assert_allclose(saliency, KERNEL[:, 2].reshape(IMAGE.shape), rtol=1e-6)
    adversarial, _ = attack.pgd(
        jax.random.key(0), lambda z: logits_fn(z)[2], IMAGE, epsilon=0.05, alpha=0.05, num_steps=3, random_start=False
    )
    np.testing.assert_allclose(adversarial, IMAGE + 0.05 * np.sign(saliency), atol=1e-6)


def test_variables_are_an_argument_where_the_batch_function_takes_them() -> None:
    model_fn = models.from_batch_fn(lambda kernel, images: images.reshape(len(images), -1) @ kernel)
    batched = jax.jit(jax.vmap(model_fn, (None, 0)))(2 * KERNEL, np.stack([IMAGE, IMAGE / 2]))
    np.testing.assert_allclose(batched, np.stack([2 * IMAGE.ravel() @ KERNEL, IMAGE.ravel() @ KERNEL]), rtol=1e-5)


def test_channels_first() -> None:
    seen = []

    def batch_fn(images: jax.Array) -> jax.Array:
        seen.append(images.shape)
        return jnp.sum(images, axis=(2, 3))

    np.testing.assert_allclose(
        models.from_batch_fn(batch_fn, channels_first=True)(IMAGE), IMAGE.sum(axis=(0, 1)), rtol=1e-5
    )
    assert seen == [(1, 2, 4, 3)]


def test_equal_batch_functions_compile_once() -> None:
    traces = []

    def batch_fn(images: jax.Array) -> jax.Array:
        traces.append(1)
        return linear(images)

    call = jax.jit(lambda f, image: f(image), static_argnums=0)
    for _ in range(3):
        call(models.from_batch_fn(batch_fn), IMAGE)
    assert len(traces) == 1


def test_flax_equinox_and_functions_of_parameters_key_and_images_agree() -> None:
    flax_model, variables = nn.Dense(5, use_bias=False), {"params": {"kernel": KERNEL}}
    dense = equinox.tree_at(
        lambda m: m.weight, equinox.nn.Linear(24, 5, use_bias=False, key=jax.random.key(0)), jnp.asarray(KERNEL.T)
    )

    def apply(params: dict[str, jax.Array], key: None, images: jax.Array) -> jax.Array:  # as Haiku's
        return images.reshape(len(images), -1) @ params["kernel"]

    functions = (
        models.from_batch_fn(lambda images: flax_model.apply(variables, images.reshape(len(images), -1))),
        models.from_batch_fn(lambda images: jax.vmap(dense)(images.reshape(len(images), -1))),
        models.from_batch_fn(lambda images: apply({"kernel": jnp.asarray(KERNEL)}, None, images)),
    )
    for logits_fn in functions:
        np.testing.assert_allclose(logits_fn(IMAGE), IMAGE.ravel() @ KERNEL, rtol=1e-5)


@pytest.mark.parametrize(
    ("batch_fn", "image", "message"),
    [
        (linear, IMAGE[None], "image must be one .H, W, C. image, got shape .1, 4, 3, 2.; for a batch use jax.vmap"),
        (linear, np.zeros((4, 3, 2), np.uint8), "divide uint8 images by 255"),
        (lambda images: linear(images)[0], IMAGE, "must return logits .B, K., here .1, K., got shape .5,."),
        (lambda images: {"logits": linear(images)}, IMAGE, "must return logits .B, K. alone, got dict; pick them out"),
    ],
)
def test_wrong_use_says_what_to_do(batch_fn, image, message) -> None:
    with pytest.raises(InputError, match=message):
        models.from_batch_fn(batch_fn)(image)
