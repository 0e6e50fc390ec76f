"""Training steps in bfloat16: what is rounded and what is not."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import data, models, train
from jsep.checks import InputError
from jsep.train.precision import in_precision

KEY = jax.random.key(3)
MODEL = models.ResNet(num_classes=10, stage_sizes=(1,), width=3)
LOW = train.TrainConfig(
    objective="standard",
    epochs=1,
    batch_size=32,
    optimizer=train.OptimizerConfig(learning_rate=0.05, schedule="constant"),
    precision="bfloat16",
)


def test_float32_is_the_model_itself() -> None:
    functions = models.model_fn(MODEL), models.batch_fn(MODEL)
    assert in_precision("float32", *functions) == functions


def test_image_and_parameters_are_rounded_and_the_logits_are_float32() -> None:
    rng = np.random.default_rng(0)
    weights, image = rng.normal(size=(3, 4)).astype(np.float32), rng.uniform(size=4).astype(np.float32)
    seen: list[Any] = []

    def model_fn(variables: Any, z: jax.Array) -> jax.Array:
        seen.append((variables["params"].dtype, variables["batch_stats"].dtype, z.dtype))
        return variables["params"].astype(jnp.float32) @ z.astype(jnp.float32)

    low, _ = in_precision("bfloat16", model_fn, lambda *_, **__: None)
    variables = {"params": jnp.asarray(weights), "batch_stats": jnp.zeros(2)}
    logits = low(variables, jnp.asarray(image))
    assert seen == [(jnp.bfloat16, jnp.float32, jnp.bfloat16)]
    assert logits.dtype == jnp.float32
    rounded = (weights.astype(jnp.bfloat16).astype(np.float64), image.astype(jnp.bfloat16).astype(np.float64))
    np.testing.assert_allclose(logits, rounded[0] @ rounded[1], rtol=1e-6, atol=1e-6)
    gradient = jax.grad(lambda z: low(variables, z)[1])(jnp.asarray(image))
    assert gradient.dtype == jnp.float32
    np.testing.assert_array_equal(gradient, rounded[0][1])


@pytest.mark.slow
def test_a_step_keeps_its_state_in_float32_and_moves_it_about_as_far(digits: data.Dataset) -> None:
    images, labels = jax.device_put((digits.images, digits.labels))
    after = {}
    for precision in train.PRECISIONS:
        config = dataclasses.replace(LOW, precision=precision)
        state = train.init_state(KEY, MODEL, (8, 8, 1), config, 64)
        before = jax.device_get(state.params)
        run_steps = train.make_run_steps(MODEL, config, 64)
        state, sums, fault = run_steps(state, images, labels, KEY, {}, jnp.int32(1))
        assert int(fault.step) == -1
        floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        assert len(floats) > 20
        assert {leaf.dtype for leaf in floats} == {jnp.dtype("float32")}
        after[precision] = jax.tree.map(np.subtract, state.params, before), float(sums["loss"])
    (exact, loss), (low, low_loss) = after["float32"], after["bfloat16"]
    assert low_loss == pytest.approx(loss, rel=0.02)
    exact, low = (np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(moved)]) for moved in (exact, low))
    relative = np.linalg.norm(low - exact) / np.linalg.norm(exact)
    # 8 bits of mantissa: a relative 2^-8 each, through a dozen operations; equal would mean that nothing was rounded.
    assert 1e-4 < relative < 0.1


def test_unknown_precision_is_an_input_error() -> None:
    with pytest.raises(InputError, match="unknown precision 'bf16': expected one of float32, bfloat16"):
        dataclasses.replace(LOW, precision="bf16")
