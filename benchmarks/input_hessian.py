"""20 Lanczos steps of the input Hessian of the explanation loss, against double and triple backward passes in PyTorch.

python benchmarks/input_hessian.py --images 64 --chunk 16

The loss of a Gradient x Input map is a second derivative of the network, its gradient a third, and a product with its
Hessian is one more. Both sides linearise the gradient once and then only multiply by vectors.
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

from jsep import evaluate, explain, landscape, models
from jsep.study import costs

SHAPE = (32, 32, 3)


def by_jsep(model: models.Classifier, num_matvecs: int, chunk: int) -> Callable[..., Any]:
    """Compiled: (variables, images, targets) -> the eigenvalue of largest magnitude of each image (B,)."""
    model_fn = models.model_fn(model)

    def one(variables: Any, key: Any, image: jax.Array, target: jax.Array) -> jax.Array:
        logits_fn = functools.partial(model_fn, variables)
        map_fn = explain.make_map_fn("gradient_x_input", logits_fn, jnp.argmax(logits_fn(image)))
        loss = landscape.explanation_loss_to(map_fn, map_fn(target))
        return landscape.top_eigenvalues(key, loss, image, num_eigenvalues=1, num_matvecs=num_matvecs)[0][0]

    @jax.jit
    def run(variables: Any, images: jax.Array, targets: jax.Array) -> jax.Array:
        keys = jax.random.split(jax.random.key(0), len(images))
        return jax.lax.map(lambda row: one(variables, *row), (keys, images, targets), batch_size=chunk)

    return run


def by_torch(network: torch.nn.Module, num_matvecs: int, images: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """The same for a batch of independent images, with full reorthogonalisation of the Lanczos vectors."""
    images = images.detach().requires_grad_(True)
    with torch.no_grad():
        labels = network(images).argmax(1)
    goals = torch_twins.maps_of(network, targets.detach().requires_grad_(True), labels).detach()
    loss = (torch_twins.maps_of(network, images, labels) - goals).square().mean((1, 2)).sum()
    (gradient,) = torch.autograd.grad(loss, images, create_graph=True)

    def matvec(vectors: torch.Tensor) -> torch.Tensor:
        (product,) = torch.autograd.grad(gradient, images, vectors.view_as(images), retain_graph=True)
        return product.reshape(len(images), -1)

    vector = torch.randn(len(images), images[0].numel(), device=images.device)
    vector = vector / vector.norm(dim=1, keepdim=True)
    basis, diagonal, off_diagonal = [vector], [], []
    for step in range(num_matvecs):
        product = matvec(basis[-1])
        diagonal.append((product * basis[-1]).sum(1))
        if step == num_matvecs - 1:
            break
        done = torch.stack(basis, 1)
        for _ in range(2):
            product = product - torch.einsum("bmn,bm->bn", done, torch.einsum("bmn,bn->bm", done, product))
        off_diagonal.append(product.norm(dim=1))
        basis.append(product / off_diagonal[-1][:, None])
    tridiagonal = torch.diag_embed(torch.stack(diagonal, 1))
    sides = torch.stack(off_diagonal, 1)
    tridiagonal = tridiagonal + torch.diag_embed(sides, 1) + torch.diag_embed(sides, -1)
    values = torch.linalg.eigvalsh(tridiagonal)
    return torch_twins.array_of(values.gather(1, values.abs().argmax(1, keepdim=True))[:, 0])


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--images", type=int, default=64)
    options.add_argument("--matvecs", type=int, default=20)
    options.add_argument("--chunk", type=int, default=16, help="images in memory at once, on both sides")
    settings = options.parse_args()

    model = models.create("convnet", num_classes=10, input_shape=SHAPE)
    variables = jax.jit(lambda: models.init(jax.random.key(0), model, SHAPE))()
    device = harness.torch_device()
    images, targets = np.random.default_rng(0).uniform(size=(2, settings.images, *SHAPE)).astype(np.float32)
    run, placed = by_jsep(model, settings.matvecs, settings.chunk), jax.device_put((variables, images, targets))

    def prepared(memory_format: torch.memory_format) -> tuple[torch.nn.Module, list[torch.Tensor]]:
        network = torch_twins.twin(model, jax.device_get(variables), SHAPE, device, memory_format)
        given = [torch_twins.images_of(x, device, memory_format) for x in (images, targets)]
        return network.requires_grad_(False), given

    def tried(memory_format: torch.memory_format) -> None:
        network, given = prepared(memory_format)
        by_torch(network, 3, *(x[: settings.chunk] for x in given))

    network, given = prepared(torch_twins.fastest_format(tried))

    def in_parts() -> np.ndarray:
        parts = zip(*(x.split(settings.chunk) for x in given), strict=True)
        return np.concatenate([by_torch(network, settings.matvecs, *part) for part in parts])

    contenders: dict[str, harness.Contender] = {
        harness.OURS: lambda: np.asarray(run(*placed)),
        "torch, triple backward": in_parts,
    }
    timings = harness.compare(contenders, repeats=settings.repeats, budget=settings.budget)
    ours, theirs = (timing.result for timing in timings.values())
    counted = costs.ModelCosts(model, SHAPE)
    record = harness.comparison(
        f"{settings.matvecs} Lanczos steps, ConvNet, {settings.images} images, {settings.chunk} at once",
        timings,
        # A Hessian-vector product costs about as much as the gradient.
        flops=settings.images * (settings.matvecs + 1) * counted.map_gradient(evaluate.ExplanationAttackConfig()),
        agreement={
            "median relative difference of the largest eigenvalue": float(np.median(np.abs(ours / theirs - 1))),
            "largest eigenvalue, jsep": float(np.median(ours)),
            "largest eigenvalue, torch": float(np.median(theirs)),
        },
        images=settings.images,
        matvecs=settings.matvecs,
        chunk=settings.chunk,
    )
    harness.save(settings, "input_hessian", record)


if __name__ == "__main__":
    main()
