"""PyTorch modules in JAX against PyTorch itself, captum and zennit (the extra `oracle`)."""

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import attack, explain, models
from jsep.checks import InputError

# captum warns of gradients that it sets, PyTorch of what it deprecates.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

torch = pytest.importorskip("torch", reason="needs the extra: pip install -e '.[oracle]'")
nn = torch.nn

SHAPE = (16, 16, 3)
IMAGE = np.random.default_rng(0).uniform(0.05, 0.95, SHAPE).astype(np.float32)
LABEL = 1
TOLERANCE = 1e-4


class Residual(nn.Module):
    """One activation in place for two uses, a shortcut by a convolution or none, as in ResNets."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(inputs, outputs, 3, stride, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.norm, self.activation = nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if inputs != outputs else nn.Identity()

    def forward(self, x: Any) -> Any:
        y = self.norm(self.second(self.activation(self.norm(self.first(x)))))
        y += self.shortcut(x)
        return self.activation(y)


class Squeezed(nn.Module):
    """Depthwise convolution, squeeze and excitation, a layer scale and normalised channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(8, 8, 7, padding=3, groups=8), nn.LayerNorm(8)
        gate = (nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.SiLU(), nn.Conv2d(2, 8, 1), nn.Sigmoid())
        self.gate = nn.Sequential(*gate)
        self.mix, self.scale = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)), nn.Parameter(torch.ones(8))

    def forward(self, x: Any) -> Any:
        y = self.mix(self.norm(self.depthwise(x).permute(0, 2, 3, 1))) * self.scale
        return x + self.gate(x) * y.permute(0, 3, 1, 2)


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.zeros(1, 1, 16))
        self.place = nn.Parameter(torch.randn(1, 17, 16) / 10)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, 0.1, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Any) -> Any:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.place
        return self.head(self.block(x)[:, 0])


def odd() -> Any:
    """Grouped and dilated convolutions, uneven adaptive pooling, normalised groups, activations in place."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4),
        nn.GroupNorm(2, 8), nn.LeakyReLU(inplace=True), nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d((3, 5)),
        nn.Dropout(0.2), nn.Flatten(), nn.Linear(120, 4),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], Any]] = {
    "residual": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3), Residual(6, 6, 1), Residual(6, 8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    ),
    "odd": odd,
    "squeezed": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 2, 2), Squeezed(), nn.AvgPool2d(2), nn.Flatten(1), nn.Linear(128, 4)
    ),
    "transformer": Transformer,
}


def network(name: str) -> Any:
    torch.manual_seed(0)
    found = NETWORKS[name]()
    for layer in found.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return found.eval()


def to_torch(image: np.ndarray) -> Any:
    return torch.tensor(image.transpose(2, 0, 1)[None].copy()).requires_grad_()


def from_torch(saliency: Any) -> np.ndarray:
    return saliency.detach().numpy()[0].transpose(1, 2, 0)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_gradients_equal_those_of_pytorch_and_captum(name: str) -> None:
    import captum.attr

    theirs, x = network(name), to_torch(IMAGE)
    logits_fn = models.wrap(theirs, input_shape=SHAPE)
    model_fn, variables = models.split_variables(logits_fn)
    logits = jax.jit(model_fn)(variables, IMAGE)
    assert oracles.relative_error(logits, theirs(x)[0].detach().numpy()) < TOLERANCE

    def of(method: Callable[..., Any], **options: Any) -> np.ndarray:
        return np.asarray(jax.jit(lambda v, z: method(lambda y: model_fn(v, y), z, LABEL, **options))(variables, IMAGE))

    gradient = captum.attr.Saliency(theirs).attribute(x, target=LABEL, abs=False)
    assert oracles.relative_error(of(explain.gradient), from_torch(gradient)) < TOLERANCE
    peer = captum.attr.IntegratedGradients(theirs)
    integrated = peer.attribute(x, 0.2, target=LABEL, n_steps=8, method="gausslegendre")
    found = of(explain.integrated_gradients, baseline=0.2, num_steps=8, quadrature="gauss_legendre")
    assert oracles.relative_error(found, from_torch(integrated)) < TOLERANCE


def test_guided_backprop_and_lrp_equal_captum_and_zennit_where_they_support_the_network() -> None:
    import captum.attr
    import torchvision_stand_in

    torchvision_stand_in.stand_in_for_torchvision()
    import zennit.composites
    import zennit.rules

    torch.manual_seed(0)
    theirs = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, groups=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4),
    ).eval()  # fmt: skip
    logits_fn = models.wrap(theirs, input_shape=SHAPE)
    guided = captum.attr.GuidedBackprop(theirs).attribute(to_torch(IMAGE), target=LABEL)
    assert oracles.relative_error(explain.guided_backprop(logits_fn, IMAGE, LABEL), from_torch(guided)) < TOLERANCE
    epsilon = 1e-3
    rules = [
        ((nn.ReLU,), zennit.rules.Pass()),
        ((nn.Conv2d, nn.Linear), zennit.rules.Epsilon(epsilon=epsilon)),
        ((nn.AdaptiveAvgPool2d,), zennit.rules.Norm(stabilizer=epsilon)),
    ]
    with zennit.composites.LayerMapComposite(layer_map=rules).context(theirs) as twin:
        x = to_torch(IMAGE)
        logits = twin(x)
        start = torch.zeros_like(logits)
        start[0, LABEL] = logits[0, LABEL].detach()
        (relevance,) = torch.autograd.grad(logits, x, start)
    found = explain.lrp(logits_fn, IMAGE, LABEL, composite="epsilon", epsilon=epsilon)
    assert oracles.relative_error(found, from_torch(relevance)) < 1e-3  # float32, and denominators near zero


@pytest.mark.parametrize("name", NETWORKS)
def test_methods_that_look_inside_find_the_layers(name: str) -> None:
    logits_fn = models.wrap(network(name), input_shape=SHAPE)
    if name == "squeezed":
        with pytest.raises(InputError, match="no rule for the primitive 'mul' of 2 values"):
            explain.lrp(logits_fn, IMAGE, LABEL)
    relevance = [] if name == "squeezed" else [explain.lrp(logits_fn, IMAGE, LABEL)]
    for saliency in (*relevance, explain.guided_backprop(logits_fn, IMAGE, LABEL)):
        assert np.isfinite(saliency).all()
        assert np.abs(saliency).max() > 1e-4
    if name == "transformer":
        assert explain.attention_rollout(logits_fn, IMAGE, LABEL).shape == (16, 16, 1)
    else:
        assert explain.grad_cam(logits_fn, IMAGE, LABEL).shape == (16, 16, 1)


def test_attacks_run_compiled_on_a_pytorch_module() -> None:
    logits_fn = models.wrap(network("squeezed"), input_shape=SHAPE)
    model_fn, variables = models.split_variables(logits_fn)

    @jax.jit
    def attacked(variables, image, other):
        def its_logits_fn(z):
            return model_fn(variables, z)

        def map_fn(z):
            return explain.explanation_map(explain.gradient_x_input(its_logits_fn, z, LABEL))

        settings = {"num_steps": 20, "learning_rate": 5e-3, "map_weight": 1e6, "output_weight": 1.0}
        target = map_fn(other)
        found, _ = attack.attack_explanation(
            jax.random.key(0), map_fn, its_logits_fn, image, target, epsilon=0.1, **settings
        )
        return found, jnp.mean((map_fn(image) - target) ** 2), jnp.mean((map_fn(found) - target) ** 2)

    found, before, after = attacked(variables, IMAGE, IMAGE[::-1])
    assert float(jnp.abs(found - IMAGE).max()) <= 0.1 + 1e-6
    assert after < 0.9 * before
    images = np.random.default_rng(2).uniform(0, 1, (6, *SHAPE)).astype(np.float32)
    labels = np.asarray(jax.vmap(logits_fn)(images)).argmax(axis=1)
    version = attack.AutoAttackConfig(num_steps=10, num_queries=20)
    adversarial, info = attack.auto_attack(jax.random.key(1), logits_fn, images, labels, epsilon=0.1, version=version)
    assert info.clean_correct.all()
    # PyTorch itself judges what broke its module.
    theirs = network("squeezed")(torch.tensor(adversarial.transpose(0, 3, 1, 2).copy())).argmax(1).numpy()
    np.testing.assert_array_equal(theirs != labels, info.success)
    assert info.success.any()


class Random(nn.Module):
    def forward(self, x: Any) -> Any:
        return nn.functional.dropout(x.flatten(1)[:, :4], 0.5, training=True)


class Unknown(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.special.airy_ai(x.flatten(1)[:, :4])


def test_what_cannot_be_converted_is_told_with_its_layer() -> None:
    with pytest.raises(InputError, match=r"its layer '1\.0', Unknown, uses an operator that torchax lacks .*airy_ai"):
        models.wrap(nn.Sequential(nn.Identity(), nn.Sequential(Unknown())), input_shape=SHAPE)
    with pytest.raises(InputError, match=r"fails in its layer '1', Linear, .*"):
        models.wrap(nn.Sequential(nn.Flatten(), nn.Linear(5, 4)), input_shape=SHAPE)
    averaging = nn.AvgPool2d(3, 2, 1, ceil_mode=True)  # which torchax 0.0.13 computes wrongly
    with pytest.raises(InputError, match=r"logits differ by .*: torchax computes another output of the layer '0', Avg"):
        models.wrap(nn.Sequential(averaging, nn.Flatten(), nn.Linear(243, 4)), input_shape=SHAPE)
    with pytest.raises(InputError, match="draws random numbers in evaluation mode"):
        models.wrap(Random(), input_shape=SHAPE)
    statistics = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten(), nn.Linear(768, 4))
    with pytest.raises(InputError, match="statistics of the batch"):
        models.wrap(statistics, input_shape=SHAPE)


def test_module_of_the_caller_stays_as_it_is() -> None:
    module = network("residual").train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    models.wrap(module, input_shape=SHAPE)(IMAGE)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules())


def test_modules_of_other_precisions_and_in_parallel_are_taken_and_compiled_ones_refused() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    # As DataParallel holds it; beside torchax none can be made.
    parallel = type("DataParallel", (nn.Module,), {})()
    parallel.module = module.eval()
    expected = models.wrap(module, input_shape=SHAPE)(IMAGE)
    for other in (copy.deepcopy(module).double(), parallel):
        np.testing.assert_allclose(models.wrap(other, input_shape=SHAPE)(IMAGE), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="compiled or scripted"):
        models.wrap(torch.jit.script(module), input_shape=SHAPE)
