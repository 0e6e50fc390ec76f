"""Bad calls made from the signatures of all public functions (`hostile.py`): clear lines, no finite wrong number."""

import pathlib
import random

import hostile
import jax
import numpy as np
import pytest

from jsep import explain
from jsep.checks import InputError

SLICE, SAMPLE = 60, 2500
"""The numbers of calls: a few of the cheap ones, and those of the whole."""

CHEAP = (
    "stats.",
    "models.",
    "data.",
    "train.",
    "explain.gradient",
    "explain.check",
    "landscape.normalize",
    "attack.dlr",
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text is a good path for some arguments: what is written there is no part of the checkout."""
    monkeypatch.chdir(tmp_path)


def drawn(number: int, *prefixes: str) -> list[hostile.Call]:
    found = [call for call in hostile.calls() if call.function.startswith(prefixes or "")]
    random.Random(26).shuffle(found)
    return found[:number]


def test_every_public_function_has_good_values() -> None:
    missing = {name: hostile.good_arguments(name, function)[1] for name, function in hostile.functions().items()}
    missing = {name: arguments for name, arguments in missing.items() if arguments}
    assert not missing, "give good values of these arguments in VALUES or OWN of tests/hostile.py"
    assert hostile.NOT_CALLED.keys() <= {
        f"{part.__name__.removeprefix('jsep.')}.{name}" for part in hostile.PARTS for name in part.__all__
    }


@pytest.mark.slow
def test_bad_calls_of_cheap_functions_are_clear_lines() -> None:
    counts, wrong = hostile.judged(drawn(SLICE, *CHEAP))
    assert len(wrong) <= 0.03 * SLICE, (counts, wrong)
    assert not counts["finite"], wrong


@pytest.mark.slow
@pytest.mark.long
def test_of_all_bad_calls_97_percent_are_clear_lines_and_none_is_a_finite_wrong_number() -> None:
    counts, wrong = hostile.judged(drawn(SAMPLE))
    print(counts)
    assert len(wrong) <= 0.03 * SAMPLE, (counts, wrong)
    assert not counts["finite"], wrong


class ForeignTensor:
    """What a tensor of PyTorch or TensorFlow is to NumPy: convertible, and nothing else."""

    def __init__(self, values: object, fault: str = "") -> None:
        self.values, self.fault = np.asarray(values), fault

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        if self.fault:
            raise RuntimeError(self.fault)
        return self.values.astype(dtype or self.values.dtype)


def test_tensors_of_other_frameworks_are_arrays() -> None:
    weights = jax.random.normal(jax.random.key(0), (48, 5))
    image = np.random.default_rng(0).uniform(size=(4, 4, 3)).astype(np.float32)
    arguments = (lambda x: x.reshape(-1) @ weights, ForeignTensor(image))
    expected = weights[:, 3].reshape(4, 4, 3)
    np.testing.assert_allclose(explain.gradient(*arguments, ForeignTensor(3)), expected, rtol=1e-6)
    np.testing.assert_allclose(explain.gradient(*arguments, label=ForeignTensor(3)), expected, rtol=1e-6)
    with pytest.raises(InputError, match="a ForeignTensor was given that is no array of the CPU: use detach"):
        explain.gradient(*arguments, ForeignTensor(3, "use detach()"))
