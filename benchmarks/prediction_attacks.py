"""PGD-20 and APGD-100 on predictions, compared with foolbox (on JAX and on PyTorch) and torchattacks.

On JAX foolbox attacks the same model twice: with jsep's CPU forms of the convolutions, which isolates the cost of the
attack's loop, and with `lax.conv_general_dilated`, as in Flax's layers.

python benchmarks/prediction_attacks.py --images 500 --chunk 100
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import foolbox
import harness  # before JAX
import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_twins
import torchattacks

from jsep import attack, models
from jsep.models.cpu import use_lax_conv
from jsep.study import costs

SHAPE = (32, 32, 3)
EPSILON = 8 / 255
STEPS = {"pgd": 20, "apgd": 100}
LIBRARY = "foolbox on JAX, library's convolutions"


def by_jsep(model: models.Classifier, name: str, chunk: int) -> Callable[..., Any]:
    """Compiled: (variables, images, labels) -> attacked images."""
    model_fn = models.model_fn(model)

    def one(variables: Any, key: Any, image: jax.Array, label: jax.Array) -> jax.Array:
        objective = attack.cross_entropy(functools.partial(model_fn, variables), label)
        if name == "pgd":
            return attack.pgd(key, objective, image, epsilon=EPSILON, alpha=EPSILON / 4, num_steps=STEPS[name])[0]
        return attack.apgd(key, objective, image, epsilon=EPSILON, num_steps=STEPS[name])[0]

    @jax.jit
    def run(variables: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        keys = jax.random.split(jax.random.key(0), len(images))
        return jax.lax.map(lambda row: one(variables, *row), (keys, images, labels), batch_size=chunk)

    return run


def by_library(run: harness.Contender) -> harness.Contender:
    """The contender with `lax.conv_general_dilated` in its programs; it needs functions of its own to compile."""

    def inside() -> Any:
        with use_lax_conv():
            return run()

    return inside


def by_torchattacks(network: torch.nn.Module, name: str) -> Any:
    """(images, labels) -> attacked images."""
    if name == "pgd":
        return torchattacks.PGD(network, eps=EPSILON, alpha=EPSILON / 4, steps=STEPS[name])
    return torchattacks.APGD(network, norm="Linf", eps=EPSILON, steps=STEPS[name], loss="ce", seed=0)


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--images", type=int, default=500)
    options.add_argument("--chunk", type=int, default=100, help="images in memory at once, on every side")
    settings = options.parse_args()
    warnings.filterwarnings("ignore")

    model = models.create("convnet", num_classes=10, input_shape=SHAPE)
    variables = jax.jit(lambda: models.init(jax.random.key(0), model, SHAPE))()
    device = harness.torch_device()
    images = np.random.default_rng(0).uniform(size=(settings.images, *SHAPE)).astype(np.float32)
    logits_of = jax.jit(lambda images: model.apply(variables, images))
    # Labels are predicted classes, since APGD of torchattacks skips misclassified images.
    labels = np.asarray(jnp.argmax(logits_of(images), axis=1)).astype(np.int32)
    placed = jax.device_put((variables, images, labels))

    def prepared(memory_format: torch.memory_format) -> tuple[Any, ...]:
        network = torch_twins.twin(model, jax.device_get(variables), SHAPE, device, memory_format)
        given = torch_twins.images_of(images, device, memory_format), torch_twins.labels_of(labels, device)
        return network.requires_grad_(False), *given

    def tried(memory_format: torch.memory_format) -> None:
        network, x, y = prepared(memory_format)
        by_torchattacks(network, "pgd")(x[: settings.chunk], y[: settings.chunk])

    network, *given = prepared(torch_twins.fastest_format(tried))
    pgd = foolbox.attacks.LinfPGD(abs_stepsize=EPSILON / 4, steps=STEPS["pgd"], random_start=True)
    counted = costs.ModelCosts(model, SHAPE)

    def in_chunks(one: Any, images: Any, labels: Any) -> np.ndarray:
        starts = range(0, settings.images, settings.chunk)
        parts = [one(images[i : i + settings.chunk], labels[i : i + settings.chunk]) for i in starts]
        return np.concatenate(
            [torch_twins.array_of(x) if isinstance(x, torch.Tensor) else np.asarray(x) for x in parts]
        )

    for name, steps in STEPS.items():
        run = by_jsep(model, name, settings.chunk)
        contenders: dict[str, harness.Contender] = {
            harness.OURS: lambda run=run: np.asarray(run(*placed)),
            "torchattacks": functools.partial(in_chunks, by_torchattacks(network, name), *given),
        }
        if name == "pgd":  # foolbox has no APGD
            for kind, wrapped, data in (
                ("foolbox on JAX", foolbox.JAXModel(logits_of, bounds=(0, 1)), placed[1:]),
                (LIBRARY, foolbox.JAXModel(jax.jit(lambda x: model.apply(variables, x)), bounds=(0, 1)), placed[1:]),
                ("foolbox on PyTorch", foolbox.PyTorchModel(network, bounds=(0, 1)), given),
            ):
                contenders[kind] = functools.partial(
                    in_chunks, lambda x, y, wrapped=wrapped: pgd(wrapped, x, y, epsilons=EPSILON)[1], *data
                )
            contenders[LIBRARY] = by_library(contenders[LIBRARY])
        timings = harness.compare(contenders, repeats=settings.repeats, budget=settings.budget)
        wrong = {
            f"share of classes changed, {peer}": float(np.mean(np.argmax(logits_of(t.result), axis=1) != labels))
            for peer, t in timings.items()
        }
        record = harness.comparison(
            f"{name.upper()}-{steps}, ConvNet, {settings.images} images, {settings.chunk} at once",
            timings,
            flops=settings.images * (steps + (name == "apgd")) * counted.input_gradient,
            agreement=wrong,
            images=settings.images,
            chunk=settings.chunk,
        )
        harness.save(settings, name, record)


if __name__ == "__main__":
    main()
