"""The named scalar functions: their values by definition, and what the derivative of |s| means for a Hessian."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jsep import attack, evaluate, explain, landscape, train
from jsep.checks import InputError

SHAPE = (3, 4, 2)
KEY = jax.random.key(0)
IMAGE = jnp.asarray(np.random.default_rng(0).uniform(0.1, 0.9, SHAPE), jnp.float32)
OTHER = jnp.asarray(np.random.default_rng(1).uniform(0.1, 0.9, SHAPE), jnp.float32)
LOGITS = oracles.softplus_ridge().logits
MAP_FN = explain.make_map_fn("gradient_x_input", LOGITS, 1)
NOISE = 0.1 * jax.random.normal(KEY, SHAPE)


def case(**change):
    fields = {"logits_fn": LOGITS, "label": 1, "image": IMAGE, "map_fn": MAP_FN, "target_map": MAP_FN(OTHER)}
    return landscape.ScalarContext(**{**fields, "noise": NOISE, **change})


def test_each_scalar_is_its_definition():
    values = {name: float(jax.jit(landscape.scalar_fn(name, case()))(OTHER)) for name in landscape.SCALARS}
    logits = np.asarray(LOGITS(OTHER), np.float64)
    maps = {name: jax.jit(MAP_FN)(z) for name, z in (("image", IMAGE), ("other", OTHER))}
    assert values["cross_entropy"] == pytest.approx(oracles.cross_entropy(logits, 1), rel=1e-5)
    assert values["margin"] == pytest.approx(max(logits[0], logits[2]) - logits[1], rel=1e-5)
    assert values["explanation_to_target"] < 1e-14  # rounding of the map in another program
    own = float(evaluate.explanation_loss(maps["other"], maps["image"]))
    assert values["explanation_to_own"] == pytest.approx(own, rel=1e-4)
    expected = float(jax.jit(lambda z: train.sep_penalty(MAP_FN, z, NOISE))(OTHER))
    assert values["sep_term"] == pytest.approx(expected, rel=1e-4)


def test_margin_is_below_zero_exactly_where_the_label_is_predicted():
    for image in np.random.default_rng(2).uniform(size=(20, *SHAPE)).astype(np.float32):
        logits = LOGITS(jnp.asarray(image))
        for label in range(3):
            assert bool(attack.margin(LOGITS, label)(jnp.asarray(image)) < 0) == bool(jnp.argmax(logits) == label)


@pytest.mark.usefixtures("float64")
def test_hessian_of_the_loss_to_the_own_map_is_the_gauss_newton_matrix():
    """2/N J^T J at the clean image: there the residual that multiplies the second derivatives of the map is 0."""
    image = jnp.asarray(IMAGE, jnp.float64)
    hessian = jax.jit(jax.hessian(landscape.explanation_loss_to_own(MAP_FN, image)))(image).reshape(24, 24)
    jacobian = jax.jit(jax.jacobian(MAP_FN))(image).reshape(12, 24)
    assert oracles.relative_error(hessian, 2 / 12 * jacobian.T @ jacobian) < 1e-12


@pytest.mark.usefixtures("float64")
def test_hessian_through_the_absolute_value_is_the_one_between_the_kinks():
    """|s| as s * stop_gradient(sign(s)): off the kinks both ways of writing have the same Hessian; where pixels are
    exactly 0, that of Gradient x Input stays symmetric and equals the mean of the Hessians on the two sides."""
    logits = oracles.softplus_ridge(beta=2.0).logits

    def loss(absolute):
        def objective(z):
            saliency = jnp.sum(absolute(z * jax.grad(lambda y: logits(y)[1])(z)), axis=-1)
            return jnp.mean((saliency - 0.3) ** 2)

        return objective

    ours, plain = (jax.jit(jax.hessian(loss(f))) for f in (explain.maps.absolute, jnp.abs))
    image = jnp.asarray(IMAGE, jnp.float64)
    np.testing.assert_allclose(ours(image), plain(image), rtol=1e-12, atol=1e-12)

    black = image.at[0, 0, 0].set(0.0)
    found = np.asarray(ours(black)).reshape(24, 24)
    np.testing.assert_allclose(found, found.T, atol=1e-12)
    step = 1e-6
    above, below = (np.asarray(ours(image.at[0, 0, 0].set(s * step))).reshape(24, 24) for s in (1, -1))
    rest = np.arange(24) != 0
    # Among the other pixels the Hessian is continuous; the row of the black pixel jumps, and ours is the mean.
    np.testing.assert_allclose(found[np.ix_(rest, rest)], (above + below)[np.ix_(rest, rest)] / 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[0, rest], (above + below)[0, rest] / 2, rtol=1e-3, atol=1e-5)
    # The plain absolute value takes one of the two sides, whichever has the positive saliency.
    one_sided = np.asarray(plain(black)).reshape(24, 24)[0, rest]
    assert min(np.abs(one_sided - side[0, rest]).max() for side in (above, below)) < 1e-4
    assert np.abs(above[0, rest] - below[0, rest]).max() > 0.01


def test_adversarial_cross_entropy_rises_along_the_landscape():
    objective = landscape.scalar_fn("cross_entropy", case())
    adversarial, _ = jax.jit(lambda: attack.pgd(KEY, objective, IMAGE, epsilon=0.1, alpha=0.02, num_steps=5))()
    assert float(objective(adversarial)) > float(objective(IMAGE))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("cross_entropi", {}, "unknown scalar function 'cross_entropi'.*did you mean 'cross_entropy'"),
        ("explanation_to_target", {"target_map": None}, "'explanation_to_target' needs target_map of the context"),
        ("sep_term", {"map_fn": None, "noise": None}, "'sep_term' needs map_fn and noise"),
    ],
)
def test_bad_case_is_an_input_error(name, change, message):
    with pytest.raises(InputError, match=message):
        landscape.scalar_fn(name, case(**change))


def test_target_map_of_another_size_is_an_input_error():
    with pytest.raises(InputError, match=r"target_map must have the shape of map_fn's maps, \(3, 4\), got \(4, 3\)"):
        landscape.explanation_loss_to(MAP_FN, jnp.zeros((4, 3)))(IMAGE)
