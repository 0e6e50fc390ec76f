"""Explanations against captum 0.9, zennit and PAIR saliency on the same weights (the extra `oracle`).

Everything runs in float64 on both sides: what is compared is the method, not rounding; near-zero denominators of LRP
would amplify float32 rounding without bound.
"""

import types
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import explain, models
from jsep.explain.lime import grid_segments
from jsep.explain.lrp import LRP_COMPOSITES

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("float64")]

torch = pytest.importorskip("torch", reason="needs the extra: pip install -e '.[oracle]'")

LABEL = 1
TOLERANCE = 1e-6


def make_activation(name: str):
    # torch's softplus is linear beyond its threshold; 500 is below float64 there and does not overflow.
    return torch.nn.ReLU() if name == "relu" else torch.nn.Softplus(beta=10.0, threshold=500)


class Plus(torch.nn.Module):
    """A sum as a module, so that peers can give it a rule."""

    def forward(self, terms):
        return terms.sum(-1)


def import_zennit():
    """zennit, or None."""
    import torchvision_stand_in

    torchvision_stand_in.stand_in_for_torchvision()
    try:
        import zennit.layer
    except ImportError:
        return None
    return zennit


ZENNIT = import_zennit()


def plus_module():
    return ZENNIT.layer.Sum(dim=-1) if ZENNIT else Plus()


def conv_from(kernel, stride: int = 1, bias=None):
    kernel = np.array(kernel, np.float64)
    conv = torch.nn.Conv2d(
        kernel.shape[2], kernel.shape[3], kernel.shape[0], stride, kernel.shape[0] // 2, bias=bias is not None
    )
    conv.weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1).copy())
    if bias is not None:
        conv.bias.data = torch.tensor(np.array(bias, np.float64))
    return conv


def dense_from(params):
    kernel = np.array(params["kernel"], np.float64)
    dense = torch.nn.Linear(*kernel.shape)
    dense.weight.data, dense.bias.data = (
        torch.tensor(kernel.T.copy()),
        torch.tensor(np.array(params["bias"], np.float64)),
    )
    return dense


class TwinConvNet(torch.nn.Module):
    def __init__(self, variables, activation: str):
        super().__init__()
        params = variables["params"]
        layers = []
        for index in range(3):
            conv = params[f"Conv_{index}"]
            layers += [conv_from(conv["kernel"], 1 if index == 0 else 2, conv["bias"]), make_activation(activation)]
        self.features = torch.nn.Sequential(*layers)
        self.head = dense_from(params["head"])

    def forward(self, images):
        return self.head(self.features(images).permute(0, 2, 3, 1).flatten(1))


class TwinResNet(torch.nn.Module):
    """Blocks in the order of ours, with an activation module of its own at every place."""

    def __init__(self, variables, activation: str, stage_sizes):
        super().__init__()
        params, stats = variables["params"], variables["batch_stats"]
        count = iter(range(100))

        def conv_norm(stride: int = 1):
            # Folded by hand: zennit's own merging changes the network in the sixth digit, which LRP amplifies.
            index = next(count)
            trained, kept = params[f"BatchNorm_{index}"], stats[f"BatchNorm_{index}"]
            factor = trained["scale"] / np.sqrt(kept["var"] + 1e-5)
            bias = trained["bias"] - kept["mean"] * factor
            return conv_from(params[f"Conv_{index}"]["kernel"] * factor, stride, bias)

        self.stem, self.stem_act = conv_norm(), make_activation(activation)
        self.blocks = torch.nn.ModuleList()
        for stage, num_blocks in enumerate(stage_sizes):
            for block in range(num_blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                one = torch.nn.Module()
                one.first, one.act = conv_norm(stride), make_activation(activation)
                one.second = conv_norm()
                one.shortcut = conv_norm(stride) if stride > 1 else torch.nn.Identity()
                one.plus, one.end = plus_module(), make_activation(activation)
                self.blocks.append(one)
        self.pool = torch.nn.AdaptiveAvgPool2d(1)
        self.head = dense_from(params["head"])

    def forward(self, images):
        x = self.stem_act(self.stem(images))
        for one in self.blocks:
            y = one.second(one.act(one.first(x)))
            x = one.end(one.plus(torch.stack([one.shortcut(x), y], -1)))
        return self.head(self.pool(x).flatten(1))


class Pair(types.SimpleNamespace):
    """model_fn and variables, their twin, an image for both."""


@pytest.fixture(
    params=[
        "convnet softplus",
        "resnet18 relu",
        pytest.param("convnet relu", marks=pytest.mark.long),
        pytest.param("resnet18 softplus", marks=pytest.mark.long),
    ],
    scope="module",
)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    name, activation = request.param.split()
    with jax.enable_x64(True):
        model = models.create(name, num_classes=3, input_shape=(16, 16, 3), activation=activation)
        shapes = jax.eval_shape(lambda: models.init(jax.random.key(0), model, (16, 16, 3)))
        variables = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), oracles.random_variables(shapes))
        plain = jax.device_get(variables)
        twin = TwinConvNet(plain, activation) if name == "convnet" else TwinResNet(plain, activation, (2, 2, 2, 2))
        image = np.random.default_rng(0).uniform(0.1, 0.9, (16, 16, 3))
        twin = twin.double().eval()
        np.testing.assert_allclose(
            jax.jit(models.model_fn(model))(variables, image),
            twin(to_torch(image)).detach().numpy()[0],
            rtol=1e-9,
            atol=1e-9,
        )
        yield Pair(
            model_fn=models.model_fn(model),
            variables=variables,
            twin=twin,
            image=image,
            activation=activation,
            name=name,
        )


def to_torch(image):
    return torch.tensor(image.transpose(2, 0, 1)[None].copy()).requires_grad_()


def from_torch(saliency):
    return saliency.detach().numpy()[0].transpose(1, 2, 0)


def compiled(pair: Pair, fn):
    """fn(logits_fn, image) compiled, with the parameters an argument: as constants they would be folded, slowly."""
    with_parameters = jax.jit(lambda variables, z: fn(lambda y: pair.model_fn(variables, y), z))
    return jax.device_get(with_parameters(pair.variables, jnp.asarray(pair.image)))


def ours(pair: Pair, method: str, **options) -> np.ndarray:
    saliency = explain.method(method).saliency
    return compiled(pair, lambda logits_fn, z: saliency(logits_fn, z, LABEL, **options))


# captum.


def test_gradients_equal_captum(pair: Pair) -> None:
    import captum.attr

    x = to_torch(pair.image)
    gradient = captum.attr.Saliency(pair.twin).attribute(x, target=LABEL, abs=False)
    assert oracles.relative_error(ours(pair, "gradient"), from_torch(gradient)) < TOLERANCE
    product = captum.attr.InputXGradient(pair.twin).attribute(x, target=LABEL)
    assert oracles.relative_error(ours(pair, "gradient_x_input"), from_torch(product)) < TOLERANCE


def test_integrated_gradients_equal_captum(pair: Pair) -> None:
    import captum.attr

    peer = captum.attr.IntegratedGradients(pair.twin)
    for quadrature, method in (("gauss_legendre", "gausslegendre"), ("midpoint", "riemann_middle")):
        theirs, delta = peer.attribute(
            to_torch(pair.image), 0.2, target=LABEL, n_steps=12, method=method, return_convergence_delta=True
        )
        saliency, gap = compiled(
            pair,
            lambda logits_fn, z, q=quadrature: explain.integrated_gradients(
                logits_fn, z, LABEL, baseline=0.2, num_steps=12, quadrature=q, return_gap=True
            ),
        )
        assert oracles.relative_error(saliency, from_torch(theirs)) < TOLERANCE
        assert float(gap) == pytest.approx(float(delta), rel=1e-4, abs=1e-6)  # a difference of sums near 1


def test_guided_backprop_and_deconvnet_equal_captum(pair: Pair) -> None:
    import captum.attr

    theirs = from_torch(captum.attr.GuidedBackprop(pair.twin).attribute(to_torch(pair.image), target=LABEL))
    # On softplus networks too: the variant is named after what captum does there.
    assert oracles.relative_error(ours(pair, "guided_backprop_captum"), theirs) < TOLERANCE
    if pair.activation == "relu":
        assert oracles.relative_error(ours(pair, "guided_backprop"), theirs) < TOLERANCE
        peer = captum.attr.Deconvolution(pair.twin)
        theirs = from_torch(peer.attribute(to_torch(pair.image), target=LABEL))
        assert oracles.relative_error(ours(pair, "deconvnet"), theirs) < TOLERANCE


@pytest.mark.parametrize(("window", "stride"), [pytest.param(4, 2, marks=pytest.mark.long), (5, 3)])
def test_occlusion_equals_captum(pair: Pair, window: int, stride: int) -> None:
    import captum.attr

    theirs = captum.attr.Occlusion(pair.twin).attribute(
        to_torch(pair.image), (3, window, window), (3, stride, stride), baselines=0.5, target=LABEL,
        perturbations_per_eval=16,
    )  # fmt: skip
    actual = ours(pair, "occlusion", window=window, stride=stride, baseline=0.5)
    for channel in range(3):
        assert oracles.relative_error(actual[..., 0], from_torch(theirs)[..., channel]) < TOLERANCE


def test_lime_equals_captum_on_the_same_samples(pair: Pair) -> None:
    import captum.attr
    from captum._utils.models.linear_model import SkLearnRidge

    key, num_samples, num_segments = jax.random.key(3), 60, 16
    present = np.array(jax.random.bernoulli(key, 0.5, (num_samples, num_segments)), np.float32)
    present[0] = 1
    samples = iter(torch.tensor(present))

    def similarity(image, perturbed, kept, **_):
        distance = 1 - np.sqrt(float(kept.double().mean()))  # of the cosine with the vector of ones
        return torch.tensor(np.exp(-((distance / 0.4) ** 2)))

    peer = captum.attr.Lime(
        pair.twin,
        interpretable_model=SkLearnRidge(alpha=0.7),
        similarity_func=similarity,
        perturb_func=lambda image, **_: next(samples)[None],
    )
    segments = grid_segments((16, 16), 4)
    theirs = peer.attribute(
        to_torch(pair.image).detach(), 0.5, LABEL, feature_mask=torch.tensor(segments)[None, None],
        n_samples=num_samples,
    )  # fmt: skip
    actual = compiled(
        pair,
        lambda logits_fn, z: explain.lime(
            logits_fn, z, LABEL, key=key, num_samples=num_samples, kernel_width=0.4, ridge=0.7, baseline=0.5
        ),
    )
    # The peer solves in float32.
    assert oracles.relative_error(actual[..., 0], from_torch(theirs)[..., 0]) < 1e-4


@pytest.mark.parametrize("label", [0, *(pytest.param(label, marks=pytest.mark.long) for label in (1, 2))])
def test_grad_cam_equals_captum(pair: Pair, label: int) -> None:
    import captum.attr

    layer = pair.twin.features if pair.name == "convnet" else pair.twin.blocks[-1].end
    low = captum.attr.LayerGradCam(pair.twin, layer).attribute(to_torch(pair.image), label, relu_attributions=True)
    theirs = torch.nn.functional.interpolate(low, (16, 16), mode="bilinear", align_corners=False)
    actual = compiled(pair, lambda logits_fn, z: explain.grad_cam(logits_fn, z, label))
    np.testing.assert_allclose(actual, from_torch(theirs), rtol=TOLERANCE, atol=1e-9)


# PAIR saliency.


class PairModel:
    """The function that the package asks for."""

    def __init__(self, twin):
        self.twin = twin

    def __call__(self, images, call_model_args=None, expected_keys=None):
        import saliency.core as peer

        x = torch.tensor(np.asarray(images).transpose(0, 3, 1, 2).copy()).requires_grad_()
        score = self.twin(x)[:, LABEL]
        if peer.base.OUTPUT_LAYER_VALUES in expected_keys:
            return {peer.base.OUTPUT_LAYER_VALUES: score.detach().numpy()}
        (gradient,) = torch.autograd.grad(score.sum(), x)
        return {peer.base.INPUT_OUTPUT_GRADIENTS: gradient.numpy().transpose(0, 2, 3, 1)}


def test_smooth_grad_equals_pair_saliency_on_the_same_noise(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = pytest.importorskip("saliency.core")
    key, sigma, num_samples = jax.random.key(5), 0.1, 6
    noises = iter(
        [sigma * np.asarray(jax.random.normal(k, pair.image.shape)) for k in jax.random.split(key, num_samples)] * 2
    )
    monkeypatch.setattr(np.random, "normal", lambda *_: next(noises))
    for magnitude, method in ((False, explain.smooth_grad), (True, explain.smooth_grad_squared)):
        theirs = peer.GradientSaliency().GetSmoothedMask(
            pair.image, PairModel(pair.twin), nsamples=num_samples, magnitude=magnitude
        )
        actual = compiled(
            pair, lambda logits_fn, z, m=method: m(logits_fn, z, LABEL, key=key, sigma=sigma, num_samples=num_samples)
        )
        assert oracles.relative_error(actual, theirs) < 1e-5  # the peer adds up in float32


def test_occlusion_equals_pair_saliency(pair: Pair) -> None:
    peer = pytest.importorskip("saliency.core")
    theirs = peer.Occlusion().GetMask(pair.image, PairModel(pair.twin), size=13)
    # The peer adds the windows up; ours is their mean.
    count = sum(
        np.pad(np.ones((13, 13)), ((row, 3 - row), (column, 3 - column))) for row in range(4) for column in range(4)
    )
    actual = ours(pair, "occlusion", window=13, stride=1)[..., 0] * count
    assert oracles.relative_error(actual, theirs[..., 0]) < TOLERANCE


# zennit.


def zennit_relevance(pair: Pair, composite: str, epsilon: float, gamma: float) -> np.ndarray:
    import zennit.composites
    import zennit.layer
    import zennit.rules

    rules = {
        "epsilon": lambda: zennit.rules.Epsilon(epsilon=epsilon),
        "gamma": lambda: zennit.rules.Gamma(gamma=gamma, stabilizer=epsilon),
        "z_plus": lambda: zennit.rules.ZPlus(stabilizer=epsilon),
        "flat": lambda: zennit.rules.Flat(stabilizer=epsilon),
    }
    first, convolution, dense = LRP_COMPOSITES[composite]
    norm = zennit.rules.Norm(stabilizer=epsilon)
    peer = zennit.composites.SpecialFirstLayerMapComposite(
        layer_map=[
            ((torch.nn.ReLU, torch.nn.Softplus), zennit.rules.Pass()),
            ((torch.nn.AdaptiveAvgPool2d, zennit.layer.Sum), norm),
            ((torch.nn.Conv2d,), rules[convolution]()),
            ((torch.nn.Linear,), rules[dense]()),
        ],
        first_map=[((torch.nn.Conv2d,), rules[first]())],
    )
    with peer.context(pair.twin) as twin:
        x = to_torch(pair.image)
        logits = twin(x)
        start = torch.zeros_like(logits)
        start[0, LABEL] = logits[0, LABEL].detach()
        (relevance,) = torch.autograd.grad(logits, x, start)
    return from_torch(relevance)


@pytest.mark.skipif(ZENNIT is None, reason="needs zennit of the extra oracle")
@pytest.mark.parametrize("composite", LRP_COMPOSITES)
def test_lrp_equals_zennit(pair: Pair, composite: str) -> None:
    epsilon = 1e-3
    theirs = zennit_relevance(pair, composite, epsilon, 0.25)
    actual = compiled(pair, lambda logits_fn, z: explain.lrp(logits_fn, z, LABEL, composite=composite, epsilon=epsilon))
    assert np.abs(theirs).max() > 0
    assert oracles.relative_error(actual, theirs) < 1e-5
