"""Images and maps of half precision are computed in float32 and come back in their type."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import attack, evaluate, explain

KEY = jax.random.key(0)
SHAPE = (3, 4, 2)
ORACLE = oracles.softplus_ridge()
IMAGE = jnp.asarray(np.random.default_rng(0).uniform(0.2, 0.8, SHAPE), jnp.float32)
LABEL = int(jnp.argmax(ORACLE.logits(IMAGE)))
HALF = [jnp.float16, jnp.bfloat16]
EXACT = {jnp.float16: 2e-3, jnp.bfloat16: 2e-2}


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", ["gradient", "gradient_x_input", "integrated_gradients", "guided_backprop", "lrp"])
def test_saliency_of_half_precision_is_that_of_float32(name: str, dtype: Any) -> None:
    image = IMAGE.astype(dtype)
    method = getattr(explain, name)
    found = method(oracles.conv_net(), image, 1)
    assert found.dtype == dtype
    expected = method(oracles.conv_net(), image.astype(jnp.float32), 1)
    np.testing.assert_allclose(found.astype(jnp.float32), expected, rtol=EXACT[dtype], atol=EXACT[dtype])


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("normalize", ["l1", "l2", "max"])
def test_map_of_half_precision_at_the_size_of_imagenet_sums_to_one(normalize: str, dtype: Any) -> None:
    saliency = jnp.asarray(np.random.default_rng(0).normal(size=(224, 224, 3)) * 100, dtype)
    map_ = explain.explanation_map(saliency, normalize=normalize)
    assert map_.dtype == dtype
    wide = np.asarray(map_, np.float64)
    total = {"l1": wide.sum(), "l2": np.sqrt((wide**2).sum()), "max": wide.max()}[normalize]
    assert total == pytest.approx(1, rel=EXACT[dtype])
    loss = evaluate.explanation_loss(map_, jnp.roll(map_, 1, 0))
    assert loss.dtype == jnp.float32
    assert float(loss) == pytest.approx(np.mean((wide - np.roll(wide, 1, 0)) ** 2), rel=1e-4)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("own_dtype", [False, True])
def test_attack_on_half_precision_is_finite_and_within_its_budget(norm: str, dtype: Any, own_dtype: bool) -> None:
    image, epsilon = IMAGE.astype(dtype), 8 / 255

    def logits_fn(z: jax.Array) -> jax.Array:
        if own_dtype and z.dtype != dtype:
            raise TypeError("this model takes its own type alone")
        return ORACLE.logits(z)

    objective = attack.cross_entropy(logits_fn, LABEL)
    runs = {
        "fgsm": attack.fgsm(objective, image, norm=norm, epsilon=epsilon),
        "pgd": attack.pgd(KEY, objective, image, norm=norm, epsilon=epsilon, alpha=epsilon / 4, num_steps=4),
        "apgd": attack.apgd(KEY, objective, image, norm=norm, epsilon=epsilon, num_steps=4),
        "square": attack.square(KEY, logits_fn, image, LABEL, norm=norm, epsilon=epsilon, num_queries=4),
    }
    for name, (adversarial, info) in runs.items():
        assert adversarial.dtype == dtype, name
        assert int(info.num_non_finite) == 0, name
        delta = np.asarray(adversarial, np.float64) - np.asarray(image, np.float64)
        size = np.abs(delta).max() if norm == "linf" else np.sqrt((delta**2).sum())
        assert 0 < size <= epsilon * (1 + 1e-5), name


def test_explanation_attack_on_half_precision_lowers_the_loss() -> None:
    map_fn = explain.make_map_fn("gradient_x_input", ORACLE.logits, LABEL)
    target = map_fn(jnp.asarray(np.random.default_rng(1).uniform(0.2, 0.8, SHAPE), jnp.float32))
    image = IMAGE.astype(jnp.float16)
    adversarial, info = attack.attack_explanation(
        KEY, map_fn, ORACLE.logits, image, target.astype(jnp.float16), num_steps=30, learning_rate=0.01,
        map_weight=1e4, output_weight=1.0, epsilon=0.2,
    )  # fmt: skip
    assert adversarial.dtype == jnp.float16
    assert bool(info.success)
    assert float(info.losses[-1]) < 0.9 * float(info.losses[0])


def test_rounding_beyond_the_box_is_clipped_and_more_is_refused() -> None:
    objective = attack.cross_entropy(ORACLE.logits, LABEL)
    image = IMAGE.at[0, 0, 0].set(1.0000001).at[0, 0, 1].set(-3e-8)
    adversarial, _ = attack.fgsm(objective, image, epsilon=0.0)
    np.testing.assert_array_equal(adversarial, jnp.clip(image, 0, 1))
    assert attack.fgsm(objective, np.asarray(image, np.float64), epsilon=0.1)[0].dtype == jnp.float32
    with pytest.raises(ValueError, match=r"pixels in \[0, 1\], got \[-0.01, .*scale them first"):
        attack.fgsm(objective, IMAGE.at[0, 0, 0].set(-0.01), epsilon=0.1)
    with pytest.raises(ValueError, match="divide them by 255"):
        attack.fgsm(objective, 255 * IMAGE, epsilon=0.1)
