"""What a model of each framework is: a function of variables and images in evaluation mode, and its variables."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen
import jax
import numpy as np
from flax import nnx

from jsep.checks import InputError
from jsep.models.functional import by_name, from_names
from jsep.models.functions import split_variables
from jsep.types import Array, PyTree


@dataclasses.dataclass(frozen=True, eq=False)
class Static:
    """A value as a static argument of jit: equal by value where it can be hashed, else only to itself."""

    value: Any

    def __hash__(self) -> int:
        try:
            return hash(self.value)
        except TypeError:
            return id(self.value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Static):
            return False
        if self.value is other.value:
            return True
        try:
            return hash(self.value) == hash(other.value) and bool(self.value == other.value)
        except TypeError:
            return False


class Parts(NamedTuple):
    """apply: (variables, images or one image) -> output; batched: whether it takes a batch, None: to be found out;
    hint: what to do about a failing forward pass; reference: images as the model sees them -> the output that its own
    framework computes, and a name for the layer at fault where JAX computes another one."""

    apply: Any
    variables: PyTree
    batched: bool | None
    channels_first: bool = False
    hint: str = ""
    reference: Callable[[np.ndarray], tuple[Any, Callable[[], str]]] | None = None


_EVALUATION = {
    "train": False, "training": False, "is_training": False, "is_train": False,
    "deterministic": True, "use_running_average": True, "inference": True,
}  # fmt: skip
"""Argument of a model's call -> its value in evaluation mode."""


def _evaluation_arguments(call: Callable[..., Any]) -> tuple[tuple[str, bool], ...]:
    """Those of `_EVALUATION` that the call takes."""
    return tuple((name, _EVALUATION[name]) for name in inspect.signature(call).parameters if name in _EVALUATION)


_TRAINS = (
    "is it in training mode? Dropout and batch statistics need an argument such as train=False: wrap "
    "lambda variables, images: ... with it"
)


class _Linen(NamedTuple):
    module: Any
    arguments: tuple[tuple[str, bool], ...]

    def __call__(self, variables: PyTree, images: Array) -> Any:
        return self.module.apply(variables, images, **dict(self.arguments))


def _linen(model: Any, variables: PyTree) -> Parts:
    if not isinstance(variables, Mapping) or "params" not in variables:
        got = f"a dict of {', '.join(variables)}" if isinstance(variables, Mapping) else type(variables).__name__
        raise InputError(
            f'a Linen module needs its variables, {{"params": ..., "batch_stats": ...}} as model.init gives them: '
            f"wrap(model, variables, ...), got {got}"
        )
    return Parts(_Linen(model, _evaluation_arguments(type(model).__call__)), variables, True, hint=_TRAINS)


@dataclasses.dataclass(frozen=True)
class _Nnx:
    """A copy of the module, which nothing changes: for `jsep.compiled` the object itself is its code."""

    is_fixed_code = True
    graph: Any
    arguments: tuple[tuple[str, bool], ...]
    # Keys and counters, which no value depends on: a model that draws changes them, and is refused.
    random: Any = dataclasses.field(compare=False)
    state: Any = dataclasses.field(compare=False)  # its structure alone counts, which the graph has too

    def __call__(self, variables: Mapping[str, Array], images: Array) -> Any:
        model = nnx.merge(self.graph, self.random, from_names(self.state, variables))
        before = jax.tree.leaves(nnx.state(model))
        output = model(images, **dict(self.arguments))
        changed = [a is not b for a, b in zip(before, jax.tree.leaves(nnx.state(model)), strict=True)]
        if any(changed):
            paths = [".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model))]
            name = next((path for path, is_new in zip(paths, changed, strict=False) if is_new), "its state")
            raise InputError(
                f"the model changes {name} in a forward pass of evaluation mode, as dropout and batch normalisation do "
                "in training: its layers must follow model.eval()"
            )
        return output


def _nnx(model: Any, variables: PyTree) -> Parts:
    _refuse_variables(variables, "an NNX module", "their state is part of the module: nnx.update(model, state) first")
    own = nnx.merge(*nnx.split(model))  # a copy, so that the caller's stays in its mode
    own.eval()
    graph, random, state = nnx.split(own, nnx.RngState, ...)  # type: ignore[misc]
    shapes = jax.eval_shape(lambda: state)
    apply = _Nnx(graph, _evaluation_arguments(type(model).__call__), random, shapes)
    return Parts(apply, by_name(state), True)


def _equinox(model: Any, variables: PyTree) -> Parts:
    import equinox

    own = equinox.nn.inference_mode(model)
    parameters = inspect.signature(type(model).__call__).parameters
    without_default = {n for n, each in parameters.items() if each.default is inspect.Parameter.empty}
    if variables is None and "state" in without_default:
        raise InputError(f"the Equinox module {type(model).__name__} takes a state: wrap(model, state, ...)")
    if variables is not None and "state" not in parameters:
        raise InputError(f"the Equinox module {type(model).__name__} takes no state beside itself")
    # A key is for dropout, which is off.
    key: dict[str, Any] = {"key": None} if "key" in without_default else {}
    arrays, rest = equinox.partition(own, equinox.is_array)
    apply = _Equinox(equinox.combine, Static(rest), (*_evaluation_arguments(type(model).__call__), *key.items()))
    return Parts(apply, arrays if variables is None else (arrays, variables), None, channels_first=True)


class _Equinox(NamedTuple):
    combine: Callable[..., Any]
    rest: Static
    arguments: tuple[tuple[str, Any], ...]

    def __call__(self, variables: PyTree, image: Array) -> Any:
        if isinstance(variables, tuple):
            arrays, state = variables
            return self.combine(arrays, self.rest.value)(image, state, **dict(self.arguments))[0]
        return self.combine(variables, self.rest.value)(image, **dict(self.arguments))


def _keras(model: Any, variables: PyTree) -> Parts:
    import keras

    _refuse_variables(variables, "a Keras model", "they are part of the model: model.set_weights(...) first")
    if keras.backend.backend() != "jax":
        raise InputError(
            f"Keras runs on the backend {keras.backend.backend()!r}, which JAX cannot differentiate: set the "
            "environment variable KERAS_BACKEND=jax before keras is imported"
        )
    if not model.built:
        raise InputError("the Keras model has no variables yet: call it once on images, or give it an Input layer")
    values = {name: [each.value for each in getattr(model, name)] for name in _KERAS_VARIABLES}
    return Parts(_Keras(model), values, True)


_KERAS_VARIABLES = ("trainable_variables", "non_trainable_variables")


class _Keras:
    """The call of a model without its variables, which are arguments: what is left does not change."""

    is_fixed_code = True

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, variables: PyTree, images: Array) -> Any:
        return self._model.stateless_call(*(variables[name] for name in _KERAS_VARIABLES), images, training=False)[0]


def _haiku(model: Any, variables: PyTree) -> Parts:
    if variables is None:
        raise InputError("a Haiku transform needs its parameters, as model.init gives them: wrap(model, params, ...)")
    has_state = type(model).__name__ == "TransformedWithState"
    if has_state and not (isinstance(variables, tuple) and len(variables) == 2):
        raise InputError("a Haiku transform with state needs (params, state), as model.init gives them")
    takes_key = "rng" in inspect.signature(model.apply).parameters
    hint = "an argument such as is_training is given by wrapping lambda params, images: model.apply(...) with it"
    return Parts(_Haiku(model.apply, has_state, takes_key), variables, True, hint=hint)


class _Haiku(NamedTuple):
    apply: Callable[..., Any]
    has_state: bool
    takes_key: bool

    def __call__(self, variables: PyTree, images: Array) -> Any:
        leading = variables if self.has_state else (variables,)
        # No key: whatever draws random numbers fails, and says so.
        output = self.apply(*leading, *([None] if self.takes_key else []), images)
        return output[0] if self.has_state else output


def _torch(model: Any, variables: PyTree) -> Parts:
    from jsep.models.torch_modules import convert, reference

    _refuse_variables(variables, "a PyTorch module", "they are part of the module: model.load_state_dict(...) first")
    apply, own = convert(model)
    return Parts(_Translated(apply), own, True, channels_first=True, reference=functools.partial(reference, apply, own))


class _Translated:
    """What a PyTorch module was translated to: (parameters, images) -> logits. Nothing changes it any more, so
    `jsep.compiled` takes it as it is: calls outside of jit compile once."""

    is_fixed_code = True

    def __init__(self, apply: Callable[..., Any]) -> None:
        self._apply = apply

    def __call__(self, variables: PyTree, images: Array) -> Any:
        return self._apply(variables, images)


def _function(model: Any, variables: PyTree) -> Parts:
    apply, own = (model, variables) if variables is not None else split_variables(model)
    return Parts(apply, own, None)


def _refuse_variables(variables: PyTree, what: str, hint: str) -> None:
    if variables is not None:
        raise InputError(f"{what} takes no variables beside itself; {hint}")


def _is_of(model: Any, package: str, *names: str) -> bool:
    """Whether a base class of the model has one of these names and comes from the package, which is not imported."""
    kinds = type(model).__mro__
    return any(kind.__module__.split(".")[0] == package and kind.__name__ in names for kind in kinds)


def parts_of(model: Any, variables: PyTree) -> Parts:
    """The parts of a model of any framework that `wrap` knows, each told by its base class.

    Raises: InputError where it is none of them, or its variables are missing.
    """
    if isinstance(model, flax.linen.Module):
        return _linen(model, variables)
    if isinstance(model, nnx.Module):
        return _nnx(model, variables)
    if _is_of(model, "equinox", "Module"):
        return _equinox(model, variables)
    if _is_of(model, "keras", "Layer"):
        return _keras(model, variables)
    if _is_of(model, "haiku", "Transformed", "TransformedWithState"):
        return _haiku(model, variables)
    if _is_of(model, "torch", "Module"):
        return _torch(model, variables)
    if not callable(model):
        raise InputError(
            "model must be a function or a module of Flax, Equinox, Haiku, Keras or PyTorch, got "
            f"{type(model).__name__}"
        )
    return _function(model, variables)
