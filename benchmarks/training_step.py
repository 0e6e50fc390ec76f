"""Steps of adversarial training (MAT, 10 PGD steps and the update), and of MAT with SEP, compared with PyTorch.

python benchmarks/training_step.py --model convnet --batch 128 --steps 5
python benchmarks/training_step.py --model resnet18 --batch 8 --sep

Training runs all steps between two lines of its log in one call, so a call here is `--steps` steps; every contender
is synchronised once per call. Allocating a call's temporary memory alone took 3 to 5 % of the time of one ConvNet step.
The PyTorch code is idiomatic: the faster memory format, no parameter gradients and evaluation-mode batch normalisation
during the attack, an SGD that updates all parameters at once; then the same through torch.compile. Compiled code cannot
be differentiated twice, so the SEP term, a double backward pass, stays eager in both.
"""

import functools

import harness  # before JAX
import jax
import numpy as np
import torch
import torch_twins

from jsep import models, train
from jsep.study import costs

SHAPE = (32, 32, 3)
EPSILON, ALPHA, STEPS = 8 / 255, 2 / 255, 10
LEARNING_RATE, NOISE, SEP_WEIGHT = 1e-4, 0.1, 3000.0


class Ours:
    """Successive steps on one batch; a call makes `steps` of them and returns their mean loss."""

    def __init__(self, model, images, labels, sep: bool, precision: str, steps: int) -> None:
        self.config = train.TrainConfig(
            epochs=1000,
            batch_size=len(images),
            optimizer=train.OptimizerConfig(learning_rate=LEARNING_RATE, schedule="constant"),
            attack=train.PgdConfig(epsilon=EPSILON, alpha=ALPHA, num_steps=STEPS),
            sep_weight=SEP_WEIGHT if sep else 0.0,
            precision=precision,
        )
        self.run_steps = train.make_run_steps(model, self.config, len(images))
        self.state = train.init_state(jax.random.key(0), model, SHAPE, self.config, len(images))
        self.variables = jax.device_get(self.state.variables)
        self.data = jax.device_put((images, labels, jax.random.key(1), self.config.weights()))
        self.steps, self.step = steps, 0

    def __call__(self) -> float:
        self.step += self.steps
        self.state, sums, _ = self.run_steps(self.state, *self.data, np.int32(self.step))
        jax.block_until_ready(self.state)
        return float(sums["loss"]) / self.steps


class Theirs:
    """The same steps in PyTorch."""

    def __init__(
        self, model, variables, images, labels, sep: bool, precision: str, steps: int, is_compiled: bool, memory_format
    ) -> None:
        device = harness.torch_device()
        self.network = torch_twins.twin(model, variables, SHAPE, device, memory_format)
        self.run_network = torch.compile(self.network) if is_compiled else self.network
        self.images = torch_twins.images_of(images, device, memory_format)
        self.labels = torch_twins.labels_of(labels, device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=5e-4, foreach=True
        )
        self.sep, self.steps = sep, steps
        # As in jsep: parameters stay in float32, and the forward and backward passes are in lower precision.
        self.autocast = functools.partial(
            torch.autocast, device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"
        )

    def attacked(self) -> torch.Tensor:
        self.network.eval().requires_grad_(False)
        x = (self.images + torch.empty_like(self.images).uniform_(-EPSILON, EPSILON)).clamp_(0, 1)
        low, high = (self.images - EPSILON).clamp_(0, 1), (self.images + EPSILON).clamp_(0, 1)
        for _ in range(STEPS):
            x.requires_grad_(True)
            loss = torch.nn.functional.cross_entropy(self.run_network(x), self.labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, x)
            with torch.no_grad():
                x = torch.minimum(torch.maximum(x.add(gradient.sign_(), alpha=ALPHA), low), high)
        self.network.requires_grad_(True)
        return x.detach()

    def __call__(self) -> float:
        with self.autocast():
            total = sum(self.step() for _ in range(self.steps))
            return float(total) / self.steps  # float() synchronises

    def step(self) -> torch.Tensor:
        x = self.attacked()
        self.network.train()
        loss = torch.nn.functional.cross_entropy(self.run_network(x), self.labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        total = loss.detach()
        if self.sep:
            self.network.eval()
            clean = self.images.detach().requires_grad_(True)
            noisy = (self.images + NOISE * torch.randn_like(self.images)).requires_grad_(True)
            maps = [torch_twins.maps_of(self.network, z, self.labels) for z in (noisy, clean)]
            penalty = SEP_WEIGHT * (maps[0] - maps[1]).square().mean()
            penalty.backward()
            total = total + penalty.detach()
        self.optimizer.step()
        return total


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--model", default="convnet", choices=("convnet", "resnet18"))
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--sep", action="store_true", help="with the SEP term")
    options.add_argument("--steps", type=int, default=1, help="training steps in a call")
    options.add_argument("--precision", default="float32", choices=train.PRECISIONS, help="of the passes, on all sides")
    settings = options.parse_args()

    model = models.create(settings.model, num_classes=10, input_shape=SHAPE)
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(settings.batch, *SHAPE)).astype(np.float32)
    labels = rng.integers(10, size=settings.batch).astype(np.int32)
    ours = Ours(model, images, labels, settings.sep, settings.precision, settings.steps)

    def peer(memory_format: torch.memory_format, is_compiled: bool = False, batch: int | None = None) -> Theirs:
        data = images[:batch], labels[:batch]
        how = settings.precision, settings.steps if batch is None else 1, is_compiled, memory_format
        return Theirs(model, ours.variables, *data, settings.sep, *how)

    memory_format = torch_twins.fastest_format(lambda it: peer(it, batch=max(settings.batch // 4, 1))())
    peers = {"torch eager": peer(memory_format), "torch.compile": peer(memory_format, is_compiled=True)}
    logits = jax.jit(lambda variables, images: model.apply(variables, images))(ours.variables, images)
    with torch.no_grad():
        eager = peers["torch eager"]
        same = harness.difference(logits, torch_twins.array_of(eager.network(eager.images)))
    contenders = {harness.OURS: ours, **peers}
    flops = settings.steps * costs.ModelCosts(model, SHAPE).training_step(ours.config)
    timings = harness.compare(contenders, repeats=settings.repeats, budget=settings.budget)
    losses = {f"mean loss of the first call, {name}": timing.result for name, timing in timings.items()}
    term = " + SEP" if settings.sep else ""
    steps = f"MAT{term} step" if settings.steps == 1 else f"{settings.steps} MAT{term} steps"
    record = harness.comparison(
        f"{steps}, {settings.model}, batch {settings.batch}, {STEPS} PGD steps and the update",
        timings,
        flops=flops,
        precision=settings.precision,
        agreement={"difference of logits": same, **losses},
        model=settings.model,
        batch=settings.batch,
        sep=settings.sep,
        images_per_second=harness.significant(settings.steps * settings.batch / timings[harness.OURS].median),
    )
    harness.save(settings, f"{'sep' if settings.sep else 'mat'}_step_{settings.model}", record)


if __name__ == "__main__":
    main()
