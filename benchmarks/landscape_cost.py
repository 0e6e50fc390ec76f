"""What the input landscape of an explanation loss costs: slices and Lanczos steps on the CIFAR ConvNet.

python benchmarks/landscape_cost.py --images 150 --beside "nothing" --out benchmarks/results/landscape_cost.json

The work: the loss of the Gradient x Input map to another image's map, 10 Rademacher directions x 41 points and 20
Lanczos steps, for each image. The weights are random: the cost does not depend on them. Compiling is timed apart.
"""

import argparse
import functools
import json
import os
import pathlib
import platform
import resource
import time

import jax
import numpy as np

from jsep import explain, landscape, models
from jsep.types import Array, Key, PyTree


@functools.partial(jax.jit, static_argnames=("model_fn", "directions", "points", "matvecs", "chunk"))
def slices_of(
    keys: Key, variables: PyTree, images: Array, targets: Array, *, model_fn, directions, points, matvecs, chunk
) -> Array:
    """(images, directions, points) values."""

    def one(inputs: tuple[Key, Array, Array]) -> Array:
        key, image, target = inputs
        context = landscape.DirectionContext(lambda z: z.sum(), image)
        make = functools.partial(landscape.direction, name="rademacher", context=context, epsilon=8 / 255)
        lines = jax.vmap(make)(jax.random.split(key, directions))
        function = loss(model_fn, variables, image, target)
        return landscape.slice_1d(function, image, lines, 1.0, points, chunk_size=chunk).values

    return jax.lax.map(one, (keys, images, targets))


@functools.partial(jax.jit, static_argnames=("model_fn", "directions", "points", "matvecs", "chunk"))
def eigenvalues_of(
    keys: Key, variables: PyTree, images: Array, targets: Array, *, model_fn, directions, points, matvecs, chunk
) -> Array:
    """(images, 5) eigenvalues."""

    def one(inputs: tuple[Key, Array, Array]) -> Array:
        key, image, target = inputs
        function = loss(model_fn, variables, image, target)
        return landscape.top_eigenvalues(key, function, image, num_eigenvalues=5, num_matvecs=matvecs)[0]

    return jax.lax.map(one, (keys, images, targets), batch_size=min(chunk, len(images)))


def loss(model_fn, variables, image, target):
    """The explanation loss of one image to the map of another."""
    logits_fn = functools.partial(model_fn, variables)
    map_fn = explain.make_map_fn("gradient_x_input", logits_fn, logits_fn(image).argmax())
    return landscape.explanation_loss_to(map_fn, map_fn(target))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="convnet", choices=list(models.MODELS))
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--directions", type=int, default=10)
    parser.add_argument("--points", type=int, default=41)
    parser.add_argument("--matvecs", type=int, default=20)
    parser.add_argument("--chunk", type=int, default=16, help="points, or images in Lanczos, in memory at once")
    parser.add_argument("--beside", required=True, help="what else ran on the machine; 'nothing' where nothing did")
    parser.add_argument("--out", type=pathlib.Path)
    settings = parser.parse_args()

    model = models.create(settings.model, num_classes=10, input_shape=(32, 32, 3))
    variables = jax.jit(lambda: models.init(jax.random.key(0), model, (32, 32, 3)))()
    images, targets = np.random.default_rng(0).uniform(size=(2, settings.images, 32, 32, 3)).astype(np.float32)
    work = {
        "model_fn": models.model_fn(model),
        **{name: getattr(settings, name) for name in ("directions", "points", "matvecs", "chunk")},
    }
    keys = jax.random.split(jax.random.key(1), settings.images)
    record = {name: getattr(settings, name) for name in ("model", "images", "directions", "points", "matvecs", "chunk")}
    for name, function in (("slices", slices_of), ("lanczos", eigenvalues_of)):
        started = time.perf_counter()
        compiled = function.lower(keys, variables, images, targets, **work).compile()
        record[f"{name}_compile_seconds"] = round(time.perf_counter() - started, 2)
        started = time.perf_counter()
        values = np.asarray(compiled(keys, variables, images, targets))
        record[f"{name}_seconds"] = round(time.perf_counter() - started, 2)
        assert np.all(np.isfinite(values))
    record["total_seconds"] = round(sum(value for name, value in record.items() if name.endswith("_seconds")), 2)
    # ru_maxrss is in KiB on Linux: the peak of the whole process, compiler included.
    record["peak_memory_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    record |= {
        "beside": settings.beside,
        "device": jax.devices()[0].device_kind,
        "num_cpus": os.cpu_count(),
        "jax": jax.__version__,
        "python": platform.python_version(),
    }
    print(json.dumps(record, indent=1))
    if settings.out:
        settings.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
