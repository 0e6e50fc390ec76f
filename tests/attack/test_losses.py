"""The losses that attacks ascend: their definitions, their invariances, their least numbers of classes."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import attack
from jsep.attack.losses import targeted_dlr_loss, targeted_margin_loss
from jsep.checks import InputError

logits_strategy = st.builds(
    lambda seed, size, scale: (np.random.default_rng(seed).normal(size=size) * 10.0**scale).astype(np.float32),
    st.integers(0, 10**6),
    st.integers(4, 6),
    st.floats(-2, 2),
)


def identity(image: jax.Array) -> jax.Array:
    """The logits are the pixels."""
    return image.reshape(-1)


@hypothesis.given(logits=logits_strategy)
def test_losses_equal_their_definitions(logits: np.ndarray) -> None:
    image = jnp.asarray(logits)[None, None]
    down = np.sort(logits.astype(np.float64))[::-1]
    for label in range(len(logits)):
        rival = max(value for index, value in enumerate(logits.astype(np.float64)) if index != label)
        margin = rival - float(logits[label])
        assert float(attack.margin(identity, label)(image)) == pytest.approx(margin, rel=1e-5, abs=1e-6)
        expected = margin / (down[0] - down[2])
        assert float(attack.dlr(identity, label)(image)) == pytest.approx(expected, rel=1e-4, abs=1e-5)
        for target in set(range(len(logits))) - {label}:
            difference = float(logits[target]) - float(logits[label])
            expected = difference / (down[0] - (down[2] + down[3]) / 2)
            actual = float(attack.targeted_dlr(identity, label, target)(image))
            assert actual == pytest.approx(expected, rel=1e-4, abs=1e-5)


@hypothesis.given(logits=logits_strategy, scale=st.floats(0.1, 1000), shift=st.floats(-5, 5))
def test_dlr_does_not_change_with_scale_and_shift_of_the_logits(logits: np.ndarray, scale: float, shift: float) -> None:
    logits = logits / np.abs(logits).max()
    for loss in (attack.LOSSES["dlr"], targeted_dlr_loss(jnp.int32(2))):
        changed = loss(jnp.asarray(scale * logits + scale * shift), 1)
        assert float(changed) == pytest.approx(float(loss(jnp.asarray(logits), 1)), rel=2e-3, abs=1e-3)


@pytest.mark.parametrize("name", ["margin", "dlr"])
def test_untargeted_loss_is_positive_exactly_where_the_image_is_misclassified(name: str) -> None:
    rng = np.random.default_rng(0)
    loss = jax.jit(attack.LOSSES[name])
    for _ in range(20):
        logits = jnp.asarray(rng.normal(size=5), jnp.float32)
        for label in range(5):
            assert (float(loss(logits, label)) > 0) == (int(jnp.argmax(logits)) != label)


def test_gradient_of_dlr_survives_where_that_of_cross_entropy_vanishes() -> None:
    confident = jnp.asarray([[[300.0, 100.0, 50.0, 0.0]]])
    assert not np.any(jax.grad(attack.cross_entropy(identity, 0))(confident))
    for objective in (attack.dlr(identity, 0), attack.targeted_dlr(identity, 0, 1), attack.margin(identity, 0)):
        gradient = jax.grad(objective)(confident)
        assert np.all(np.isfinite(gradient))
        assert np.any(gradient != 0)


def test_equal_logits_give_finite_losses_and_gradients() -> None:
    flat = jnp.zeros((1, 1, 5))
    for objective in (attack.dlr(identity, 0), attack.targeted_dlr(identity, 0, 1)):
        assert float(objective(flat)) == 0
        assert np.all(np.isfinite(jax.grad(objective)(flat)))


def test_too_few_classes_are_input_errors_that_name_the_margin() -> None:
    with pytest.raises(InputError, match="the DLR loss needs at least 3 classes, and the model has 2; use the margin"):
        attack.dlr(identity, 0)(jnp.zeros((1, 1, 2)))
    with pytest.raises(InputError, match="targeted DLR loss needs at least 4 classes, and the model has 3"):
        attack.targeted_dlr(identity, 0, 1)(jnp.zeros((1, 1, 3)))
    assert float(targeted_margin_loss(1)(jnp.array([2.0, 5.0]), 0)) == 3


def test_objective_with_success_says_whether_the_image_is_misclassified() -> None:
    for label, expected in ((0, True), (1, False)):
        objective = attack.margin(identity, label)
        value, success = objective.with_success(jnp.asarray([[[0.2, 0.9, 0.1]]]))
        assert float(value) == float(objective(jnp.asarray([[[0.2, 0.9, 0.1]]])))
        assert bool(success) == expected
        assert (float(value) > 0) == expected
