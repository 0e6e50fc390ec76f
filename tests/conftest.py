"""Shared fixtures: float64, a tiny initialised model, a small real data set, the path of the TFDS data."""

import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import hypothesis
import jax
import oracles
import pytest

from jsep import data, models
from jsep.types import LogitsFn, ModelFn, PyTree

# The same examples in every run: a gate that fails by chance teaches people to press again.
hypothesis.settings.register_profile("jsep", deadline=None, max_examples=25, derandomize=True, database=None)
hypothesis.settings.load_profile("jsep")

# The tests spend their time compiling small programs, not running them; scripts in processes of their own optimise.
jax.config.update("jax_disable_most_optimizations", True)

# Eight devices, of which a test uses the first unless it asks for more.
jax.config.update("jax_num_cpu_devices", 8)

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture
def float64() -> Iterator[None]:
    """float64 arithmetic for one test."""
    with jax.enable_x64(True):
        yield


class TinyModel(NamedTuple):
    """A ConvNet of a few hundred parameters over 8x8x1 images and 10 classes."""

    model: models.Classifier
    variables: PyTree
    model_fn: ModelFn
    logits_fn: LogitsFn


@pytest.fixture(scope="session")
def tiny() -> TinyModel:
    model = models.ConvNet(num_classes=10, widths=(4, 6))
    variables = oracles.random_variables(jax.eval_shape(lambda: models.init(jax.random.key(0), model, (8, 8, 1))))
    variables = jax.device_put(variables)
    return TinyModel(model, variables, models.model_fn(model), models.logits_fn(model, variables))


@pytest.fixture(scope="session")
def digits() -> data.Dataset:
    """64 real training images, each class in its share."""
    return data.stratified_subset(data.load("digits", split="train"), 64)


@pytest.fixture(scope="session")
def tfds_dir() -> str:
    """A TFDS directory with real data: JSEP_TEST_DATA, or ../shared/data/tfds beside the repository."""
    given = os.environ.get("JSEP_TEST_DATA")
    path = pathlib.Path(given) if given else _REPOSITORY.parent / "shared" / "data" / "tfds"
    if not path.is_dir():
        pytest.skip(f"no real data at {path}: set JSEP_TEST_DATA to a TFDS directory")
    return str(path)
