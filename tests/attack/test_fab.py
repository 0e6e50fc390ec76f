"""FAB and the projection onto a hyperplane within the box: the smallest perturbations known in closed form."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import attack
from jsep.checks import InputError
from jsep.types import Array

SHAPE = (3, 4, 2)


@functools.partial(jax.jit, static_argnames="norm")
def to_hyperplane(image: Array, normal: Array, gap: Array, norm: str) -> Array:
    return attack.NORMS[norm].to_hyperplane(image, normal, gap)


@pytest.mark.parametrize("norm", attack.NORMS)
@hypothesis.given(st.integers(0, 10**6), st.floats(-1.2, 1.2), st.booleans())
def test_projection_onto_a_hyperplane_equals_bisection(norm: str, seed: int, share: float, sparse: bool) -> None:
    rng = np.random.default_rng(seed)
    image = np.where(rng.uniform(size=SHAPE) < 0.3, rng.integers(0, 2, SHAPE), rng.uniform(size=SHAPE))
    normal = rng.normal(size=SHAPE) * (rng.uniform(size=SHAPE) < (0.3 if sparse else 1.0))
    image, normal = image.astype(np.float32), normal.astype(np.float32)
    # A share of the way to the wall; beyond 1 the box does not reach the hyperplane.
    wall = np.where(normal * share > 0, 1 - image, -image)
    gap = np.float32(abs(share) * (normal * wall).sum())
    delta = np.asarray(to_hyperplane(image, normal, gap, norm), np.float64)
    expected = oracles.smallest_to_hyperplane(image.astype(np.float64), normal.astype(np.float64), float(gap), norm)
    np.testing.assert_allclose(delta, expected, rtol=0, atol=2e-5)
    assert np.all((image + delta >= -1e-7) & (image + delta <= 1 + 1e-7))
    if abs(share) <= 1:
        assert (normal * delta).sum() == pytest.approx(gap, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("norm", attack.NORMS)
def test_hyperplane_through_the_image_and_a_zero_normal_move_nothing(norm: str) -> None:
    image, normal = jnp.full(SHAPE, 0.3), jnp.ones(SHAPE)
    np.testing.assert_array_equal(to_hyperplane(image, normal, 0.0, norm), np.zeros(SHAPE))
    np.testing.assert_array_equal(to_hyperplane(image, 0 * normal, 1.0, norm), np.zeros(SHAPE))


@functools.partial(jax.jit, static_argnames="norm")
def fab_batch(images: Array, labels: Array, targets: Array, norm: str, stop_within: Array) -> tuple:
    oracle = oracles.linear(num_classes=4)
    run = functools.partial(attack.fab, oracle.logits, norm=norm, num_steps=30, stop_within=stop_within)
    return jax.vmap(lambda x, y, t: run(x, y, t))(images, labels, targets)


@pytest.fixture(scope="module")
def classified() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images = np.random.default_rng(2).uniform(size=(12, *SHAPE)).astype(np.float32)
    logits = np.asarray(jax.vmap(oracles.linear(num_classes=4).logits)(images))
    ranked = np.argsort(-logits, axis=1)
    return images, ranked[:, 0], ranked[:, 1]


def nearest(image: np.ndarray, label: int, norm: str) -> float:
    """The distance to the nearest of the decision boundaries within the box, by closed form."""
    oracle, distances = oracles.linear(num_classes=4), []
    for rival in set(range(4)) - {label}:
        normal = oracle.weights[rival] - oracle.weights[label]
        gap = -((normal * image).sum() + oracle.bias[rival] - oracle.bias[label])
        delta = oracles.smallest_to_hyperplane(image.astype(np.float64), normal, gap, norm)
        if (normal * delta).sum() >= gap - 1e-6:  # the box reaches this boundary
            distances.append(np.abs(delta).max() if norm == "linf" else np.linalg.norm(delta))
    return min(distances)


@pytest.mark.parametrize("norm", attack.NORMS)
def test_fab_finds_the_distance_to_the_boundary_of_a_linear_model(norm: str, classified: tuple) -> None:
    images, labels, _ = classified
    oracle = oracles.linear(num_classes=4)
    best = np.full(len(images), np.inf)
    for shift in (1, 2, 3):
        adversarial, info = fab_batch(images, labels, (labels + shift) % 4, norm, -jnp.inf)
        for image, label, found, distance, success in zip(images, labels, adversarial, *info[1::-1], strict=True):
            if not success:
                continue
            assert int(np.argmax(oracle.logits(found))) != label
            change = np.asarray(found, np.float64) - image
            size = np.abs(change).max() if norm == "linf" else np.linalg.norm(change)
            assert float(distance) == pytest.approx(size, rel=1e-4)
        best = np.minimum(best, info.distance)
    expected = np.array([nearest(image, int(label), norm) for image, label in zip(images, labels, strict=True)])
    assert np.all(best >= expected * (1 - 1e-4))
    assert np.all(best <= expected * 1.01), best / expected


def test_fab_stops_as_soon_as_it_is_near_enough(classified: tuple) -> None:
    images, labels, targets = classified
    _, everything = fab_batch(images, labels, targets, "linf", -jnp.inf)
    _, early = fab_batch(images, labels, targets, "linf", 1.0)
    assert np.all(everything.num_steps == 30)
    assert np.all(early.num_steps[early.success] < 30)
    assert np.all(early.distance >= everything.distance)


def test_fab_of_a_wrong_image_is_the_image_at_distance_zero(classified: tuple) -> None:
    images, labels, targets = classified
    found, info = fab_batch(images, targets, labels, "linf", -jnp.inf)
    np.testing.assert_array_equal(found, images)
    assert np.all(info.distance == 0)
    assert np.all(info.success)


def test_fab_without_a_boundary_returns_the_image() -> None:
    image = jnp.full(SHAPE, 0.5)
    found, info = jax.jit(lambda z: attack.fab(lambda x: jnp.array([1.0, 0.0]) + 0 * x.sum(), z, 0, 1, num_steps=3))(
        image
    )
    np.testing.assert_array_equal(found, image)
    assert not info.success
    assert np.isinf(info.distance)


def test_bad_settings_are_input_errors() -> None:
    with pytest.raises(InputError, match="eta must be a number >= 0"):
        attack.fab(oracles.linear().logits, np.full(SHAPE, 0.5), 0, 1, eta=-1.0)
    with pytest.raises(InputError, match="unknown norm 'l1'"):
        attack.fab(oracles.linear().logits, np.full(SHAPE, 0.5), 0, 1, norm="l1")
