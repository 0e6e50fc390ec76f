"""The sanity check of randomised weights: what is permuted, and what must and what must not notice it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import evaluate, explain

KEY = jax.random.key(0)


def test_permuted_keeps_values_and_structure_and_changes_what_was_chosen(tiny) -> None:
    other = evaluate.permute_weights(KEY, tiny.variables, lambda name: name.startswith("params/head"))
    assert jax.tree.structure(other) == jax.tree.structure(tiny.variables)
    for path, leaf in jax.tree_util.tree_leaves_with_path(other):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        before = functools.reduce(lambda tree, key: tree[key], name.split("/"), tiny.variables)
        np.testing.assert_array_equal(np.sort(leaf.ravel()), np.sort(before.ravel()))
        assert bool(jnp.array_equal(leaf, before)) != name.startswith("params/head"), name
    # What else is drawn does not change the draw of the head.
    everything = evaluate.permute_weights(KEY, tiny.variables)
    np.testing.assert_array_equal(everything["params"]["head"]["kernel"], other["params"]["head"]["kernel"])


def test_gradient_notices_new_weights_and_the_image_itself_does_not(tiny, digits) -> None:
    image = digits.as_float(slice(0, 1))[0]
    other = evaluate.permute_weights(KEY, tiny.variables)

    def of_gradient(variables):
        return explain.make_map_fn("gradient", functools.partial(tiny.model_fn, variables), 3)

    similar = jax.jit(lambda a, b: evaluate.randomisation_similarity(of_gradient, a, b, image))
    assert float(similar(tiny.variables, tiny.variables)) == pytest.approx(1, abs=1e-6)
    assert abs(float(similar(tiny.variables, other))) < 0.6
    edges = evaluate.randomisation_similarity(lambda _: lambda z: z[..., 0], tiny.variables, other, image)
    assert float(edges) == pytest.approx(1, abs=1e-6)
    cosine = evaluate.randomisation_similarity(
        lambda _: lambda z: z[..., 0], tiny.variables, other, image, similarity=evaluate.cosine_similarity
    )
    assert float(cosine) == pytest.approx(1, abs=1e-6)
