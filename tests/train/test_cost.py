"""What a training step costs: its memory and its program do not grow with the attack inside."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from jsep import data, models, train

MODEL = models.ConvNet(num_classes=10, widths=(4,))


def compiled(config: train.TrainConfig, digits: data.Dataset) -> jax.stages.Compiled:
    state = jax.eval_shape(lambda: train.init_state(jax.random.key(0), MODEL, (8, 8, 1), config, 128))
    run_steps = train.make_run_steps(MODEL, config, 128)
    return run_steps.lower(state, digits.images, digits.labels, jax.random.key(0), {}, jnp.int32(1)).compile()


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["mat", "trades"])
def test_memory_and_program_of_a_step_are_the_same_for_5_and_50_attack_steps(
    objective: str, digits: data.Dataset
) -> None:
    config = train.TrainConfig(objective=objective, epochs=1, batch_size=32)
    few, many = (
        compiled(dataclasses.replace(config, attack=train.PgdConfig(num_steps=steps)), digits) for steps in (5, 50)
    )
    assert few.memory_analysis().temp_size_in_bytes == many.memory_analysis().temp_size_in_bytes > 0
    # What is compiled is a loop with another bound: no instruction more.
    counts = [sum(" = " in line for line in program.as_text().splitlines()) for program in (few, many)]
    assert counts[0] == counts[1] > 100
    # The attack works on 32 images at a time, of whatever batch: the rest of a step grows with the batch.
    larger = compiled(dataclasses.replace(config, batch_size=128), digits)
    assert larger.memory_analysis().temp_size_in_bytes > 1.5 * few.memory_analysis().temp_size_in_bytes
