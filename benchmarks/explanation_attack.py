"""The targeted explanation attack against the published PyTorch loop: one image at a time, and all pairs in a batch.

python benchmarks/explanation_attack.py --pairs 30 --steps 30 --chunk 15

The work: the Gradient x Input map of CIFAR-sized random images on the softplus ConvNet with the same random weights,
the same Adam, the same steps, in float32.
"""

import functools
from collections.abc import Callable
from typing import Any

import harness  # before JAX
import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_twins

from jsep import attack, evaluate, explain, models
from jsep.study import costs

SHAPE = (32, 32, 3)
ADAM = {"learning_rate": 1e-3, "map_weight": 1e7, "output_weight": 1.0}


def by_jsep(model: models.Classifier, num_steps: int, chunk_size: int) -> Callable[..., Any]:
    """Compiled: (variables, victims, targets) -> the lowest explanation loss of each pair over all steps."""
    model_fn = models.model_fn(model)

    def one(variables: Any, victim: jax.Array, target: jax.Array) -> jax.Array:
        logits_fn = functools.partial(model_fn, variables)
        make = functools.partial(explain.make_map_fn, "gradient_x_input", logits_fn)
        map_fn, goal = make(jnp.argmax(logits_fn(victim))), make(jnp.argmax(logits_fn(target)))(target)
        key = jax.random.key(0)
        _, info = attack.attack_explanation(key, map_fn, logits_fn, victim, goal, num_steps=num_steps, **ADAM)
        return jnp.min(info.losses)

    @jax.jit
    def run(variables: Any, victims: jax.Array, targets: jax.Array) -> jax.Array:
        return jax.lax.map(lambda pair: one(variables, *pair), (victims, targets), batch_size=chunk_size)

    return run


def by_torch(network: torch.nn.Module, num_steps: int, victims: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """The published loop on a batch of independent pairs: the lowest explanation loss of each over all steps."""
    with torch.no_grad():
        clean = network(victims).softmax(1)
        goal_labels = network(targets).argmax(1)
    labels = clean.argmax(1)
    goals = torch_twins.maps_of(network, targets.detach().requires_grad_(True), goal_labels).detach()
    images = victims.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([images], lr=ADAM["learning_rate"])
    lowest = torch.full((len(victims),), float("inf"), device=victims.device)
    for _ in range(num_steps):
        optimizer.zero_grad()
        losses = (torch_twins.maps_of(network, images, labels) - goals).square().mean((1, 2))
        output = (network(images).softmax(1) - clean).square().mean(1)
        lowest = torch.minimum(lowest, losses.detach())
        (ADAM["map_weight"] * losses + ADAM["output_weight"] * output).sum().backward()
        optimizer.step()
        with torch.no_grad():
            images.clamp_(0, 1)
    last = (torch_twins.maps_of(network, images, labels) - goals).square().mean((1, 2))
    return torch_twins.array_of(torch.minimum(lowest, last))


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--pairs", type=int, default=30)
    options.add_argument("--steps", type=int, default=30)
    options.add_argument("--chunk", type=int, default=15, help="pairs in memory at once, ours and the batched loop's")
    settings = options.parse_args()

    model = models.create("convnet", num_classes=10, input_shape=SHAPE)
    variables = jax.jit(lambda: models.init(jax.random.key(0), model, SHAPE))()
    device = harness.torch_device()
    victims, targets = np.random.default_rng(0).uniform(size=(2, settings.pairs, *SHAPE)).astype(np.float32)

    def prepared(memory_format: torch.memory_format) -> tuple[torch.nn.Module, list[torch.Tensor]]:
        network = torch_twins.twin(model, jax.device_get(variables), SHAPE, device, memory_format)
        given = [torch_twins.images_of(images, device, memory_format) for images in (victims, targets)]
        return network.requires_grad_(False), given

    def tried(memory_format: torch.memory_format) -> None:
        network, given = prepared(memory_format)
        by_torch(network, 3, *(images[: settings.chunk] for images in given))

    network, given = prepared(torch_twins.fastest_format(tried))
    run, placed = by_jsep(model, settings.steps, settings.chunk), jax.device_put((variables, victims, targets))

    def in_parts(size: int) -> np.ndarray:
        parts = zip(*(images.split(size) for images in given), strict=True)
        return np.concatenate([by_torch(network, settings.steps, *part) for part in parts])

    contenders: dict[str, harness.Contender] = {
        harness.OURS: lambda: np.asarray(run(*placed)),
        "torch, one image at a time": lambda: in_parts(1),
        "torch, in batches": lambda: in_parts(settings.chunk),
    }
    timings = harness.compare(contenders, repeats=settings.repeats, budget=settings.budget)
    counted = costs.ModelCosts(model, SHAPE)
    steps = settings.pairs * settings.steps
    record = harness.comparison(
        f"explanation attack, ConvNet, {settings.pairs} pairs x {settings.steps} steps, {settings.chunk} at once",
        timings,
        flops=steps * (counted.map_gradient(evaluate.ExplanationAttackConfig()) + counted.input_gradient),
        agreement={f"mean lowest loss, {name}": float(np.mean(t.result)) for name, t in timings.items()},
        pairs=settings.pairs,
        steps=settings.steps,
        chunk=settings.chunk,
        seconds_per_step_of_a_pair=harness.significant(timings[harness.OURS].median / steps),
    )
    harness.save(settings, "explanation_attack", record)


if __name__ == "__main__":
    main()
