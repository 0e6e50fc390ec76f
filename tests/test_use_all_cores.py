"""What `jsep.devices.use_all_cores` does to XLA_FLAGS, and that XLA then does what it is for."""

import importlib.util
import os
import subprocess
import sys

import pytest

from jsep import devices

OPTIONS = (
    "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION "
    "--xla_cpu_prefer_vector_width=512"
)


def test_use_all_cores_adds_its_options_to_those_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    assert devices.use_all_cores()
    assert devices.use_all_cores()
    assert os.environ["XLA_FLAGS"] == f"--xla_force_host_platform_device_count=2 {OPTIONS}"


@pytest.mark.parametrize("place", range(2))
def test_use_all_cores_leaves_a_value_that_is_given(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    options = OPTIONS.split()
    given = options[place].split("=")[0] + "="
    monkeypatch.setenv("XLA_FLAGS", given)
    assert not devices.use_all_cores()
    assert os.environ["XLA_FLAGS"].split() == [given, options[1 - place]]


@pytest.mark.parametrize("plugin", ["jax_plugins", "libtpu"])
def test_use_all_cores_does_nothing_where_an_accelerator_may_be_found(
    plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name == plugin else find_spec(name))
    assert not devices.use_all_cores()
    assert "XLA_FLAGS" not in os.environ


def test_use_all_cores_adds_nothing_that_jaxlib_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setattr(devices, "_OPTIONS", {"xla_cpu_no_such_option": "1"})
    assert not devices.use_all_cores()
    assert "XLA_FLAGS" not in os.environ


def test_after_use_all_cores_a_convolution_is_no_call_of_ynnpack() -> None:
    program = """
from jsep import devices
assert devices.use_all_cores()
import jax
numbers = ("NHWC", "HWIO", "NHWC")
conv = jax.jit(lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=numbers))
shapes = (64, 32, 32, 64), (3, 3, 64, 64)
compiled = conv.lower(*(jax.ShapeDtypeStruct(shape, "float32") for shape in shapes)).compile().as_text()
print("convolution(" in compiled, "ynn" in compiled)
"""
    environment = {**os.environ, "XLA_FLAGS": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["True", "False"], done.stderr
