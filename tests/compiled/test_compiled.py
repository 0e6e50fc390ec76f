"""Calls that compile once: what hits, that nothing is ever stale, that nothing is kept alive."""

import functools
import gc
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import equinox
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import attack, explain
from jsep.checks import InputError
from jsep.compiled import MAX_PROGRAMS, call, clear_compiled, compiled, depends_on, num_programs, shape_of
from jsep.types import Array

IMAGE = jnp.linspace(0.1, 0.9, 6).reshape(1, 2, 3)
FACTOR = 2.0
TABLE: dict[str, Any] = {"factor": 2.0, "shift": jnp.ones(3)}
STEPS = [1.0, 2.0]
settings = types.ModuleType("settings")
settings.factor = 2.0  # type: ignore[attr-defined]
_traces = 0


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    clear_compiled()
    yield
    clear_compiled()


@compiled
def total(function: Callable[..., Array], image: Array, *, scale: Any = 1.0, num_steps: int = 2) -> Array:
    global _traces
    _traces += 1
    return jax.lax.fori_loop(0, num_steps, lambda i, z: z + scale * jnp.sum(function(image)), jnp.zeros(()))


def plain(function: Callable[..., Array], **more: Any) -> float:
    return float(total.__wrapped__(function, IMAGE, **more))  # type: ignore[attr-defined]


def check(function: Callable[..., Array], **more: Any) -> int:
    """How often a call traces; its value must be the plain function's."""
    before = _traces
    value = float(total(function, IMAGE, **more))
    traced = _traces - before
    assert value == pytest.approx(plain(function, **more), rel=1e-6)
    return traced


def by_label(label: Any) -> Callable[[Array], Array]:
    return lambda image: image.reshape(-1)[label] * image


@pytest.mark.parametrize(
    "make",
    [
        by_label,
        lambda n: functools.partial(lambda k, image: image * k, n + 1),
        lambda n: functools.partial(lambda image, *, k: image * k, k=0.5 * n),
        lambda n: lambda image, k=n: image * k,
        lambda n: lambda image: image @ (jnp.ones((3, 2)) * n),
        lambda n: (lambda weights: lambda image: image * weights[0] + weights[1]["b"])([jnp.ones(3) * n, {"b": n}]),
        lambda n: attack.cross_entropy(lambda image: image.reshape(-1)[:3] * 3, n),
        lambda n: explain.make_map_fn("gradient", lambda image: image.reshape(-1)[:3] ** 2, n),
        lambda n: jax.vmap(by_label(n)),
        lambda n: jax.grad(lambda image: jnp.sum(image**3) * n),
        lambda n: Affine(n).apply,
        lambda n: equinox.nn.Lambda(by_label(n)),
    ],
)  # fmt: skip
def test_functions_made_anew_share_a_program(make: Callable[[int], Any]) -> None:
    assert check(make(0)) >= 1
    assert [check(make(n)) for n in (1, 2)] == [0, 0]


class Affine:
    """A model of a user's own."""

    def __init__(self, n: float) -> None:
        self.weights, self.calls = np.full(3, float(n)), 0

    def apply(self, image: Array) -> Array:
        return image * self.weights


def test_settings_are_other_programs_and_floats_are_not() -> None:
    assert check(by_label(1)) == 1
    assert check(by_label(1), scale=0.5) == 0
    assert check(by_label(1), scale=np.float32(0.5)) == 1  # of another type
    assert check(by_label(1), num_steps=3) == 1
    assert check(by_label(1), num_steps=2) == 0


def test_number_that_code_needs_is_a_setting_and_the_label_beside_it_is_not() -> None:
    def make(label: int, count: int) -> Callable[[Array], Array]:
        return lambda image: jnp.stack([image.reshape(-1)[label]] * count)

    assert check(make(0, 2)) > 1
    assert check(make(1, 2)) == 0
    assert check(make(1, 3)) == 1
    assert check(make(2, 3)) == 0


def test_global_that_is_bound_again_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    module = globals()
    function = lambda image: image * FACTOR  # noqa: E731
    first = check(function)
    monkeypatch.setitem(module, "FACTOR", 3.0)
    assert (first, check(function)) == (1, 0)
    monkeypatch.setitem(module, "FACTOR", jnp.ones(3))
    assert check(function) == 1
    monkeypatch.setitem(module, "by_label", lambda label: lambda image: image + label)
    check(lambda image: by_label(1)(image))


def test_changes_of_what_a_function_holds_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, held, values, model = np.ones(3), {"a": 1.0}, [1.0, 2.0], Affine(1)

    class Part:
        factor = 2.0

        def apply(self, image: Array) -> Array:
            return image * self.factor

    part = Part()
    functions = (
        lambda image: image * weights,
        lambda image: image * held["a"],
        lambda image: image * sum(values),
        model.apply,
        part.apply,
        lambda image: image * TABLE["factor"] + TABLE["shift"],
        lambda image: image * settings.factor,
        lambda image: image * Part.factor,
    )
    for function in functions:
        check(function)
    weights *= 5
    held["a"] = 7.0
    values.append(4.0)
    model.weights[1] = 9.0
    Part.factor = 11.0
    monkeypatch.setitem(TABLE, "factor", 13.0)
    monkeypatch.setattr(settings, "factor", 15.0)
    for function in functions:
        check(function)
    Part.apply = lambda self, image: image - 1  # type: ignore[method-assign]
    model.weights = np.full(3, 17.0)
    held.clear()
    held["a"] = 3
    for function in functions:
        check(function)


def test_order_of_a_dictionary_is_kept() -> None:
    def chain(layers: dict[str, Any]) -> Callable[[Array], Array]:
        def function(image: Array) -> Array:
            for factor, shift in layers.values():
                image = image * factor + shift
            return image

        return function

    check(chain({"b": (2.0, 1.0), "a": (3.0, 5.0)}))
    check(chain({"a": (3.0, 5.0), "b": (2.0, 1.0)}))


def test_code_that_acts_is_called_every_time() -> None:
    calls: list[int] = []
    numbers = {"calls": 0}

    def counts(image: Array) -> Array:
        calls.append(1)
        return image

    def counts_in_a_dictionary(image: Array) -> Array:
        numbers["calls"] += 1
        return image * numbers["calls"]

    def counts_outside(image: Array) -> Array:
        nonlocal outside
        outside += 1
        return image

    def draws(image: Array) -> Array:
        return image * np.random.default_rng().uniform()

    outside = 0
    for _ in range(3):
        total(counts, IMAGE)
        total(counts_in_a_dictionary, IMAGE)
        total(counts_outside, IMAGE)
    assert len(calls) == 3
    assert numbers["calls"] == 3
    assert outside == 3
    assert float(total(draws, IMAGE)) != float(total(draws, IMAGE))
    assert num_programs() == 0


def test_what_cannot_be_read_is_not_kept() -> None:
    iterator = iter(range(100))
    assert float(total(lambda image: image * next(iterator), IMAGE)) == 0
    assert float(total(lambda image: image * next(iterator), IMAGE)) > 0
    assert num_programs() == 0


def test_branch_on_the_type_of_a_number_is_that_of_the_number() -> None:
    def make(scale: Any) -> Callable[[Array], Array]:
        return lambda image: image * (scale if isinstance(scale, float) else 100.0)

    check(make(2.0))
    check(make(3.0))
    check(make(2))


def test_models_of_flax_and_equinox_share_programs_between_weights() -> None:
    class Net(nn.Module):
        width: int = 4

        @nn.compact
        def __call__(self, image: Array) -> Array:
            return nn.Dense(3)(nn.relu(nn.Dense(self.width)(image.reshape(-1))))

    def logits_fn(seed: int, width: int = 4) -> Callable[[Array], Array]:
        net = Net(width)
        variables = net.init(jax.random.key(seed), IMAGE)
        return lambda image: net.apply(variables, image)

    assert [check(logits_fn(seed)) for seed in (0, 1)] == [1, 0]
    assert check(logits_fn(0, 5)) == 1
    linears = [equinox.nn.Linear(6, 3, key=jax.random.key(seed)) for seed in (0, 1)]
    assert [check(lambda image, linear=linear: linear(image.reshape(-1))) for linear in linears] == [1, 0]


def test_nothing_of_a_model_is_kept_alive() -> None:
    class Weights:
        def __init__(self) -> None:
            self.array = jnp.ones(3)

        def __call__(self, image: Array) -> Array:
            return image * self.array

    def scaled_by(array: np.ndarray) -> Callable[[Array], Array]:
        return lambda image: image * array

    model, function = Weights(), scaled_by(np.ones(3))
    jitted = jax.jit(lambda image: image * 2)
    references = [weakref.ref(each) for each in (model, function, jitted)]
    for each in (model, function, jitted):
        check(each)
        check(each)
    del model, function, jitted, each
    gc.collect()
    assert [reference() for reference in references] == [None] * 3
    clear_compiled()
    assert num_programs() == 0


def test_cache_is_bounded_and_a_repeated_call_adds_nothing() -> None:
    for length in range(MAX_PROGRAMS + 5):
        shape_of(lambda image, length=length: jnp.zeros(length) + image.sum(), IMAGE)
    assert num_programs() == MAX_PROGRAMS
    clear_compiled()
    for label in range(50):
        total(by_label(label % 6), IMAGE)
    assert num_programs() == 1


def test_inside_a_transformation_the_function_is_called() -> None:
    assert float(jax.jit(lambda z: total(jnp.sin, z))(IMAGE)) == pytest.approx(plain(jnp.sin), rel=1e-6)
    gradient = jax.grad(lambda z: total(jnp.sin, z))(IMAGE)
    np.testing.assert_allclose(gradient, 2 * jnp.cos(IMAGE), rtol=1e-6)
    scaled = jax.vmap(lambda scale: total(jnp.sin, IMAGE, scale=scale))(jnp.ones(2))
    np.testing.assert_allclose(scaled, plain(jnp.sin), rtol=1e-6)
    weights = lambda w: total(lambda image: w * image, IMAGE)  # noqa: E731
    assert float(jax.grad(weights)(1.0)) == pytest.approx(2 * float(IMAGE.sum()), rel=1e-6)
    assert num_programs() == 0


def test_values_are_checked_at_every_call() -> None:
    key = jax.random.key(0)
    run = functools.partial(attack.pgd, key, attack.cross_entropy(lambda z: z.reshape(-1), 1), IMAGE, num_steps=2)
    run(epsilon=0.1, alpha=0.1)
    for _ in range(2):
        with pytest.raises(InputError, match="alpha must be a number >= 0, got -1"):
            run(epsilon=0.1, alpha=-1.0)
    with pytest.raises(InputError, match=r"label must be in 0 .. 5 \(the model has 6 classes\), got 6"):
        explain.gradient(lambda z: z.reshape(-1), IMAGE, 6)


def test_errors_are_those_of_the_plain_call() -> None:
    def fails(image: Array) -> Array:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        total(fails, IMAGE)
    with pytest.raises(TypeError, match="unexpected keyword"):
        total(jnp.sin, IMAGE, colour=3)


def test_registry_and_context_are_part_of_a_program() -> None:
    rules: dict[str, Any] = {"double": lambda z: 2 * z}
    depends_on(rules)

    @compiled
    def ruled(name: str, image: Array) -> Array:
        return rules[name](image)

    assert float(ruled("double", IMAGE).sum()) == pytest.approx(2 * float(IMAGE.sum()))
    rules["double"] = lambda z: 3 * z
    assert float(ruled("double", IMAGE).sum()) == pytest.approx(3 * float(IMAGE.sum()))
    with jax.enable_x64(True):
        assert call(lambda z: z * 1.0, np.ones(3)).dtype == np.float64
    assert call(lambda z: z * 1.0, np.ones(3)).dtype == np.float32


def test_an_object_that_function_and_arguments_of_a_partial_share_is_met_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As the sizes of an Equinox layer, which are in its static part and beside its arrays."""
    shared = (1.0, (2.0, 3.0))

    class Scaled:
        def __init__(self, scale: tuple[float, Any]) -> None:
            self.scale = scale

        def __call__(self, held: tuple[float, Any], image: jax.Array) -> jax.Array:
            return image.ravel()[:2] * self.scale[1][0] * held[1][1]

    with caplog.at_level("DEBUG", logger="jsep.compiled"):
        found = explain.gradient(functools.partial(Scaled(shared), shared), jnp.ones((2, 2, 1)), 0)
    np.testing.assert_allclose(found[0, 0, 0], 6.0)
    assert not caplog.records
