"""An attack never leaves the finite numbers, whatever the model does there, and says how often it met others."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import attack, data, evaluate, explain, numerics

KEY = jax.random.key(0)
SHAPE = (3, 4, 2)
ORACLE = oracles.softplus_ridge()
IMAGE = jnp.asarray(np.random.default_rng(0).uniform(0.3, 0.7, SHAPE), jnp.float32)
OTHER = jnp.asarray(np.random.default_rng(1).uniform(0.3, 0.7, SHAPE), jnp.float32)
LABEL = int(jnp.argmax(ORACLE.logits(IMAGE)))
TARGET = int(jnp.argsort(ORACLE.logits(IMAGE))[-2])
WEIGHTS = jax.grad(lambda z: attack.margin(ORACLE.logits, LABEL)(z))(IMAGE)


def far(image: jax.Array) -> jax.Array:
    """() bool: the image has moved along the attack's way by more than a little."""
    return jnp.vdot(jnp.sign(WEIGHTS), image - IMAGE) > 0.5


def nan_logits(image: jax.Array) -> jax.Array:
    return jnp.where(far(image), jnp.nan, ORACLE.logits(image))


def infinite_logits(image: jax.Array) -> jax.Array:
    return jnp.where(far(image), jnp.inf, ORACLE.logits(image))


def nan_gradient(image: jax.Array) -> jax.Array:
    # A root at 0: finite, with a derivative of inf * 0.
    return ORACLE.logits(image) + jnp.sqrt(jnp.where(far(image), 0.0, 1.0) * image[0, 0, 0]) * 0


def nan_everywhere(image: jax.Array) -> jax.Array:
    return jnp.nan * ORACLE.logits(image)


MODELS = {"nan": nan_logits, "inf": infinite_logits, "gradient": nan_gradient, "everywhere": nan_everywhere}

Run = Callable[[Any, jax.Array], Any]
PREDICTION: dict[str, Run] = {
    "fgsm": lambda f, z: attack.fgsm(attack.cross_entropy(f, LABEL), z, epsilon=0.2),
    "pgd": lambda f, z: attack.pgd(KEY, attack.cross_entropy(f, LABEL), z, epsilon=0.2, alpha=0.05, num_steps=8),
    "pgd, l2": lambda f, z: attack.pgd(
        KEY, attack.margin(f, LABEL), z, epsilon=0.8, alpha=0.2, num_steps=8, norm="l2", num_starts=3
    ),
    "apgd": lambda f, z: attack.apgd(KEY, attack.cross_entropy(f, LABEL), z, epsilon=0.2, num_steps=8),
    "apgd, stopped": lambda f, z: attack.apgd(
        KEY, attack.dlr(f, LABEL), z, epsilon=0.2, num_steps=8, stop_at_success=True
    ),
    "fab": lambda f, z: attack.fab(f, z, LABEL, TARGET, num_steps=8),
    "square": lambda f, z: attack.square(KEY, f, z, LABEL, epsilon=0.2, num_queries=12),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", PREDICTION)
def test_attack_on_a_prediction_ends_at_finite_pixels_and_logits_and_counts_the_others(name: str, model: str) -> None:
    adversarial, info = jax.jit(lambda z: PREDICTION[name](MODELS[model], z))(IMAGE)
    assert np.all(np.isfinite(adversarial))
    assert np.isfinite(info.distance) or name == "fab"
    logits = MODELS[model](adversarial)
    if model == "everywhere":
        np.testing.assert_array_equal(adversarial, IMAGE)
        assert not bool(info.success)
        assert int(info.num_non_finite) > 0
    else:
        assert np.all(np.isfinite(logits))
        assert bool(info.success) == (int(jnp.argmax(logits)) != LABEL) or name == "fgsm"
        if name in ("pgd", "apgd") or (name == "fgsm" and model != "gradient"):
            assert int(info.num_non_finite) > 0, "the way leads through the region"


def map_of(model: Any) -> Any:
    return explain.make_map_fn("gradient_x_input", model, LABEL)


SETTINGS = {"num_steps": 12, "learning_rate": 0.05, "map_weight": 1e4, "output_weight": 1.0}
TARGET_MAP = map_of(ORACLE.logits)(OTHER)
EXPLANATION: dict[str, Callable[[Any, Any], Any]] = {
    "targeted": lambda m, f: attack.attack_explanation(KEY, m, f, IMAGE, TARGET_MAP, **SETTINGS),
    "targeted, ball": lambda m, f: attack.attack_explanation(
        KEY, m, f, IMAGE, TARGET_MAP, epsilon=0.2, num_starts=2, repair=True, step="sign", **SETTINGS
    ),
    "black box": lambda m, f: attack.attack_explanation_black_box(
        KEY, m, f, IMAGE, TARGET_MAP, search="random_search", epsilon=0.3, num_steps=40
    ),
    "ensemble": lambda m, f: attack.auto_explanation_attack(
        KEY, m, f, IMAGE, TARGET_MAP, epsilon=0.3, version="fast", num_steps=8, num_queries=40
    ),
    "untargeted": lambda m, f: attack.untargeted_explanation_attack(
        KEY, m, f, IMAGE, objective="distance", epsilon=0.3, num_steps=12
    ),
}


def broken_map(image: jax.Array) -> jax.Array:
    """A map that is NaN for images that are a little away from the clean one."""
    return jnp.where(jnp.max(jnp.abs(image - IMAGE)) > 0.04, jnp.nan, map_of(ORACLE.logits)(image))


@pytest.mark.parametrize("name", EXPLANATION)
def test_attack_on_an_explanation_ends_at_a_finite_map_and_counts_the_others(name: str) -> None:
    adversarial, info = jax.jit(lambda: EXPLANATION[name](broken_map, ORACLE.logits))()
    assert np.all(np.isfinite(adversarial))
    assert np.all(np.isfinite(broken_map(adversarial)))
    assert int(info.num_non_finite) > 0
    _, sound = jax.jit(lambda: EXPLANATION[name](map_of(ORACLE.logits), ORACLE.logits))()
    assert int(sound.num_non_finite) == 0


@pytest.mark.parametrize("weight", [-1.0, 1e13, 1e300, float("inf"), float("nan"), True, "1e7"])
def test_weight_that_overflows_is_an_input_error(weight: Any) -> None:
    with pytest.raises(ValueError, match="map_weight must be"):
        attack.attack_explanation(
            KEY, map_of(ORACLE.logits), ORACLE.logits, IMAGE, TARGET_MAP, **{**SETTINGS, "map_weight": weight}
        )


def test_model_that_is_finite_nowhere_has_no_accuracy() -> None:
    images = np.stack([IMAGE, OTHER])
    dataset = data.from_arrays(images, np.array([0, 1]), num_classes=3)
    with pytest.warns(UserWarning, match="logits or gradients of 2 of 2 images are not finite"):
        clean, robust = evaluate.accuracies(KEY, lambda v, z: nan_everywhere(z), (), dataset, num_steps=1)
    assert np.isnan(clean)
    assert np.isnan(robust)


@pytest.mark.parametrize("num_steps", [0, 3])
def test_images_that_are_not_finite_are_counted_apart(num_steps: int) -> None:
    images = np.stack([IMAGE, OTHER, 1 - OTHER])
    labels = np.asarray(jax.vmap(ORACLE.logits)(images)).argmax(1)
    dataset = data.from_arrays(images, labels, num_classes=3)

    def model_fn(variables: Any, image: jax.Array) -> jax.Array:
        return jnp.where(jnp.max(jnp.abs(image - OTHER)) < 0.05, jnp.nan, ORACLE.logits(image))

    found = evaluate.classification(KEY, model_fn, (), dataset, epsilon=0.01, alpha=0.01, num_steps=num_steps)
    assert found.finite.tolist() == [True, False, True]
    assert found.num_non_finite == 1
    assert found.clean.tolist() == [True, False, True]
    with pytest.warns(UserWarning, match="of 1 of 3 images"):
        assert evaluate.accuracies(KEY, model_fn, (), dataset, epsilon=0.01, num_steps=0)[0] == 1.0


@pytest.mark.parametrize("label", [-1, 3, 2**31 - 1])
def test_traced_label_that_is_no_class_gives_nan_and_no_other_class(label: int) -> None:
    """Under jit nothing can raise."""
    value = jax.jit(lambda y: attack.cross_entropy(ORACLE.logits, y)(IMAGE))(label)
    assert np.isnan(value)
    assert np.all(np.isnan(jax.jit(lambda y: explain.gradient(ORACLE.logits, IMAGE, y))(label)))
    map_ = map_of(ORACLE.logits)(IMAGE)
    curve = jax.jit(lambda y: evaluate.deletion_curve(ORACLE.logits, IMAGE, y, map_, num_steps=3))(label)
    assert np.all(np.isnan(curve))
    adversarial, info = jax.jit(
        lambda y: attack.pgd(KEY, attack.margin(ORACLE.logits, y), IMAGE, epsilon=0.1, alpha=0.1, num_steps=2)
    )(label)
    np.testing.assert_array_equal(adversarial, IMAGE)
    assert not bool(info.success)


@pytest.mark.parametrize("damaged", [jnp.full(3, jnp.nan), jnp.array([0.0, jnp.nan, 1.0])])
def test_softmax_of_logits_that_the_compiler_knows_to_be_nan_is_nan(damaged: jax.Array) -> None:
    """As of a model whose damaged weights are constants of the program: XLA gives finite numbers there."""
    assert np.all(np.isnan(jax.jit(lambda z: numerics.softmax(z.ravel()[:3] + damaged))(IMAGE)))
    assert np.all(np.isnan(jax.jit(lambda z: numerics.softmax(z.ravel()[:3] * damaged[1]))(IMAGE)))
    curve = evaluate.road_curve(
        KEY, lambda z: ORACLE.logits(z) * damaged[1], IMAGE, 0, map_of(ORACLE.logits)(IMAGE), num_steps=2
    )
    assert np.all(np.isnan(curve))


def test_softmax_of_finite_logits_is_the_library_s() -> None:
    logits = jax.random.normal(KEY, (5, 4))
    np.testing.assert_array_equal(numerics.softmax(logits), jax.nn.softmax(logits))


def test_class_of_logits_that_are_not_finite_is_not_kept() -> None:
    """The argmax of NaN is 0, so that a damaged model would keep class 0 everywhere."""
    own = map_of(ORACLE.logits)
    adversarial, info = attack.auto_explanation_attack(
        KEY, own, nan_everywhere, IMAGE, TARGET_MAP, epsilon=0.3, version="fast", num_steps=1, num_queries=20
    )
    np.testing.assert_array_equal(adversarial, IMAGE)
    assert not bool(info.success)
    assert not bool(info.label_kept)
