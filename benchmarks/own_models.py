"""A user's own network, with its convolutions replaced by `models.wrap` and `models.Functional`, and as it is.

python benchmarks/own_models.py --images 32

Two networks of the ConvNet's layers by `lax.conv_general_dilated`: channels last, as Flax and Keras have them, and
channels first, as Equinox and PyTorch. Attacked by PGD in a compiled loop, and trained by steps of SGD in another.
"""

import functools
from typing import Any
from unittest import mock

import harness  # before JAX
import jax
import jax.numpy as jnp
import numpy as np

from jsep import attack, models
from jsep.models import conv_replacement
from jsep.study import costs

SHAPE, NUM_CLASSES = (32, 32, 3), 10
LAYERS = ((3, 32, 1), (32, 32, 2), (32, 64, 1), (64, 64, 2))
"""(channels, features, strides) of the 3x3 convolutions."""

ORDERS = {"channels last": ("NHWC", "HWIO", "NHWC"), "channels first": ("NCHW", "OIHW", "NCHW")}
PEER = "the network's own convolutions"


def init(order: str) -> dict[str, Any]:
    """The weights of the network in the layout `order`."""
    rng = np.random.default_rng(0)
    kernels = []
    for channels, features, _ in LAYERS:
        kernel = rng.normal(size=(3, 3, channels, features), scale=(2 / (9 * channels)) ** 0.5).astype(np.float32)
        kernels.append(jnp.asarray(kernel.transpose(3, 2, 0, 1) if order == "channels first" else kernel))
    head = rng.normal(size=(64, NUM_CLASSES), scale=0.1).astype(np.float32)
    return {"kernels": kernels, "head": jnp.asarray(head)}


def apply(order: str, params: Any, images: jax.Array) -> jax.Array:
    """images (B, H, W, C) or (B, C, H, W), by `order` -> logits (B, K)."""
    for kernel, (_, _, strides) in zip(params["kernels"], LAYERS, strict=True):
        images = jax.lax.conv_general_dilated(
            images, kernel, (strides, strides), "SAME", dimension_numbers=ORDERS[order]
        )
        images = jax.nn.softplus(10 * images) / 10
    return images.mean((2, 3) if order == "channels first" else (1, 2)) @ params["head"]


def attacked(order: str, num_steps: int) -> Any:
    """Compiled: (images, labels) -> images attacked by PGD."""
    first = order == "channels first"
    logits_fn = models.wrap(
        functools.partial(apply, order), init(order), input_shape=SHAPE, batched=True, channels_first=first
    )

    def one(image: jax.Array, label: jax.Array) -> jax.Array:
        objective = attack.cross_entropy(logits_fn, label)
        settings = {"epsilon": 8 / 255, "alpha": 2 / 255, "num_steps": num_steps}
        return attack.pgd(jax.random.key(0), objective, image, random_start=False, **settings)[0]

    return jax.jit(jax.vmap(one))


def trained(order: str, num_steps: int) -> Any:
    """Compiled: (images, labels) -> the head after steps of SGD on them."""
    first = order == "channels first"

    def of_network(params: Any, images: jax.Array) -> jax.Array:
        return apply(order, params, jnp.moveaxis(images, -1, 1) if first else images)

    network = models.Functional(lambda key, shape: init(order), of_network, f"own, {order}")

    def run(images: jax.Array, labels: jax.Array) -> jax.Array:
        def loss(params: Any) -> jax.Array:
            logits, _ = network.outputs({"params": params}, images, train=True)
            return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels])

        def step(params: Any, _: None) -> tuple[Any, None]:
            return jax.tree.map(lambda p, g: p - 0.01 * g, params, jax.grad(loss)(params)), None

        return jax.lax.scan(step, init(order), None, num_steps)[0]["head"]

    return jax.jit(run)


def as_it_is(run: harness.Contender) -> harness.Contender:
    """The contender without replacement; it needs functions of its own to compile."""

    def inside() -> Any:
        with mock.patch.object(conv_replacement, "_has_convolution", return_value=False):
            return run()

    return inside


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--images", type=int, default=32)
    options.add_argument("--steps", type=int, default=5)
    settings = options.parse_args()
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.uniform(size=(settings.images, *SHAPE)), jnp.float32)
    labels = jnp.asarray(rng.integers(NUM_CLASSES, size=settings.images))
    for task, make in (("pgd", attacked), ("training", trained)):
        for order in ORDERS:
            ours, plain = make(order, settings.steps), make(order, settings.steps)
            contenders = {
                harness.OURS: lambda ours=ours: np.asarray(ours(images, labels)),
                PEER: as_it_is(lambda plain=plain: np.asarray(plain(images, labels))),
            }
            timings = harness.compare(contenders, repeats=settings.repeats, budget=settings.budget)
            record = harness.comparison(
                f"{task}, {settings.steps} steps, {settings.images} images, {order}",
                timings,
                flops=costs.count_flops(make(order, settings.steps), images, labels),
                agreement={"largest difference": harness.difference(*(t.result for t in timings.values()))},
            )
            harness.save(settings, f"own_{task}_{order.replace(' ', '_')}", record)


if __name__ == "__main__":
    main()
