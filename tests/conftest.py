"""Shared fixtures: float64, a tiny initialised model, a small real data set, the path of the TFDS data."""

import gc
import os
import pathlib
import subprocess
import sys
import tempfile
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

# The tests spend their time compiling small programs, not running them. Without XLA's emitters of fusions, and in one
# part where it makes up to 32, a program compiles in less than half the time.
jax.config.update("jax_disable_most_optimizations", True)
_QUICK = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


def _takes(options: str) -> bool:
    """Whether this jaxlib knows the options of XLA: one that it does not know ends the process."""
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    environment = os.environ | {"XLA_FLAGS": options, "JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


if "JSEP_TESTS_BEGAN" not in os.environ:  # workers, and the scripts that tests start, inherit what is found here
    os.environ["JSEP_TESTS_BEGAN"] = "1"
    _options = f"{os.environ.get('XLA_FLAGS', '')} {_QUICK}".strip()
    if _takes(_options):
        os.environ["XLA_FLAGS"] = _options

# Eight devices, of which a test uses the first unless it asks for more.
jax.config.update("jax_num_cpu_devices", 8)

# What one program of this run has compiled, the others need not: workers and scripts share a directory, which a run
# begins empty.
_CACHE = {
    "JAX_COMPILATION_CACHE_DIR": "",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def pytest_collection_finish() -> None:
    # What the imports left stays: no collection needs to look at it again.
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the workers inherit it
        directory = tempfile.TemporaryDirectory(prefix="jsep_compiled_")
        config.add_cleanup(directory.cleanup)
        os.environ.update(_CACHE | {"JAX_COMPILATION_CACHE_DIR": directory.name})
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(autouse=True, scope="module")
def _dropped_programs() -> Iterator[None]:
    """What a module compiled is dropped after it where the process is large: workers grew to 3 GB."""
    yield
    if _resident_bytes() > 2**30:
        jax.clear_caches()
        gc.collect()


def _resident_bytes() -> int:
    statistics = pathlib.Path("/proc/self/statm")  # Linux's
    return int(statistics.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statistics.exists() else 0


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
