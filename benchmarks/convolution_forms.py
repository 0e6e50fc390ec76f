"""The time that each CPU form of the convolutions saves within a compiled training step.

python benchmarks/convolution_forms.py --models convnet resnet18 mobilenet_v2

Alternates a step without one form and the step with all forms; reports the median of the rounds. Times are CPU seconds
of all threads, so that other programs hardly affect the ratios.
"""

import argparse
import contextlib
import resource
import statistics
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from jsep import devices, models, train
from jsep.models import layers
from jsep.models.convolution import conv2d
from jsep.models.cpu import stride_one
from jsep.models.cpu.lax_conv import lax_conv

RECIPES = {"convnet": (128, 10), "resnet18": (128, 1), "mobilenet_v2": (32, 2)}
"""model -> (batch size, PGD steps) of the training step."""

NEEDED_SHARE = 0.15
"""The share of a step that a form must save to be kept."""


def _plain(images: Any, kernel: Any, strides: int, padding: int, groups: int = 1) -> Any:
    return lax_conv(images, kernel, padding=((padding, padding), (padding, padding)), strides=strides, groups=groups)


def _without_strided(images: Any, kernel: Any, *, strides: int, padding: int, groups: int = 1) -> Any:
    form = conv2d if strides == 1 or groups > 1 else _plain
    return form(images, kernel, strides=strides, padding=padding, groups=groups)


def _without_depthwise(images: Any, kernel: Any, *, strides: int, padding: int, groups: int = 1) -> Any:
    form = _plain if groups > 1 else conv2d
    return form(images, kernel, strides=strides, padding=padding, groups=groups)


FORMS: dict[str, Callable[[], Any]] = {
    "all forms": contextlib.nullcontext,
    "without strided": lambda: _patched_layers(_without_strided),
    "without patches": lambda: mock.patch.object(stride_one, "_is_small", return_value=False),
    "without depthwise": lambda: _patched_layers(_without_depthwise),
    "the library's alone": lambda: _patched_layers(_plain),
}
"""form left out -> a context in which steps are traced without it."""


@contextlib.contextmanager
def _patched_layers(form: Callable[..., Any]) -> Iterator[None]:
    """A context in which the layers of the models call `form`."""
    with mock.patch.object(layers, "conv2d", form):
        yield


def _used_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _step(name: str, batch: int, num_steps: int) -> Callable[[], float]:
    """A compiled training step on zeros, which can be called repeatedly."""
    model = models.create(name, num_classes=10, input_shape=(32, 32, 3))
    config = train.TrainConfig(objective="mat", epochs=1, batch_size=batch, attack=train.PgdConfig(num_steps=num_steps))
    train.step._compiled_steps.cache_clear()  # type: ignore[attr-defined]
    jax.clear_caches()
    program, shapes = train.step_program(model, config, (32, 32, 3), batch)
    compiled = program.lower(*shapes).compile()  # type: ignore[attr-defined]
    key = jax.random.key(0)
    images = np.asarray(jax.random.uniform(key, (batch, 32, 32, 3)) * 255).astype(np.uint8)

    def run() -> float:
        state = train.init_state(key, model, (32, 32, 3), config, batch)
        labels = jnp.zeros(batch, jnp.int32)
        jax.block_until_ready(state)
        started = _used_seconds()
        jax.block_until_ready(compiled(state, images, labels, key, {}, np.int32(1)))
        return _used_seconds() - started

    return run


def main() -> None:
    """Prints a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=list(FORMS))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    devices.use_all_cores()
    for name in arguments.models:
        batch, num_steps = RECIPES[name]
        steps = {}
        for form in arguments.forms:
            with FORMS[form]():
                steps[form] = _step(name, batch, num_steps)
                steps[form]()
        seconds: dict[str, list[float]] = {form: [] for form in steps}
        for _ in range(arguments.rounds):
            for form, step in steps.items():
                seconds[form].append(step())
        middle = {form: statistics.median(values) for form, values in seconds.items()}
        print(f"{name}, MAT step, batch {batch}, {num_steps} PGD steps")
        for form, value in middle.items():
            share = 1 - middle["all forms"] / value
            print(f"  {form:22} {value:7.2f} s of the processor, all forms save {100 * share:5.1f} % of it")


if __name__ == "__main__":
    main()
