"""The cost of the input landscape of an explanation loss: slices and Lanczos steps on the CIFAR ConvNet.

python benchmarks/landscape_cost.py --images 4

The work: the loss of the Gradient x Input map to another image's map, 10 Rademacher directions x 41 points and 20
Lanczos steps, for each image. The weights are random: the cost does not depend on them. No other library is compared.
"""

import functools

import harness  # before JAX
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
    options = harness.parser(__doc__)
    options.add_argument("--model", default="convnet", choices=list(models.MODELS))
    options.add_argument("--images", type=int, default=4)
    options.add_argument("--directions", type=int, default=10)
    options.add_argument("--points", type=int, default=41)
    options.add_argument("--matvecs", type=int, default=20)
    options.add_argument("--chunk", type=int, default=16, help="points, or images in Lanczos, in memory at once")
    settings = options.parse_args()

    model = models.create(settings.model, num_classes=10, input_shape=(32, 32, 3))
    variables = jax.jit(lambda: models.init(jax.random.key(0), model, (32, 32, 3)))()
    images, targets = np.random.default_rng(0).uniform(size=(2, settings.images, 32, 32, 3)).astype(np.float32)
    shape = {name: getattr(settings, name) for name in ("directions", "points", "matvecs", "chunk")}
    placed = jax.device_put((jax.random.split(jax.random.key(1), settings.images), variables, images, targets))
    model_fn = models.model_fn(model)
    functions = {
        f"slices, {settings.directions} directions x {settings.points} points": slices_of,
        f"{settings.matvecs} Lanczos steps": eigenvalues_of,
    }
    contenders: dict[str, harness.Contender] = {
        name: lambda function=function: np.asarray(function(*placed, model_fn=model_fn, **shape))
        for name, function in functions.items()
    }
    timings = harness.compare(contenders, repeats=settings.repeats, budget=settings.budget)
    for name, timing in timings.items():
        if not np.all(np.isfinite(timing.result)):
            raise SystemExit(f"{name} is not finite")
    record = {
        "work": f"the landscape of {settings.images} images, {settings.model}, {settings.chunk} in memory at once",
        "model": settings.model,
        "images": settings.images,
        **shape,
        "seconds_per_image": {
            name: harness.significant(timing.median / settings.images) for name, timing in timings.items()
        },
        "contenders": {name: timing.record() for name, timing in timings.items()},
    }
    harness.save(settings, "landscape_cost", record)


if __name__ == "__main__":
    main()
