"""The properties of many explanations are those of each, and constant maps have defined ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import evaluate, explain, models
from jsep.checks import InputError

KEY = jax.random.key(0)
CONFIG = evaluate.PropertiesConfig(radius=0.1, num_neighbours=3, num_steps=4, num_road_steps=3)


@pytest.mark.slow
def test_properties_are_those_of_each_image(tiny, digits) -> None:
    images = digits.as_float(slice(0, 3))
    manipulated = np.clip(images + 0.1, 0, 1)
    features_fn = models.features_fn(tiny.model)

    def measure(chunk_size: int) -> dict[str, np.ndarray]:
        return evaluate.explanation_properties(
            KEY, tiny.model_fn, features_fn, tiny.variables, images, manipulated, config=CONFIG, chunk_size=chunk_size
        )

    found = measure(3)
    assert all(values.shape == (3,) and np.isfinite(values).all() for values in found.values())
    place, image_key = 1, jax.random.split(KEY)[0]
    near_key, road_key, _ = jax.random.split(jax.random.fold_in(image_key, place), 3)
    image = jnp.asarray(images[place])
    label = int(tiny.logits_fn(image).argmax())
    map_fn = explain.make_map_fn("gradient_x_input", tiny.logits_fn, label)
    own, after = map_fn(image), map_fn(jnp.asarray(manipulated[place]))
    near = evaluate.neighbours(near_key, image, radius=0.1, num_samples=3)
    features = functools.partial(features_fn, tiny.variables)
    insertion = [
        float(evaluate.area_under_curve(evaluate.insertion_curve(tiny.logits_fn, image, label, m, num_steps=4)))
        for m in (own, after)
    ]
    expected = {
        "max_sensitivity": evaluate.max_sensitivity(map_fn, image, near),
        "relative_output_stability": evaluate.relative_stability(map_fn, tiny.logits_fn, features, image, near)[1],
        "insertion_auc": insertion[0],
        "adversarial_insertion": insertion[1] - insertion[0],
        "road": evaluate.road_curve(road_key, tiny.logits_fn, image, label, own, num_steps=3).mean(),
    }
    for name, value in expected.items():
        assert found[name][place] == pytest.approx(float(value), rel=1e-3, abs=1e-6), name


def test_constant_maps_have_defined_properties() -> None:
    image = jnp.asarray(np.random.default_rng(0).uniform(0.2, 0.8, (3, 4, 1)), jnp.float32)
    near = evaluate.neighbours(KEY, image, radius=0.05, num_samples=4)

    def logits_fn(z):
        return jnp.stack([z.sum(), 2 * z[0].sum()])

    for constant in (0.0, 1 / 12):
        map_fn = lambda z, value=constant: jnp.full((3, 4), value)  # noqa: E731
        assert float(evaluate.max_sensitivity(map_fn, image, near)) == 0
        stability = evaluate.relative_stability(map_fn, logits_fn, logits_fn, image, near)
        assert [float(value) for value in stability[:3]] == [0, 0, 0]
        # Every pixel is as important as every other: reading order.
        reading = jnp.arange(12, 0, -1, dtype=jnp.float32).reshape(3, 4)
        for curve in (evaluate.deletion_curve, evaluate.insertion_curve):
            np.testing.assert_array_equal(
                curve(logits_fn, image, 0, map_fn(image), num_steps=4), curve(logits_fn, image, 0, reading, num_steps=4)
            )
        assert float(evaluate.adversarial_insertion(logits_fn, image, 0, map_fn(image), reading, num_steps=4)) == 0
    # Only the denominator is zero: a map that appears beside a zero one.
    appears = lambda z: jnp.where(jnp.array_equal(z, image), 0.0, 1.0) * jnp.ones((3, 4))  # noqa: E731
    assert float(evaluate.max_sensitivity(appears, image, near)) == pytest.approx(12**0.5)
    assert np.isfinite(float(evaluate.relative_stability(appears, logits_fn, logits_fn, image, near).to_output))


def test_bad_settings_are_input_errors(tiny, digits) -> None:
    images = digits.as_float(slice(0, 2))
    features_fn = models.features_fn(tiny.model)
    with pytest.raises(InputError, match="expected images and their manipulated versions of one shape"):
        evaluate.explanation_properties(KEY, tiny.model_fn, features_fn, tiny.variables, images, images[:1])
    with pytest.raises(InputError, match="unknown explanation method 'shap'"):
        evaluate.explanation_properties(KEY, tiny.model_fn, features_fn, tiny.variables, images, images, method="shap")
    with pytest.raises(InputError, match="num_neighbours must be an integer >= 1, got 0"):
        evaluate.PropertiesConfig(num_neighbours=0)
    with pytest.raises(InputError, match="radius must be a number > 0"):
        evaluate.PropertiesConfig(radius=0.0)
