"""What a call outside of `jax.jit` costs, in a loop over images and labels as in a notebook.

python benchmarks/eager_calls.py

In turns, in one process: the call; the same inside a `jax.jit` written by hand, which takes image, label and key as
arguments; and the call as it was before programs were kept (`compiling anew`). Each round has another image, label and
key, and new function objects. Times are the least of the rounds: what others do on the machine only adds to them.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import harness  # before JAX
import jax
import jax.numpy as jnp
import numpy as np

import jsep.compiled
from jsep import attack, explain, landscape, models

NET = models.ConvNet(num_classes=10)
SHAPE = (32, 32, 3)


def works(logits_fn: Any) -> dict[str, Callable[[Any, Any, Any], Any]]:
    """name -> the call of (key, image, label); all make their functions anew."""

    def map_fn(label: Any) -> Any:
        return explain.make_map_fn("gradient_x_input", logits_fn, label)

    target = jnp.full(SHAPE[:2], 1 / 1024)
    return {
        "pgd": lambda key, image, label: attack.pgd(
            key, attack.cross_entropy(logits_fn, label), image, epsilon=8 / 255, alpha=2 / 255, num_steps=20
        ),
        "attack_explanation": lambda key, image, label: attack.attack_explanation(
            key, map_fn(label), logits_fn, image, target, num_steps=20, learning_rate=1e-3
        ),
        "square": lambda key, image, label: attack.square(
            key, logits_fn, image, label, epsilon=1e-4, num_queries=50
        ),
        "smooth_grad": lambda key, image, label: explain.smooth_grad(
            logits_fn, image, label, key=key, sigma=0.1, num_samples=16
        ),
        "top_eigenvalues": lambda key, image, label: landscape.top_eigenvalues(
            key, attack.cross_entropy(logits_fn, label), image, num_eigenvalues=2, num_matvecs=10
        ),
    }  # fmt: skip


def without_programs(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call as it is where nothing can be kept."""

    def plain(*arguments: Any) -> Any:
        find, jsep.compiled._find = jsep.compiled._find, lambda *_: None
        try:
            return call(*arguments)
        finally:
            jsep.compiled._find = find

    return plain


def seconds_of(call: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[float, float]:
    """(seconds, CPU seconds of the process) of one call."""
    started, busy = time.perf_counter(), time.process_time()
    jax.block_until_ready(call(*arguments))
    return time.perf_counter() - started, time.process_time() - busy


def seconds_of_checks() -> float:
    """What the comparison of arguments and annotations (`jsep/arguments.py`) adds to a call of `attack.pgd`."""
    objective, image = attack.cross_entropy(jnp.ravel, 1), jnp.full((2, 2, 1), 0.5)
    key = jax.random.key(0)
    settings = {"epsilon": 0.1, "alpha": 0.1, "num_steps": 1}
    least = {}
    for name, call in (("checked", attack.pgd), ("bare", attack.pgd.__wrapped__)):
        bound = functools.partial(call, key, objective, image, **settings)
        calls = [seconds_of(bound, ())[0] for _ in range(300)]
        least[name] = float(np.median(calls[50:]))
    return least["checked"] - least["bare"]


def main() -> None:
    settings = harness.parser(__doc__).parse_args()
    variables = models.init(jax.random.key(0), NET, SHAPE)
    images = jax.random.uniform(jax.random.key(1), (settings.repeats + 1, *SHAPE))
    rows = {}
    for name in works(None):
        logits_fn = models.logits_fn(NET, variables)
        by_hand = jax.jit(works(logits_fn)[name])
        calls = {"eager": works(logits_fn)[name], "jitted": by_hand}
        calls["compiling anew"] = without_programs(calls["eager"])
        found: dict[str, list[tuple[float, float]]] = {each: [] for each in calls}
        for turn, image in enumerate(images):
            arguments = (jax.random.key(turn), image, turn % 10)
            for each, call in calls.items():
                found[each].append(seconds_of(call, arguments))
        least = {each: min(seconds for seconds, _ in timed[1:]) for each, timed in found.items()}
        rows[name] = {
            "first_call_seconds": harness.significant(found["eager"][0][0]),
            "milliseconds": {each: harness.significant(1e3 * seconds) for each, seconds in least.items()},
            "milliseconds_beyond_jitted": harness.significant(1e3 * (least["eager"] - least["jitted"]), 3),
            "cpu_seconds_compiling_anew": harness.significant(min(busy for _, busy in found["compiling anew"][1:])),
        }
    record = {
        "work": f"one image of {SHAPE}, ConvNet; the least of {settings.repeats} rounds with new functions",
        "calls": rows,
        "milliseconds_of_argument_checks": harness.significant(1e3 * seconds_of_checks(), 3),
    }
    harness.save(settings, "eager_calls", record)


if __name__ == "__main__":
    main()
