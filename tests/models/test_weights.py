import jax
import numpy as np
import pytest

from jsep import models
from jsep.checks import InputError


@pytest.fixture(scope="module")
def variables():
    model = models.create("convnet", num_classes=3, input_shape=(8, 8, 1))
    return models.init(jax.random.key(0), model, (8, 8, 1))


def test_what_is_loaded_is_the_float16_rounding_of_what_was_saved(variables, tmp_path):
    models.save_weights(tmp_path / "w.npz", variables)
    loaded = models.load_weights(tmp_path / "w.npz", variables)
    assert jax.tree.structure(loaded) == jax.tree.structure(variables)
    for own, kept in zip(jax.tree.leaves(variables), jax.tree.leaves(loaded), strict=True):
        assert kept.dtype == np.float32
        np.testing.assert_array_equal(kept, np.asarray(own).astype(np.float16).astype(np.float32))


def test_a_damaged_file_is_refused_by_its_hash(variables, tmp_path):
    path = tmp_path / "w.npz"
    digest = models.save_weights(path, variables)
    models.load_weights(path, variables, expected_sha256=digest)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        models.load_weights(path, variables, expected_sha256=digest)


def test_a_cut_file_and_weights_of_another_model_are_one_line_of_error(variables, tmp_path):
    path = tmp_path / "w.npz"
    models.save_weights(path, variables)
    other = models.init(jax.random.key(0), models.create("convnet", num_classes=4, input_shape=(8, 8, 1)), (8, 8, 1))
    with pytest.raises(InputError, match="of another model"):
        models.load_weights(path, other)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        models.load_weights(path)


def test_values_that_float16_cannot_hold_are_refused(tmp_path):
    with pytest.raises(InputError, match="finite"):
        models.save_weights(tmp_path / "w.npz", {"params": {"kernel": np.array([1e6])}})
    assert not list(tmp_path.iterdir())
