"""How time and memory grow: with the batch, the attack's steps, the pairs, the image's side, the points of a landscape.

python benchmarks/scaling.py

Memory is what XLA plans for the compiled program's intermediate values; times are the fastest of the repeats.
"""

import functools
import json
import time
from collections.abc import Callable
from typing import Any

import explanation_attack
import harness  # before JAX
import jax
import jax.numpy as jnp
import numpy as np

from jsep import explain, landscape, models, train

Point = dict[str, float]


def measured(repeats: int, make: Callable[..., Any], *arguments: Any) -> Point:
    """Compiles `make` for the arguments and times it."""
    jax.clear_caches()
    started = time.perf_counter()
    compiled = make.lower(*arguments).compile()  # type: ignore[attr-defined]
    compile_seconds = time.perf_counter() - started
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - started)
    return {
        "seconds": harness.significant(min(seconds[1:])),
        "compile_seconds": harness.significant(compile_seconds),
        "memory_mib": harness.significant(harness.temporary_mib(compiled)),
    }


def training_step(repeats: int, *, batch: int = 32, steps: int = 10, side: int = 32) -> Point:
    """One MAT step of the ConvNet."""
    shape = (side, side, 3)
    model = models.create("convnet", num_classes=10, input_shape=shape)
    config = train.TrainConfig(epochs=1000, batch_size=batch, attack=train.PgdConfig(num_steps=steps))
    jax.clear_caches()  # recompiles a setting shared by two series, so that both compile times are real
    run_steps = train.make_run_steps(model, config, batch)
    state = train.init_state(jax.random.key(0), model, shape, config, batch)
    images = np.random.default_rng(0).uniform(size=(batch, *shape)).astype(np.float32)
    labels, key = np.zeros(batch, np.int32), jax.random.key(1)
    started = time.perf_counter()
    compiled = run_steps.lower(state, images, labels, key, {}, np.int32(1)).compile()  # type: ignore[attr-defined]
    compile_seconds = time.perf_counter() - started
    seconds = []
    for step in range(1, repeats + 2):
        started = time.perf_counter()
        state, _, _ = jax.block_until_ready(compiled(state, images, labels, key, {}, np.int32(step)))
        seconds.append(time.perf_counter() - started)
    return {
        "seconds": harness.significant(min(seconds[1:])),
        "compile_seconds": harness.significant(compile_seconds),
        "memory_mib": harness.significant(harness.temporary_mib(compiled)),
    }


def attacked_pairs(repeats: int, *, pairs: int = 8, steps: int = 10) -> Point:
    """The explanation attack, eight pairs in memory at once."""
    shape = explanation_attack.SHAPE
    model = models.create("convnet", num_classes=10, input_shape=shape)
    variables = models.init(jax.random.key(0), model, shape)
    images = np.random.default_rng(0).uniform(size=(2, pairs, *shape)).astype(np.float32)
    return measured(repeats, explanation_attack.by_jsep(model, steps, 8), variables, *images)


def landscape_points(repeats: int, *, directions: int = 4, points: int = 11) -> Point:
    """Slices of the explanation loss of one image, 16 points in memory at once."""
    shape = (32, 32, 3)
    model = models.create("convnet", num_classes=10, input_shape=shape)
    variables = models.init(jax.random.key(0), model, shape)
    model_fn = models.model_fn(model)
    image, target = np.random.default_rng(0).uniform(size=(2, *shape)).astype(np.float32)
    lines = np.random.default_rng(1).choice([-8 / 255, 8 / 255], (directions, *shape)).astype(np.float32)

    @jax.jit
    def slices(variables: Any, image: jax.Array, target: jax.Array, lines: jax.Array) -> jax.Array:
        logits_fn = functools.partial(model_fn, variables)
        map_fn = explain.make_map_fn("gradient_x_input", logits_fn, jnp.argmax(logits_fn(image)))
        loss = landscape.explanation_loss_to(map_fn, map_fn(target))
        return landscape.slice_1d(loss, image, lines, 1.0, points, chunk_size=16).values

    return measured(repeats, slices, variables, image, target, lines)


SERIES: dict[str, tuple[Callable[..., Point], str, tuple[int, ...], str]] = {
    "batch": (training_step, "batch", (16, 32, 64, 128), "MAT step, ConvNet"),
    "attack_steps": (training_step, "steps", (5, 10, 20), "MAT step, ConvNet, batch 32"),
    "image_side": (training_step, "side", (16, 32, 64), "MAT step, ConvNet, batch 32"),
    "pairs": (attacked_pairs, "pairs", (8, 16, 32), "explanation attack, 10 steps, 8 pairs at once"),
    "explanation_steps": (attacked_pairs, "steps", (10, 20, 40), "explanation attack, 8 pairs"),
    "directions": (landscape_points, "directions", (4, 8, 16), "slices, 11 points each, 16 at once"),
    "points": (landscape_points, "points", (11, 21, 41), "slices, 4 directions, 16 points at once"),
}
"""name -> (measurement, growing quantity, its values, description)."""


def exponent(values: tuple[int, ...], results: list[float]) -> float:
    """b of the best fit  result = a * value^b;  1: linear growth, 0: constant."""
    if min(results) <= 0:
        return 0.0
    return float(np.polyfit(np.log(values), np.log(results), 1)[0])


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--series", nargs="*", default=list(SERIES), choices=list(SERIES))
    settings = options.parse_args()
    path = settings.out / f"scaling.{harness.kind_of_device()}.json"
    # Series that are not requested keep their earlier measurements.
    found = json.loads(path.read_text())["series"] if path.exists() else {}
    for name in settings.series:
        measure, what, values, work = SERIES[name]
        points = [measure(settings.repeats, **{what: value}) for value in values]
        found[name] = {
            "work": work,
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "values": list(values),
            **{column: [point[column] for point in points] for column in points[0]},
            **{
                f"{column}_exponent": round(exponent(values, [point[column] for point in points]), 2)
                for column in points[0]
            },
        }
    harness.save(settings, "scaling", {"work": "one axis grows, all else is held", "series": found})


if __name__ == "__main__":
    main()
