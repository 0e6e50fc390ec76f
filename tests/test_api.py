"""The package from outside: quick to import, typed for those who use it."""

import inspect
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from jsep import evaluate

ROOT = pathlib.Path(__file__).parent.parent

CONSUMER = """
import jax
import numpy as np

from jsep import attack, data, explain, models
from jsep.types import Array, LogitsFn

def my_batch(images: Array) -> Array:
    return images.reshape(len(images), -1)

logits_fn: LogitsFn = models.wrap(my_batch, input_shape=(2, 2, 1))
image = data.from_arrays(np.zeros((1, 2, 2, 1)), np.zeros(1, int)).as_float()[0]
saliency: Array = explain.gradient(logits_fn, jax.numpy.asarray(image), jax.numpy.int32(0))
adversarial, info = attack.pgd(
    jax.random.key(0), lambda z: logits_fn(z)[0], saliency, epsilon=0.1, alpha=0.1, num_steps=1
)
reveal_type(adversarial)
reveal_type(info.objectives)
wrong: int = explain.explanation_map(saliency)
"""


def test_importing_the_package_loads_nothing_and_then_what_is_used() -> None:
    program = (
        "import sys, jsep; assert 'jax' not in sys.modules; jsep.checks; assert 'jsep.explain' not in sys.modules;"
        "jsep.explain; assert 'matplotlib' not in sys.modules and 'flax' not in sys.modules; jsep.models"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_the_types_reach_a_strict_consumer(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("mypy")
    assert (ROOT / "jsep" / "py.typed").exists()
    (tmp_path / "consumer.py").write_text(CONSUMER)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", "consumer.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"MYPYPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=False
    )
    own = [line for line in done.stdout.splitlines() if line.startswith("consumer.py")]
    # mypy names the class by the module that defines it.
    assert [line.partition(": ")[2] for line in own] == [
        'note: Revealed type is "jax._src.basearray.Array"',
        'note: Revealed type is "jax._src.basearray.Array"',
        'error: Incompatible types in assignment (expression has type "Array", variable has type "int")  [assignment]',
    ]


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (evaluate.accuracies, {"norm", "epsilon", "num_steps", "chunk_size"}),
        (evaluate.correctly_classified, {"norm", "epsilon", "num_steps", "chunk_size"}),
        (evaluate.adversarial_insertion, {"baseline", "num_steps", "chunk_size"}),
    ],
)
def test_help_names_the_settings_that_are_passed_on(function: Callable[..., Any], named: set[str]) -> None:
    shown = inspect.signature(function).parameters
    assert named <= shown.keys()
    assert all(each.kind is not each.VAR_KEYWORD for each in shown.values())
