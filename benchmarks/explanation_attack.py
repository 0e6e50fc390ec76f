"""The targeted explanation attack beside the published loop in PyTorch: one image at a time, and all pairs in a batch.

python benchmarks/explanation_attack.py --beside "nothing" --out benchmarks/results/explanation_attack.json

The work: the Gradient x Input map of CIFAR-sized random images on the softplus ConvNet with the same random weights,
the same Adam, the same steps, in float32. Who is timed takes turns; the ratios are of medians. Compiling is timed
apart.
"""

import argparse
import functools
import json
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jsep import attack, explain, models

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "experiments"))
import torch_peers

SETTINGS = {"learning_rate": 1e-3, "map_weight": 1e7, "output_weight": 1.0}


def by_jsep(model: models.Classifier, variables: Any, num_steps: int, chunk_size: int) -> Callable[..., Any]:
    """Compiled: (victims, targets) -> the explanation loss of each pair's returned image."""
    model_fn = models.model_fn(model)

    def one(variables: Any, victim: jax.Array, target: jax.Array) -> jax.Array:
        logits_fn = functools.partial(model_fn, variables)
        make = functools.partial(explain.make_map_fn, "gradient_x_input", logits_fn)
        map_fn, goal = make(jnp.argmax(logits_fn(victim))), make(jnp.argmax(logits_fn(target)))(target)
        _, info = attack.attack_explanation(
            jax.random.key(0), map_fn, logits_fn, victim, goal, num_steps=num_steps, **SETTINGS
        )
        return jnp.min(info.losses)

    @jax.jit
    def run(variables: Any, victims: jax.Array, targets: jax.Array) -> jax.Array:
        return jax.lax.map(lambda pair: one(variables, *pair), (victims, targets), batch_size=chunk_size)

    return functools.partial(run, variables)


def by_torch(twin: Any, num_steps: int, victims: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The published loop on a batch, whose rows do not touch: the lowest explanation loss on the way of each pair."""
    victims, targets = (torch.tensor(x.transpose(0, 3, 1, 2)).contiguous() for x in (victims, targets))

    def maps(images: Any, labels: Any) -> Any:
        score = twin(images).gather(1, labels[:, None]).sum()
        (derivative,) = torch.autograd.grad(score, images, create_graph=True)
        raw = (derivative * images).abs().sum(1)
        return raw / raw.sum((1, 2), keepdim=True)

    with torch.no_grad():
        clean = twin(victims).softmax(1)
        goal_labels = twin(targets).argmax(1)
    labels = clean.argmax(1)
    goals = maps(targets.requires_grad_(True), goal_labels).detach()
    images = victims.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([images], lr=SETTINGS["learning_rate"])
    lowest = torch.full((len(victims),), float("inf"))
    for _ in range(num_steps):
        optimizer.zero_grad()
        losses = (maps(images, labels) - goals).square().mean((1, 2))
        output = (twin(images).softmax(1) - clean).square().mean(1)
        lowest = torch.minimum(lowest, losses.detach())
        (SETTINGS["map_weight"] * losses + SETTINGS["output_weight"] * output).sum().backward()
        optimizer.step()
        with torch.no_grad():
            images.clamp_(0, 1)
    return torch.minimum(lowest, (maps(images, labels) - goals).square().mean((1, 2)).detach()).numpy()


def by_torch_loop(twin: Any, num_steps: int, victims: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """One image after the other."""
    pairs = range(len(victims))
    return np.concatenate([by_torch(twin, num_steps, victims[i : i + 1], targets[i : i + 1]) for i in pairs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--chunk", type=int, default=15, help="pairs in memory at once, ours and the batched loop's")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--beside", required=True, help="what else ran on the machine; 'nothing' where nothing did")
    parser.add_argument("--out", type=pathlib.Path)
    settings = parser.parse_args()

    model = models.create("convnet", num_classes=10, input_shape=(32, 32, 3))
    variables = jax.jit(lambda: models.init(jax.random.key(0), model, (32, 32, 3)))()
    twin = torch_peers.twin(model, jax.device_get(variables))
    victims, targets = np.random.default_rng(0).uniform(size=(2, settings.pairs, 32, 32, 3)).astype(np.float32)
    ours = by_jsep(model, variables, settings.steps, settings.chunk)

    def batched(victims: np.ndarray, targets: np.ndarray) -> np.ndarray:
        parts = [slice(i, i + settings.chunk) for i in range(0, settings.pairs, settings.chunk)]
        return np.concatenate([by_torch(twin, settings.steps, victims[part], targets[part]) for part in parts])

    started = time.perf_counter()
    runs: dict[str, Callable[..., Any]] = {
        "jsep": ours,
        "torch, all pairs in a batch": batched,
        "torch, one image at a time": functools.partial(by_torch_loop, twin, settings.steps),
    }
    found = {name: np.asarray(run(victims, targets)) for name, run in list(runs.items())[:1]}
    compile_and_run = time.perf_counter() - started
    found |= {name: np.asarray(run(victims, targets)) for name, run in list(runs.items())[1:]}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(settings.repeats):
        for name, run in runs.items():
            started = time.perf_counter()
            np.asarray(run(victims, targets))
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    record = {
        "work": f"{settings.pairs} pairs x {settings.steps} steps, ConvNet, 32x32x3, chunks of {settings.chunk}",
        "median_seconds": {name: round(value, 2) for name, value in medians.items()},
        "all_seconds": {name: [round(value, 2) for value in values] for name, values in seconds.items()},
        "times_faster": {name: round(medians[name] / medians["jsep"], 2) for name in runs},
        "mean_lowest_loss": {name: float(np.mean(values)) for name, values in found.items()},
        "first_call_seconds": round(compile_and_run, 2),
        "beside": settings.beside,
        "device": jax.devices()[0].device_kind,
        "num_cpus": os.cpu_count(),
        "jax": jax.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    print(json.dumps(record, indent=1))
    if settings.out:
        settings.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
