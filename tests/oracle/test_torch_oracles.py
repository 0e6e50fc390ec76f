"""Against independent implementations on the same weights: PyTorch, captum and foolbox (the extra `oracle`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import attack, evaluate, explain, models, train
from jsep.data import load

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

torch = pytest.importorskip("torch", reason="needs the extra: pip install -e '.[oracle]'")


class TorchConvNet(torch.nn.Module):
    """The ConvNet written in PyTorch, with the parameters of ours."""

    def __init__(self, params, mean, std, beta=10.0):
        super().__init__()
        self.mean, self.std = (torch.tensor(v).reshape(1, -1, 1, 1) for v in (mean, std))
        self.convs = torch.nn.ModuleList()
        for index in range(3):
            kernel = np.asarray(params[f"Conv_{index}"]["kernel"])
            conv = torch.nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, stride=1 if index == 0 else 2, padding=1)
            conv.weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1))
            conv.bias.data = torch.tensor(np.asarray(params[f"Conv_{index}"]["bias"]))
            self.convs.append(conv)
        kernel = np.asarray(params["head"]["kernel"])
        self.head = torch.nn.Linear(*kernel.shape)
        self.head.weight.data = torch.tensor(kernel.T)
        self.head.bias.data = torch.tensor(np.asarray(params["head"]["bias"]))
        self.act = torch.nn.Softplus(beta=beta)  # linear where the difference is below float32

    def forward(self, images):
        x = (images - self.mean) / self.std
        for conv in self.convs:
            x = self.act(conv(x))
        return self.head(x.permute(0, 2, 3, 1).flatten(1))


def to_torch(images):
    return torch.tensor(np.asarray(images).transpose(0, 3, 1, 2))


def from_torch(images):
    return images.detach().numpy().transpose(0, 2, 3, 1)


@pytest.fixture(scope="module")
def networks():
    """A ConvNet trained a little on the digits, its twin, and 40 test images."""
    digits = load("digits", split="train")
    model = models.create("convnet", num_classes=10, input_shape=(8, 8, 1), mean=digits.info.mean, std=digits.info.std)
    config = train.TrainConfig(
        objective="standard", epochs=4, batch_size=64, optimizer=train.OptimizerConfig("adamw", 3e-3, "constant")
    )
    variables = train.fit(jax.random.key(0), model, digits, config).variables
    twin = TorchConvNet(jax.device_get(variables["params"]), digits.info.mean, digits.info.std)
    test = load("digits", split="test")
    return models.logits_fn(model, variables), twin, test.images[:40], test.labels[:40]


def relative_difference(ours, theirs):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def test_logits_equal_pytorch(networks):
    logits_fn, twin, images, _ = networks
    assert relative_difference(jax.vmap(logits_fn)(images), twin(to_torch(images)).detach().numpy()) < 1e-5


@pytest.mark.parametrize("name", ["gradient", "gradient_x_input"])
def test_saliency_equals_captum(networks, name):
    attribution = pytest.importorskip("captum.attr")
    logits_fn, twin, images, labels = networks
    ours = jax.vmap(lambda x, y: explain.METHODS[name].saliency(logits_fn, x, y))(images, labels)
    inputs, targets = to_torch(images).requires_grad_(), torch.tensor(labels).long()
    if name == "gradient":
        theirs = attribution.Saliency(twin).attribute(inputs, targets, abs=False)
    else:
        theirs = attribution.InputXGradient(twin).attribute(inputs, targets)
    assert relative_difference(ours, from_torch(theirs)) < 1e-4


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_equals_foolbox(networks, norm):
    foolbox = pytest.importorskip("foolbox")
    logits_fn, twin, images, labels = networks
    epsilon, alpha, steps = (0.15, 0.03, 10) if norm == "linf" else (1.0, 0.2, 10)
    ours = jax.vmap(
        lambda x, y: attack.pgd(
            jax.random.key(0), attack.cross_entropy(logits_fn, y), x,
            norm=norm, epsilon=epsilon, alpha=alpha, num_steps=steps, random_start=False,
        )[0]
    )(images, labels)  # fmt: skip
    kind = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
    peer = kind(abs_stepsize=alpha, steps=steps, random_start=False)
    model = foolbox.PyTorchModel(twin.eval(), bounds=(0, 1))
    _, theirs, broken = peer(model, to_torch(images), torch.tensor(labels).long(), epsilons=epsilon)
    robust = jnp.argmax(jax.vmap(logits_fn)(ours), axis=1) == labels
    assert np.mean(np.asarray(robust) == ~broken.numpy()) >= 0.975  # at most one image on the edge
    loss = jax.vmap(lambda x, y: attack.cross_entropy(logits_fn, y)(x))
    # A sign of a gradient at rounding error may differ and lead elsewhere; the losses reached must agree.
    np.testing.assert_allclose(
        np.median(loss(ours, labels)), np.median(loss(jnp.asarray(from_torch(theirs)), labels)), rtol=0.01
    )


def torch_map(twin, image, label, create_graph):
    """The published map: |x * grad| summed over channels, divided by its sum."""
    gradient = torch.autograd.grad(twin(image)[0, label], image, create_graph=create_graph)[0]
    saliency = (image * gradient).abs().sum(1)[0]
    return saliency / saliency.sum()


def torch_attack(twin, image, target_map, *, steps, learning_rate, map_weight, output_weight, epsilon):
    """The published loop: one image, Adam, clamp after every step; here with a ball as well."""
    clean_logits = twin(image).detach()
    clean_output, label = clean_logits.softmax(1), int(clean_logits.argmax())
    candidate = image.clone().requires_grad_()
    optimizer = torch.optim.Adam([candidate], lr=learning_rate)
    best = float("inf")
    for step in range(steps + 1):
        map_loss = ((torch_map(twin, candidate, label, create_graph=True) - target_map) ** 2).mean()
        logits = twin(candidate)
        if int(logits.argmax()) == label:
            best = min(best, float(map_loss))
        if step == steps:
            return best
        loss = map_weight * map_loss + output_weight * ((logits.softmax(1) - clean_output) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            candidate.copy_(torch.max(torch.min(candidate, image + epsilon), image - epsilon).clamp(0, 1))


def test_explanation_attack_equals_the_published_loop_in_pytorch(networks):
    logits_fn, twin, images, _ = networks
    settings = {"learning_rate": 3e-3, "map_weight": 1e4, "output_weight": 1.0, "epsilon": 0.15}
    victims, targets = images[:10], images[10:20]

    def ours(victim, target):
        def map_fn(image):
            label = jnp.argmax(logits_fn(image))
            return explain.make_map_fn("gradient_x_input", logits_fn, label)

        manipulated, _ = attack.attack_explanation(
            jax.random.key(0), map_fn(victim), logits_fn, victim, map_fn(target)(target), num_steps=100, **settings
        )
        return evaluate.explanation_loss(map_fn(victim)(manipulated), map_fn(target)(target))

    reached = np.asarray(jax.vmap(ours)(victims, targets))
    theirs = []
    for victim, target in zip(to_torch(victims), to_torch(targets), strict=True):
        target = target[None].clone().requires_grad_()
        target_map = torch_map(twin, target, int(twin(target).argmax()), create_graph=False).detach()
        theirs.append(torch_attack(twin, victim[None], target_map, steps=100, **settings))
    # Trajectories of 100 sign-like Adam steps part at rounding error; what they reach must not.
    np.testing.assert_allclose(reached.mean(), np.mean(theirs), rtol=0.05)
    np.testing.assert_allclose(reached, theirs, rtol=0.25)


def test_sep_gradient_equals_pytorch_double_backward(networks):
    """The parameter gradient of the SEP term, by three routes."""
    _, twin, images, labels = networks
    digits = load("digits", split="test")
    model = models.create("convnet", num_classes=10, input_shape=(8, 8, 1), mean=digits.info.mean, std=digits.info.std)
    params = {
        **{
            f"Conv_{i}": {
                "kernel": jnp.asarray(conv.weight.detach().numpy().transpose(2, 3, 1, 0)),
                "bias": jnp.asarray(conv.bias.detach().numpy()),
            }
            for i, conv in enumerate(twin.convs)
        },
        "head": {
            "kernel": jnp.asarray(twin.head.weight.detach().numpy().T),
            "bias": jnp.asarray(twin.head.bias.detach().numpy()),
        },
    }
    key, model_fn = jax.random.key(1), models.model_fn(model)
    batch, classes = jnp.asarray(images[:8]), jnp.asarray(labels[:8])
    noises = jax.vmap(lambda k: train.draw_noise(k, train.SepConfig(), (8, 8, 1)))(jax.random.split(key, 8))
    total = 0
    for image, noise, label in zip(to_torch(batch), to_torch(noises), labels[:8], strict=True):
        maps = [
            torch_map(twin, point[None].clone().requires_grad_(), int(label), create_graph=True)
            for point in (image, image + noise)
        ]
        total = total + ((maps[1] - maps[0]) ** 2).mean() / 8
    theirs = torch.autograd.grad(total, [twin.convs[0].weight, twin.convs[2].weight, twin.head.weight])
    for gradient in train.GRADIENTS:
        config = train.SepConfig(gradient=gradient)
        value, ours = jax.value_and_grad(
            lambda p, c=config: train.batch_penalty(key, c, model_fn, {"params": p}, batch, classes)
        )(params)
        assert float(value) == pytest.approx(float(total), rel=1e-4)
        assert relative_difference(ours["Conv_0"]["kernel"].transpose(3, 2, 0, 1), theirs[0]) < 1e-3
        assert relative_difference(ours["Conv_2"]["kernel"].transpose(3, 2, 0, 1), theirs[1]) < 1e-3
        assert relative_difference(ours["head"]["kernel"].T, theirs[2]) < 1e-3
