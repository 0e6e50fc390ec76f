"""The time of each layer of the ConvNet, forward and backward, compared with PyTorch.

python benchmarks/layers.py --batch 64

This profile explains the ratios of the other tables: on a CPU they depend on each library's convolution.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import harness  # before JAX
import jax
import numpy as np
import torch
import torch_twins

from jsep.models.convolution import conv2d
from jsep.models.layers import softplus

# name -> (side, channels, features, strides)
CONVOLUTIONS = {
    "ConvNet 1": (32, 3, 32, 1),
    "ConvNet 2": (32, 32, 64, 2),
    "ConvNet 3": (16, 64, 128, 2),
    "ResNet-18 stage 1": (32, 64, 64, 1),
    "ResNet-18 stage 3": (8, 256, 256, 1),
}
PASSES = ("forward", "input gradient", "weight gradient")


def milliseconds(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """name -> median of alternating calls, after two warm-up calls of each."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 2):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn >= 2:
                seconds[name].append(time.perf_counter() - started)
    return {name: harness.significant(1000 * statistics.median(values), 3) for name, values in seconds.items()}


def convolution(batch: int, repeats: int, side: int, channels: int, features: int, strides: int) -> dict[str, Any]:
    """Milliseconds of a 3x3 convolution, by jsep as in a loop over steps, and by PyTorch."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, side, side, channels)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, channels, features)).astype(np.float32)

    def forward(x: Any, w: Any) -> Any:
        return conv2d(x, w, strides=strides, padding=1)

    functions = {
        "forward": lambda x, w, c: forward(x, w),
        "input gradient": lambda x, w, c: jax.linear_transpose(lambda z: forward(z, w), x)(c)[0],
        "weight gradient": lambda x, w, c: jax.linear_transpose(lambda z: forward(x, z), w)(c)[0],
    }
    out = jax.eval_shape(forward, images, kernel)
    cotangent = rng.normal(size=out.shape).astype(np.float32)
    placed = jax.device_put((images, kernel, cotangent))
    device = harness.torch_device()
    x, c = (torch_twins.images_of(z, device).requires_grad_(i == 0) for i, z in enumerate((images, cotangent)))
    w = torch.tensor(kernel.transpose(3, 2, 0, 1)).contiguous(memory_format=torch.channels_last).to(device)
    w.requires_grad_(True)

    def their_forward() -> Any:
        with torch.no_grad():
            return torch.nn.functional.conv2d(x, w, stride=strides, padding=1).sum().item()

    y = torch.nn.functional.conv2d(x, w, stride=strides, padding=1)
    theirs = {
        "forward": their_forward,
        "input gradient": lambda: torch.autograd.grad(y, x, c, retain_graph=True)[0].ravel()[0].item(),
        "weight gradient": lambda: torch.autograd.grad(y, w, c, retain_graph=True)[0].ravel()[0].item(),
    }
    found: dict[str, Any] = {"gflop": harness.significant(2e-9 * 9 * channels * np.prod(out.shape))}
    for name in PASSES:
        compiled = jax.jit(functions[name])
        runs = {"jsep": lambda f=compiled: jax.block_until_ready(f(*placed)), "torch": theirs[name]}
        found[name] = milliseconds(runs, repeats)
    return found


def activation(batch: int, repeats: int) -> dict[str, Any]:
    """Milliseconds of the softplus of the first layer's output, and of its vector-Jacobian product."""
    x, cotangent = np.random.default_rng(0).normal(size=(2, batch, 32, 32, 32)).astype(np.float32)
    placed, tensor = jax.device_put((x, cotangent)), torch.tensor(x).to(harness.torch_device())
    ours, theirs = jax.jit(lambda z: softplus(z, 10.0)), torch.nn.Softplus(beta=10.0)
    pulled = jax.jit(lambda z, c: jax.vjp(lambda inner: softplus(inner, 10.0), z)[1](c)[0])
    tensor.requires_grad_(True)
    y, given = theirs(tensor), torch.tensor(cotangent).to(harness.torch_device())

    def forward() -> Any:
        with torch.no_grad():
            return theirs(tensor).ravel()[0].item()

    def backward() -> Any:
        return torch.autograd.grad(y, tensor, given, retain_graph=True)[0].ravel()[0].item()

    return {
        "forward": milliseconds({"jsep": lambda: jax.block_until_ready(ours(placed[0])), "torch": forward}, repeats),
        "input gradient": milliseconds(
            {"jsep": lambda: jax.block_until_ready(pulled(*placed)), "torch": backward}, repeats
        ),
    }


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--batch", type=int, default=64)
    settings = options.parse_args()
    repeats, found = max(settings.repeats, 11), {}

    def measure() -> None:
        for name, (side, channels, features, strides) in CONVOLUTIONS.items():
            what = f"{name}: {channels} to {features} channels, {side}x{side}, stride {strides}"
            found[what] = convolution(settings.batch, repeats, side, channels, features, strides)
        found["softplus after ConvNet 1"] = activation(settings.batch, repeats)

    share = harness.share_of_others(measure)
    record = {
        "work": f"milliseconds of one layer, batch {settings.batch}",
        "batch": settings.batch,
        "share_of_others": round(share, 3),
        "layers": found,
    }
    harness.save(settings, "layers", record)


if __name__ == "__main__":
    main()
