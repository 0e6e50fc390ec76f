"""The SEP term in parts of a batch, and by the statistics of the batch."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import models, train
from jsep.checks import InputError
from jsep.models import BATCH_NORM_MOMENTUM
from jsep.train.sep_gradient import sep_value_and_gradient

SHAPE = (8, 8, 2)
KEY = jax.random.key(5)


@pytest.fixture
def network(float64: None) -> Any:
    model = models.ResNet(num_classes=3, stage_sizes=(1,), width=4, softplus_beta=10.0)
    variables = jax.tree.map(lambda x: x.astype(jnp.float64), models.init(jax.random.key(0), model, SHAPE))
    images = np.random.default_rng(0).uniform(size=(6, *SHAPE))
    return model, variables, jnp.asarray(images), jnp.array([0, 1, 2, 0, 1, 2])


def term(network: Any, config: train.SepConfig, params: Any, chunk_size: int) -> tuple[Any, Any]:
    model, variables, images, labels = network
    return sep_value_and_gradient(
        KEY, config, models.model_fn(model), models.batch_fn(model), params, variables["batch_stats"], images, labels,
        chunk_size=chunk_size,
    )  # fmt: skip


@pytest.mark.parametrize("batch_norm", train.BATCH_NORM_MODES)
def test_value_and_gradient_do_not_depend_on_the_chunks(network: Any, batch_norm: str) -> None:
    config = train.SepConfig(batch_norm=batch_norm)
    params = network[1]["params"]
    whole, parts = (jax.jit(functools.partial(term, network, config, chunk_size=size))(params) for size in (6, 2))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12)


def test_value_and_gradient_are_those_of_the_penalty_of_the_batch(network: Any) -> None:
    model, variables, *given = network
    config = train.SepConfig(batch_norm="evaluation")

    def whole(params: Any) -> Any:
        return train.batch_penalty(KEY, config, models.model_fn(model), variables | {"params": params}, *given)

    parts = jax.jit(lambda p: term(network, config, p, 2))(variables["params"])
    expected = jax.jit(jax.value_and_grad(whole))(variables["params"])
    assert float(expected[0]) > 0
    for a, b in zip(jax.tree.leaves(parts), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("gradient", train.GRADIENTS)
def test_gradient_flows_through_the_statistics_as_finite_differences_say(network: Any, gradient: str) -> None:
    config = train.SepConfig(batch_norm="training", gradient=gradient)
    params = network[1]["params"]
    value = jax.jit(lambda p: term(network, config, p, 3)[0])
    direction = random_like(params)
    along = lambda t: value(jax.tree.map(lambda p, d: p + t * d, params, direction))  # noqa: E731
    step = 1e-4
    expected = (along(step) - along(-step)) / (2 * step)
    found = jax.jit(lambda p: term(network, config, p, 3)[1])(params)
    actual = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(found), jax.tree.leaves(direction), strict=True))
    assert abs(expected) > 1e-7
    assert oracles.relative_error(actual, expected) < 1e-4


def random_like(tree: Any) -> Any:
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), tree)


def test_only_the_statistics_of_the_batch_keep_the_term_from_shrinking_the_kernels(network: Any) -> None:
    # Batch normalisation makes the network the same for any size of a kernel: the gradient is orthogonal to it. By
    # the running statistics, constants, it is not, and a term of either sign moves the size.
    params = network[1]["params"]
    steepest = {}
    for batch_norm in train.BATCH_NORM_MODES:
        config = train.SepConfig(batch_norm=batch_norm)
        _, gradient = jax.jit(functools.partial(term, network, config, chunk_size=6))(params)
        cosines = []
        for name in ("Conv_0", "Conv_1", "Conv_2"):
            kernel, slope = params[name]["kernel"], gradient[name]["kernel"]
            cosines.append(jnp.vdot(kernel, slope) / (jnp.linalg.norm(kernel) * jnp.linalg.norm(slope)))
        steepest[batch_norm] = max(cosines, key=abs)
    assert abs(steepest["training"]) < 1e-5  # what the epsilon of the normalisation leaves
    assert steepest["evaluation"] > 0.01  # flattening shrinks them


def test_statistics_are_those_of_the_batch(network: Any) -> None:
    model, variables, images, _ = network
    _, updated = models.batch_fn(model)(variables, images, train=True)
    found = train.sep_gradient._batch_statistics(
        models.batch_fn(model), variables["params"], variables["batch_stats"], images
    )
    share = 1 - BATCH_NORM_MOMENTUM
    for new, old, own in zip(*(jax.tree.leaves(z) for z in (updated, variables["batch_stats"], found)), strict=True):
        np.testing.assert_allclose(new, BATCH_NORM_MOMENTUM * old + share * own, rtol=1e-6, atol=1e-9)


def test_unknown_mode_is_named() -> None:
    with pytest.raises(InputError, match="unknown batch normalisation of the SEP term 'eval'"):
        train.SepConfig(batch_norm="eval")
