"""Metrics against captum 0.9, Quantus 0.6 and scikit-image on the same maps, models and neighbours (extra `oracle`).

Where a peer is known to differ, the test says how, with numbers.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import evaluate, explain
from jsep.evaluate import faithfulness

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

torch = pytest.importorskip("torch", reason="needs the extra: pip install -e '.[oracle]'")

SHAPE = (7, 9, 1)
N = 63
LABEL = 1
KEY = jax.random.key(0)
MODEL = oracles.softplus_ridge(shape=SHAPE, num_classes=3)


@functools.cache
def quantus() -> Any:
    import torchvision_stand_in

    torchvision_stand_in.stand_in_for_torchvision()
    return pytest.importorskip("quantus")


class Double(torch.nn.Module):
    """Quantus hands models float32; what comes after it is float64."""

    def forward(self, x: Any) -> Any:
        return x.double()


def twin() -> Any:
    """The ridge model in PyTorch, over (B, 1, H, W); the activations are the layer "3"."""
    units, classes = len(MODEL.directions), len(MODEL.bias)
    net = torch.nn.Sequential(
        Double(),
        torch.nn.Flatten(),
        torch.nn.Linear(N, units, bias=False),
        torch.nn.Softplus(beta=MODEL.beta, threshold=500),
        torch.nn.Linear(units, classes),
    ).double()
    net[2].weight.data = torch.tensor(MODEL.directions.reshape(units, -1))
    net[4].weight.data = torch.tensor(MODEL.amplitudes)
    net[4].bias.data = torch.tensor(MODEL.bias)
    return net.eval()


def features(image: Any) -> Any:
    along = jnp.tensordot(jnp.asarray(MODEL.directions, image.dtype), image, 3)
    return jnp.logaddexp(MODEL.beta * along, 0.0) / MODEL.beta


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 0.8, SHAPE)


def near(num: int = 8, radius: float = 0.02) -> np.ndarray:
    noise = np.random.default_rng(5).uniform(-radius, radius, (num, *SHAPE))
    return image() + noise


def maps(seed: int = 0, shape: tuple[int, int] = SHAPE[:2]) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.random.default_rng(seed).gamma(0.5, size=(2, *shape))
    return first / first.sum(), second / second.sum()


map_fn = explain.make_map_fn("gradient", MODEL.logits, LABEL)


@torch.enable_grad()
def torch_map(net: Any, inputs: Any, targets: Any) -> np.ndarray:
    """(B, 1, H, W) L1-normalised absolute gradients: what `map_fn` computes."""
    inputs = torch.as_tensor(np.asarray(inputs), dtype=torch.float64).requires_grad_(True)
    chosen = net(inputs)[torch.arange(len(inputs)), torch.as_tensor(np.asarray(targets))]
    (gradient,) = torch.autograd.grad(chosen.sum(), inputs)
    size = gradient.abs().sum(dim=(1, 2, 3), keepdim=True)
    return (gradient.abs() / size).numpy()


def channel_first(images: np.ndarray) -> np.ndarray:
    return np.moveaxis(images, -1, 1)


def perturb_with(samples: np.ndarray) -> Callable[..., np.ndarray]:
    """A perturbation function of Quantus that hands out the given neighbours one after the other."""
    turns = itertools.cycle(samples)
    return lambda arr, indices, **_: next(turns).reshape(arr.shape)


def score(metric: Any, targets: np.ndarray | None = None, softmax: bool = False) -> Any:
    """The metric of Quantus on the one image."""
    batch = channel_first(image()[None])
    targets = np.array([LABEL]) if targets is None else targets
    net = twin()
    return metric(
        model=net,
        x_batch=batch,
        y_batch=targets,
        a_batch=torch_map(net, batch, targets),
        explain_func=lambda model, inputs, targets, **_: torch_map(model, inputs, targets),
        softmax=softmax,
        channel_first=True,
    )


QUIET = {"disable_warnings": True, "display_progressbar": False}


# Similarities and concentration.


@pytest.mark.parametrize("shape", [(8, 8), (12, 13), (32, 32)])
def test_ssim_equals_scikit_image(float64: None, shape: tuple[int, int]) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    first, second = maps(0, shape)
    side = min(11, min(shape) - 1 + min(shape) % 2)
    value_range = max(first.max(), second.max()) - min(first.min(), second.min())
    expected = metrics.structural_similarity(
        first, second, data_range=value_range, gaussian_weights=True, sigma=1.5 * side / 11,
        use_sample_covariance=False,
    )  # fmt: skip
    assert float(jax.jit(evaluate.ssim)(first, second)) == pytest.approx(expected, abs=1e-9)
    # What the docstring warns of: with the libraries' default range of 1 any two such maps are the same.
    plain = metrics.structural_similarity(first / 16, second / 16, data_range=1.0)
    assert plain > 0.9 > 0.5 > expected


def test_similarities_equal_quantus() -> None:
    first, second = maps()
    flat = first.ravel(), second.ravel()
    functions = quantus().functions.similarity_func
    for ours, theirs in [
        (evaluate.spearman, functions.correlation_spearman),
        (evaluate.kendall, functions.correlation_kendall_tau),
        (evaluate.pearson, functions.correlation_pearson),
    ]:
        assert float(jax.jit(ours)(first, second)) == pytest.approx(theirs(*flat), abs=1e-5)
    # Quantus calls the cosine distance of SciPy "cosine".
    assert 1 - float(evaluate.cosine_similarity(first, second)) == pytest.approx(functions.cosine(*flat), abs=1e-5)


def test_concentration_equals_quantus() -> None:
    peer = quantus()
    own = np.asarray(map_fn(jnp.asarray(image(), jnp.float32)))
    (sparseness,) = score(peer.Sparseness(abs=True, normalise=False, **QUIET))
    (complexity,) = score(peer.Complexity(abs=True, normalise=False, **QUIET))
    # Quantus adds 1e-7 to every pixel, which is 63e-7 of a map that sums to 1.
    assert float(evaluate.gini(own)) == pytest.approx(sparseness, abs=1e-5)
    assert float(evaluate.entropy(own)) == pytest.approx(complexity, abs=1e-5)


def test_quantus_sparseness_is_off_for_maps_of_small_values() -> None:
    """It adds 1e-7 to each pixel: for a map that is not normalised, such as a gradient of size 1e-8, the Gini index
    falls from 0.92 to under 0.1."""
    sparse = np.eye(1, 12, 5)[None].reshape(1, 1, 3, 4) * 1e-8
    theirs = quantus().Sparseness(normalise=False, **QUIET).evaluate_batch(x_batch=sparse, a_batch=sparse.copy())
    assert float(evaluate.gini(jnp.asarray(sparse[0, 0], jnp.float32))) == pytest.approx(11 / 12, abs=1e-5)
    assert theirs[0] < 0.1


# Stability.


def test_max_sensitivity_equals_captum(float64: None) -> None:
    captum = pytest.importorskip("captum.metrics")
    net, samples = twin(), near()

    def theirs(as_tuple: bool) -> float:
        def explanation(inputs: Any, **_: Any) -> Any:
            batch = (inputs[0] if isinstance(inputs, tuple) else inputs).detach()
            explained = torch.tensor(torch_map(net, batch, [LABEL] * len(batch)))
            return (explained,) if as_tuple else explained

        found = captum.sensitivity_max(
            explanation,
            torch.tensor(channel_first(image()[None])),
            perturb_func=lambda inputs, _: torch.tensor(channel_first(samples)),
            n_perturb_samples=len(samples),
            max_examples_per_batch=len(samples),
        )
        return float(found[0])

    actual = jax.jit(lambda z: evaluate.max_sensitivity(map_fn, jnp.asarray(image()), z))(samples)
    assert float(actual) == pytest.approx(theirs(as_tuple=True), rel=1e-6)
    # A plain tensor is iterated over as if it were the tuple, and broadcasts against all neighbours.
    assert theirs(as_tuple=False) == pytest.approx(float(actual) * len(samples) ** 0.5, rel=1e-6)


def test_max_sensitivity_equals_quantus_without_its_normalisation(float64: None) -> None:
    peer, samples = quantus(), near()
    settings = {"nr_samples": len(samples), "perturb_func_kwargs": {}, **QUIET}
    actual = jax.jit(lambda z: evaluate.max_sensitivity(map_fn, jnp.asarray(image()), z))(samples)
    values = {}
    for normalise in (False, True):
        metric = peer.MaxSensitivity(normalise=normalise, perturb_func=perturb_with(channel_first(samples)), **settings)
        values[normalise] = float(score(metric)[0])
    assert float(actual) == pytest.approx(values[False], rel=1e-6)
    # As the docstring says: every map divided by its own largest value is another quantity.
    assert values[False] == pytest.approx(0.0637, abs=1e-4)
    assert values[True] == pytest.approx(0.0647, abs=1e-4)


@pytest.mark.parametrize(
    "which", ["RelativeInputStability", "RelativeOutputStability", "RelativeRepresentationStability"]
)
def test_relative_stability_equals_quantus(float64: None, which: str) -> None:
    peer, samples = quantus(), near()
    place = {"RelativeInputStability": 0, "RelativeOutputStability": 1, "RelativeRepresentationStability": 2}[which]
    layers = {"layer_names": ["3"]} if place == 2 else {}
    metric = getattr(peer, which)(
        nr_samples=len(samples), perturb_func=perturb_with(channel_first(samples)), perturb_func_kwargs={}, **layers,
        **QUIET,
    )  # fmt: skip
    theirs = float(score(metric, np.array([LABEL]))[0])
    actual = jax.jit(
        lambda z: evaluate.relative_stability(map_fn, MODEL.logits, features, jnp.asarray(image()), z)
    )(samples)  # fmt: skip
    assert int(actual.num_kept) == len(samples)
    # Quantus hands the model float32, of which the difference of two outputs keeps five digits.
    assert float(actual[place]) == pytest.approx(theirs, rel=1e-5)


def test_quantus_gives_nan_where_one_neighbour_changes_its_class(float64: None) -> None:
    others = (image(seed) for seed in itertools.count(1))
    predicted = jnp.argmax(MODEL.logits(jnp.asarray(image())))
    other = next(z for z in others if jnp.argmax(MODEL.logits(jnp.asarray(z))) != predicted)
    samples = np.concatenate([near(), other[None]])
    metric = quantus().RelativeInputStability(
        nr_samples=len(samples), perturb_func=perturb_with(channel_first(samples)), perturb_func_kwargs={}, **QUIET
    )
    actual = jax.jit(
        lambda z: evaluate.relative_stability(map_fn, MODEL.logits, features, jnp.asarray(image()), z)
    )(samples)  # fmt: skip
    assert int(actual.num_kept) == len(samples) - 1
    assert np.isnan(score(metric)[0])
    kept = evaluate.relative_stability(map_fn, MODEL.logits, features, jnp.asarray(image()), jnp.asarray(near()))
    assert float(actual.to_input) == pytest.approx(float(kept.to_input), rel=1e-9)


# Faithfulness.


def test_deletion_curve_equals_pixel_flipping_of_quantus(float64: None) -> None:
    metric = quantus().PixelFlipping(features_in_step=1, perturb_baseline=0.0, abs=False, normalise=False, **QUIET)
    theirs = score(metric, softmax=True)[0]
    own = map_fn(jnp.asarray(image()))
    actual = jax.jit(
        lambda z: evaluate.deletion_curve(MODEL.logits, z, LABEL, own, baseline=0.0, num_steps=N)
    )(jnp.asarray(image()))  # fmt: skip
    # Quantus leaves out the unchanged image, so that its area lacks the first trapezoid.
    np.testing.assert_allclose(actual[1:], theirs, rtol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_imputation_equals_quantus(float64: None, share: float) -> None:
    impute = quantus().functions.perturb_func.noisy_linear_imputation
    indices = np.random.default_rng(1).permutation(N)[: int(share * N)]
    theirs = impute(channel_first(image()[None])[0], indices, noise=0.0)
    missing = np.zeros(N, bool)
    missing[indices] = True
    actual = jax.jit(faithfulness.impute)(jnp.asarray(image()), missing.reshape(SHAPE[:2]))
    np.testing.assert_allclose(np.asarray(actual)[..., 0], theirs[0], rtol=1e-8)


def test_road_of_quantus_fails_on_colour_images() -> None:
    """It sorts the entries of all channels and hands them to an imputation of pixels."""
    impute = quantus().functions.perturb_func.noisy_linear_imputation
    colour = np.random.default_rng(0).uniform(size=(3, 7, 9))
    with pytest.raises(IndexError):
        impute(colour, np.arange(3 * N)[-20:], noise=0.0)
