"""Operations and memory of a training step, counted, not timed; the basis of the predictions of large runs.

python benchmarks/step_costs.py

Operations are those of the traced program. Memory is what XLA plans for a ResNet-18 step at two batch sizes: the
difference gives the memory per image, the rest is independent of the batch. The convolutions are XLA's: the CPU forms
of jsep work on groups of images, whose memory does not grow with the batch.
"""

import harness  # before JAX
import jax
import numpy as np

from jsep import models, train
from jsep.models.cpu import use_lax_conv
from jsep.study import costs

SHAPES = {"32x32, 10 classes": (32, 10), "64x64, 200 classes": (64, 200), "224x224, 1000 classes": (224, 1000)}
BATCHES = (16, 32)  # small enough not to be processed in parts on a CPU
STEPS = 10


def config_of(sep: bool, batch: int) -> train.TrainConfig:
    """MAT with ten steps, with SEP or without."""
    return train.TrainConfig(
        batch_size=batch, sep_weight=3000.0 if sep else 0.0, attack=train.PgdConfig(num_steps=STEPS)
    )


def planned_bytes(sep: bool, batch: int) -> int:
    """The working memory of a compiled step at 32x32."""
    model = models.create("resnet18", num_classes=10, input_shape=(32, 32, 3))
    config = config_of(sep, batch)
    run_steps = train.make_run_steps(model, config, batch)
    state = jax.eval_shape(lambda: train.init_state(jax.random.key(0), model, (32, 32, 3), config, batch))
    images = jax.ShapeDtypeStruct((batch, 32, 32, 3), np.float32)
    labels, key = jax.ShapeDtypeStruct((batch,), np.int32), jax.random.key(0)
    with use_lax_conv():
        lowered = run_steps.lower(state, images, labels, key, config.weights(), np.int32(1))  # type: ignore[attr-defined]
    return lowered.compile().memory_analysis().temp_size_in_bytes


def main() -> None:
    settings = harness.parser(__doc__).parse_args()
    operations = {}
    for name, (side, classes) in SHAPES.items():
        shape = (side, side, 3)
        model = models.create("resnet18", num_classes=classes, input_shape=shape)
        counted = costs.ModelCosts(model, shape)
        variables = jax.eval_shape(lambda key, m=model, s=shape: models.init(key, m, s), jax.random.key(0))
        operations[name] = {
            "side": side,
            "forward": counted.forward,
            "mat": counted.training_step(config_of(False, 8)) / 8,
            "mat_sep": counted.training_step(config_of(True, 8)) / 8,
            "parameter_bytes": sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(variables["params"])),
        }
    memory = {}
    for name, sep in (("mat", False), ("mat_sep", True)):
        small, large = (planned_bytes(sep, batch) for batch in BATCHES)
        per_image = (large - small) / (BATCHES[1] - BATCHES[0])
        memory[name] = {"bytes_per_image": per_image, "bytes_per_step": small - BATCHES[0] * per_image, "side": 32}
    record = {
        "work": f"ResNet-18, {STEPS} PGD steps; operations of an image, memory of a step",
        "operations": operations,
        "memory": memory,
    }
    harness.save(settings, "step_costs", record)


if __name__ == "__main__":
    main()
