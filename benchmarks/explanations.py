"""Integrated gradients (32 steps), SmoothGrad (50 samples) and occlusion (4x4 windows), compared with captum.

python benchmarks/explanations.py --images 64

Each side uses its fastest batch size, chosen from the same candidates.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import harness  # before JAX
import jax
import numpy as np
import torch
import torch_twins
from captum import attr

from jsep import explain, models
from jsep.study import costs

SHAPE = (32, 32, 3)
STEPS, SAMPLES, SIGMA, WINDOW, STRIDE = 32, 50, 0.1, 4, 2
CHUNKS = {"integrated_gradients": (32, 64), "smooth_grad": (25, 50), "occlusion": (25, 75)}
EVALUATIONS = {"integrated_gradients": STEPS, "smooth_grad": SAMPLES, "occlusion": ((32 - WINDOW) // STRIDE + 1) ** 2}


def by_jsep(model: models.Classifier, method: str, chunk: int) -> Callable[..., Any]:
    """Compiled: (variables, images, labels) -> saliencies (B, H, W, C or 1)."""
    model_fn = models.model_fn(model)
    together = max(chunk // EVALUATIONS[method], 1)

    def one(variables: Any, key: Any, image: jax.Array, label: jax.Array) -> jax.Array:
        logits_fn = functools.partial(model_fn, variables)
        size = min(chunk, EVALUATIONS[method])
        if method == "integrated_gradients":
            return explain.integrated_gradients(logits_fn, image, label, num_steps=STEPS, chunk_size=size)
        if method == "smooth_grad":
            return explain.smooth_grad(
                logits_fn, image, label, key=key, sigma=SIGMA, num_samples=SAMPLES, chunk_size=size
            )
        return explain.occlusion(logits_fn, image, label, window=WINDOW, stride=STRIDE, chunk_size=size)

    @jax.jit
    def run(variables: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        keys = jax.random.split(jax.random.key(0), len(images))
        return jax.lax.map(lambda row: one(variables, *row), (keys, images, labels), batch_size=together)

    return run


def called(run: Callable[..., Any], placed: Any) -> np.ndarray:
    """The result of a compiled function, after waiting for it."""
    return np.asarray(run(*placed))


def by_captum(network: torch.nn.Module, method: str, chunk: int, images: Any, labels: Any) -> np.ndarray:
    """The saliencies by captum."""
    if method == "integrated_gradients":
        found = attr.IntegratedGradients(network).attribute(
            images, target=labels, n_steps=STEPS, method="gausslegendre", internal_batch_size=chunk
        )
    elif method == "smooth_grad":
        tunnel = attr.NoiseTunnel(attr.Saliency(network))
        together = max(chunk // SAMPLES, 1)
        parts = [
            tunnel.attribute(x, target=y, nt_type="smoothgrad", nt_samples=SAMPLES, stdevs=SIGMA, abs=False)
            for x, y in zip(images.split(together), labels.split(together), strict=True)
        ]
        found = torch.cat(parts)
    else:
        windows, strides = (images.shape[1], WINDOW, WINDOW), (images.shape[1], STRIDE, STRIDE)
        found = attr.Occlusion(network).attribute(
            images, windows, strides, target=labels, perturbations_per_eval=max(chunk // len(images), 1)
        )
    return torch_twins.array_of(found)


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--images", type=int, default=64)
    options.add_argument("--chunks", type=int, nargs="*", default=[], help="evaluations at once to choose from")
    settings = options.parse_args()
    warnings.filterwarnings("ignore")  # captum warns of inputs without gradient

    model = models.create("convnet", num_classes=10, input_shape=SHAPE)
    variables = jax.jit(lambda: models.init(jax.random.key(0), model, SHAPE))()
    device = harness.torch_device()
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(settings.images, *SHAPE)).astype(np.float32)
    labels = rng.integers(10, size=settings.images).astype(np.int32)
    placed = jax.device_put((variables, images, labels))
    counted = costs.ModelCosts(model, SHAPE)
    for method, evaluations in EVALUATIONS.items():
        chunks = settings.chunks or CHUNKS[method]

        def prepared(memory_format: torch.memory_format) -> tuple[Any, ...]:
            network = torch_twins.twin(model, jax.device_get(variables), SHAPE, device, memory_format)
            given = torch_twins.images_of(images, device, memory_format), torch_twins.labels_of(labels, device)
            return network.requires_grad_(False), *given

        def tried(memory_format: torch.memory_format, method: str = method) -> None:
            network, x, y = prepared(memory_format)
            by_captum(network, method, 64, x[:4], y[:4])

        network, *given = prepared(torch_twins.fastest_format(tried))
        sides = {
            harness.OURS: {chunk: functools.partial(called, by_jsep(model, method, chunk), placed) for chunk in chunks},
            "captum": {chunk: functools.partial(by_captum, network, method, chunk, *given) for chunk in chunks},
        }
        chosen = {name: harness.fastest(runs) for name, runs in sides.items()}
        # Cleared, so that the first call of jsep includes compilation.
        jax.clear_caches()
        contenders = {name: sides[name][chunk] for name, chunk in chosen.items()}
        timings = harness.compare(contenders, repeats=settings.repeats, budget=settings.budget)
        ours, theirs = (np.asarray(timing.result) for timing in timings.values())
        cost = counted.forward if method == "occlusion" else counted.input_gradient
        record = harness.comparison(
            f"{method}, {evaluations} evaluations an image, ConvNet, {settings.images} images",
            timings,
            flops=settings.images * evaluations * cost,
            # SmoothGrad draws its own noise on each side: the maps agree up to that.
            agreement={"correlation": float(np.corrcoef(ours.ravel(), theirs[..., : ours.shape[-1]].ravel())[0, 1])},
            images=settings.images,
            evaluations_at_once=chosen,
        )
        harness.save(settings, method, record)


if __name__ == "__main__":
    main()
