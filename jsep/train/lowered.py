"""The compiled training step from shapes alone, to know its cost before training."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jsep.models.functional import Network
from jsep.train.config import TrainConfig
from jsep.train.step import RunSteps, init_state, make_run_steps


def step_program(
    model: Network,
    config: TrainConfig,
    image_shape: tuple[int, int, int],
    num_images: int,
    *,
    dtype: Any = np.uint8,
    mesh: Mesh | None = None,
    platform: str | None = None,
) -> tuple[RunSteps, tuple[Any, ...]]:
    """The jitted loop of steps of `fit` over `num_images` images stored on the device, and the shapes of its arguments.

    The number of steps is an argument, so XLA's operation counts are those of one step.
    `program.lower(*shapes).compile()` compiles the same program as `fit`, which reuses it with JAX's compilation cache.
    Args: image_shape: (H, W, C); dtype: of the stored images; mesh: as in `fit`; platform: as in `make_run_steps`.
    """

    def shape(*sizes: int, dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(sizes, dtype)

    key = jax.eval_shape(jax.random.key, 0)
    state = jax.eval_shape(lambda key: init_state(key, model, image_shape, config, num_images), key)
    weights = {name: shape(dtype=jnp.float32) for name in config.weights()}
    images, labels = shape(num_images, *image_shape, dtype=dtype), shape(num_images, dtype=jnp.int32)
    arguments = (state, images, labels, key, weights, shape(dtype=jnp.int32))
    return make_run_steps(model, config, num_images, mesh, platform=platform), arguments


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Bytes on one device by XLA's buffer assignment; kept: between steps (images, state); working: during a step."""

    kept: int
    working: int

    @property
    def total(self) -> int:
        """kept + working, bytes."""
        return self.kept + self.working


def step_memory(compiled: jax.stages.Compiled) -> StepMemory | None:
    """The memory of compiled training steps; None if the backend does not report it."""
    found = compiled.memory_analysis()
    if found is None:
        return None
    # The state is donated: its new value is written into the buffers of the old one.
    outputs = found.output_size_in_bytes - found.alias_size_in_bytes
    return StepMemory(found.argument_size_in_bytes, found.temp_size_in_bytes + outputs)
