"""The overhead of splitting a batch over devices: the same MAT step on one device and on eight simulated ones.

python benchmarks/simulated_devices.py

Eight simulated devices have the same cores as one, so without overhead a step would take as long. The extra time is the
overhead: reductions over devices, and smaller pieces of work. Several devices do not process a batch in parts, so the
single device that is the reference does not either; the default on one CPU, parts that fit its caches, is measured as
well.
"""

import os

import harness  # before JAX
import jax
import numpy as np
from jax.sharding import Mesh

from jsep import devices, models, train

SHAPE = (32, 32, 3)


def mesh_of(num_devices: int) -> Mesh:
    """A mesh of the first `num_devices` devices, also of one, for which `devices.make_mesh` gives none."""
    return Mesh(np.array(jax.devices()[:num_devices]), (devices.AXIS,))


def stepper(model: models.Classifier, batch: int, mesh: Mesh | None) -> harness.Contender:
    """Training steps on the devices of `mesh`; None: the default on a single CPU."""
    config = train.TrainConfig(
        epochs=1000, batch_size=batch, optimizer=train.OptimizerConfig(learning_rate=1e-4, schedule="constant")
    )
    run_steps = train.make_run_steps(model, config, batch, mesh)
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(batch, *SHAPE)).astype(np.float32)
    labels = rng.integers(10, size=batch).astype(np.int32)
    state = train.init_state(jax.random.key(0), model, SHAPE, config, batch)
    held = {"state": devices.replicate(state, mesh), "step": 0}
    data = devices.replicate((images, labels, jax.random.key(1)), mesh)

    def run() -> float:
        held["step"] += 1
        stop = devices.replicate(np.int32(held["step"]), mesh)
        held["state"], sums, _ = run_steps(held["state"], *data, {}, stop)
        jax.block_until_ready(held["state"])
        return float(sums["loss"])

    return run


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--devices", type=int, default=8)
    settings = options.parse_args()
    if harness.kind_of_device() == "gpu":
        raise SystemExit("simulated devices are those of a processor: run with JAX_PLATFORMS=cpu")
    model = models.create("convnet", num_classes=10, input_shape=SHAPE)
    contenders = {str(n): stepper(model, settings.batch, mesh_of(n)) for n in (1, 2, settings.devices)}
    contenders["no mesh"] = stepper(model, settings.batch, None)
    timings = harness.compare(contenders, repeats=settings.repeats, budget=settings.budget)
    alone, shared = timings["1"], {n: timings[n] for n in ("2", str(settings.devices))}
    record = {
        "work": f"MAT step, ConvNet, batch {settings.batch}, shared out over simulated devices of one processor",
        "overhead": {name: round(t.median / alone.median - 1, 3) for name, t in shared.items()},
        "overhead_at_best": {name: round(t.fastest / alone.fastest - 1, 3) for name, t in shared.items()},
        "in_parts": round(timings["no mesh"].median / alone.median - 1, 3),
        "agreement": {f"loss of the first step, devices: {name}": t.result for name, t in timings.items()},
        "contenders": {f"devices: {name}": t.record() for name, t in timings.items()},
    }
    harness.save(settings, "simulated_devices", record)


if __name__ == "__main__":
    # Must be set before JAX initialises its devices.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    main()
