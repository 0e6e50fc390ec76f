"""Images of 224x224 and 1,000 classes: a ResNet-50 of PyTorch, explained and attacked as it is, within stated memory.

python benchmarks/large_images.py --steps 50

The network has random weights and softplus in the place of ReLU, so that its explanation can be attacked; `models.wrap`
turns it into a function of one image. Every row is one image: the second call, and the memory that it takes beyond what
was there. The attack stands beside the published loop in PyTorch, with the same network, maps, Adam and steps.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import harness  # before JAX
import jax
import jax.numpy as jnp
import numpy as np
import torch
from explanation_attack import ADAM, by_torch

from jsep import attack, explain, models
from jsep.study import costs

NUM_CLASSES, BETA = 1000, 10.0


class Bottleneck(torch.nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.convs = torch.nn.ModuleList([
            torch.nn.Conv2d(inputs, width, 1, bias=False),
            torch.nn.Conv2d(width, width, 3, stride, 1, bias=False),
            torch.nn.Conv2d(width, outputs, 1, bias=False),
        ])  # fmt: skip
        self.norms = torch.nn.ModuleList([torch.nn.BatchNorm2d(size) for size in (width, width, outputs)])
        self.act = torch.nn.Softplus(BETA)
        self.shortcut: torch.nn.Module = torch.nn.Identity()
        if stride > 1 or inputs != outputs:
            conv = torch.nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for place, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(conv(y))
            y = y + self.shortcut(x) if place == 2 else y
            y = self.act(y)
        return y


def resnet50() -> torch.nn.Module:
    """He et al. 2015, table 1: 25.6 million parameters; softplus for ReLU, average pooling for the maximum."""
    layers: list[torch.nn.Module] = [
        torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(64), torch.nn.Softplus(BETA),
        torch.nn.AvgPool2d(3, 2, 1),
    ]  # fmt: skip
    inputs = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for index in range(count):
            layers.append(Bottleneck(inputs, width, stride if index == 0 else 1))
            inputs = 4 * width
    head = (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(inputs, NUM_CLASSES))
    torch.manual_seed(0)
    return torch.nn.Sequential(*layers, *head).eval()


EXPLANATIONS: dict[str, dict[str, Any]] = {
    "gradient_x_input": {},
    "integrated_gradients": {"num_steps": 32, "chunk_size": 4},
    "smooth_grad": {"num_samples": 16, "chunk_size": 4},
    "guided_backprop": {},
    "lrp": {},
    "grad_cam": {},
    "score_cam": {"chunk_size": 8},
    "occlusion": {"window": 32, "stride": 32, "chunk_size": 8},
}
"""method -> its options."""


_LONG = 60
"""Seconds of a first call above which one more is timed alone."""


def explained(logits_fn: Any, image: jax.Array, label: jax.Array, repeats: int) -> dict[str, dict[str, float | str]]:
    """method -> the seconds of its first call and of a later one, and the memory of that; "error" where it fails."""
    found: dict[str, dict[str, float | str]] = {}
    for name, options in EXPLANATIONS.items():
        method, key = explain.METHODS[name].saliency, jax.random.key(0)
        call = functools.partial(method, logits_fn, image, label, key=key, **options)
        run: Callable[[], Any] = lambda call=call: jax.block_until_ready(call())  # noqa: E731
        started = time.perf_counter()
        try:
            run()
        except Exception as error:
            found[name] = {"error": " ".join(str(error).split())[:200]}
            print(name, found[name], flush=True)
            continue
        first = time.perf_counter() - started
        memory = harness.peak_memory_mib(run)
        seconds = []
        for _ in range(repeats if first < _LONG else 1):
            started = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - started)
        found[name] = {
            "seconds": harness.significant(min(seconds)), "first_call_seconds": harness.significant(first),
            "peak_memory_mib": round(memory or 0.0), "options": ", ".join(f"{k}={v}" for k, v in options.items()),
        }  # fmt: skip
        print(name, found[name], flush=True)
    return found


def _step(map_fn: Any, logits_fn: Any, goal: jax.Array, image: jax.Array) -> Any:
    """The gradient of one step of the attack, to count its operations."""

    def loss(z: jax.Array) -> jax.Array:
        return jnp.mean((map_fn(z) - goal) ** 2) + jnp.mean(jax.nn.softmax(logits_fn(z)) ** 2)

    return jax.grad(loss)(image)


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--steps", type=int, default=50)
    options.add_argument("--side", type=int, default=224)
    settings = options.parse_args()
    shape = (settings.side, settings.side, 3)
    network = resnet50().requires_grad_(False)
    victim, target = np.random.default_rng(0).uniform(size=(2, *shape)).astype(np.float32)
    logits_fn = models.wrap(network, input_shape=shape)
    label = jnp.argmax(logits_fn(victim))
    explanations = explained(logits_fn, jnp.asarray(victim), label, settings.repeats)

    make = functools.partial(explain.make_map_fn, "gradient_x_input", logits_fn)
    goal = make(jnp.argmax(logits_fn(target)))(target)

    def ours() -> float:
        _, info = attack.attack_explanation(
            jax.random.key(0), make(label), logits_fn, victim, goal, num_steps=settings.steps, **ADAM
        )
        return float(jnp.min(info.losses))

    images = [torch.tensor(image).permute(2, 0, 1)[None] for image in (victim, target)]
    contenders = {
        harness.OURS: ours, "torch, the published loop": lambda: float(by_torch(network, settings.steps, *images)[0])
    }  # fmt: skip
    harness.torch_device()
    timings = harness.compare(contenders, repeats=settings.repeats, budget=settings.budget)
    step = functools.partial(_step, make(label), logits_fn, goal)
    flops = settings.steps * costs.count_flops(step, jnp.asarray(victim))
    record = harness.comparison(
        f"explanation attack, ResNet-50 of PyTorch, {settings.side}x{settings.side}, {settings.steps} steps",
        timings,
        flops=flops,
        agreement={f"lowest loss, {name}": timing.result for name, timing in timings.items()},
        explanations=explanations,
    )
    harness.save(settings, "large_images", record)


if __name__ == "__main__":
    main()
