"""Wrong types of arguments, told by the annotations of a public function in place of an error from deep inside.

Functions check the values that they take themselves (`jsep.checks`). After a failure their arguments are compared with
the signature, so that the first one of another type is named; after a success too, which may be one by chance.
"""

import collections.abc
import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jsep.checks import InputError

__all__ = ["explain_failures", "shows_keywords_of"]

Function = typing.TypeVar("Function", bound=Callable[..., Any])

_OF_IMAGE = {"logits_fn", "map_fn", "scalar_fn", "objective", "features_fn", "model_fn", "saliency"}

_WORDS = {
    bool: "True or False", int: "a whole number", float: "a finite number", str: "a text", types.NoneType: "None",
    jax.Array: "an array of numbers", np.ndarray: "an array of numbers",
}  # fmt: skip


def explain_failures(names: Iterable[str], namespace: dict[str, Any]) -> None:
    """Wraps the functions and configurations among the public names of a package, so that an argument of a wrong type
    is named, whether the call fails or not.

    Args: names: the package's `__all__`; namespace: its globals().
    """
    for name in names:
        value = namespace[name]
        if inspect.isfunction(value):
            namespace[name] = _explained(value)
        elif inspect.isclass(value) and dataclasses.is_dataclass(value) and name.endswith("Config"):
            value.__init__ = _explained(value.__init__)  # type: ignore[method-assign]


def shows_keywords_of(source: Callable[..., Any], *, but: Collection[str] = ()) -> Callable[[Function], Function]:
    """Decorates a function that passes its **settings on to `source`: its help names them with their defaults.

    but: the keywords of `source` that the function sets itself.
    """

    def decorated(function: Function) -> Function:
        own = inspect.signature(function)
        kept = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        passed = [
            each
            for name, each in inspect.signature(source).parameters.items()
            if each.kind is inspect.Parameter.KEYWORD_ONLY and name not in {*own.parameters, *but}
        ]
        function.__signature__ = own.replace(parameters=[*kept, *passed])  # type: ignore[attr-defined]
        # The types too, by which wrong ones are named.
        hints = typing.get_type_hints(source)
        function.__annotations__ = {**function.__annotations__, **{each.name: hints[each.name] for each in passed}}
        return function

    return decorated


def _explained(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        args = tuple(_as_numpy(each) for each in args)
        kwargs = {name: _as_numpy(each) for name, each in kwargs.items()}
        # The function comes first: what it says itself of an argument is better.
        try:
            result = function(*args, **kwargs)
        except InputError:
            raise
        except Exception as error:
            mismatch = _first_mismatch(function, args, kwargs) or _failing_function(function, args, kwargs)
            if mismatch is None:
                raise
            raise InputError(mismatch) from error
        mismatch = _first_mismatch(function, args, kwargs)
        if mismatch is not None:
            raise InputError(mismatch)
        return result

    return wrapped


def _as_numpy(value: Any) -> Any:
    """A tensor of another framework as a NumPy array, which JAX takes everywhere; any other value as it is."""
    of_jax = isinstance(value, jax.Array | np.ndarray | np.generic) or hasattr(value, "__jax_array__")
    if of_jax or not hasattr(type(value), "__array__"):
        return value
    try:
        return np.asarray(value)
    except (RuntimeError, TypeError) as error:  # of PyTorch, for a tensor on a GPU or with a gradient
        raise InputError(f"a {type(value).__name__} was given that is no array of the CPU: {error}") from error


@functools.cache
def _signature(function: Callable[..., Any]) -> tuple[inspect.Signature, Mapping[str, Any]]:
    """The signature, and the annotations of the named parameters; none where they cannot be evaluated."""
    signature = inspect.signature(function)
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = {name for name, each in signature.parameters.items() if each.kind not in variable}
    try:
        hints = typing.get_type_hints(function)
    except (TypeError, NameError):
        hints = {}
    return signature, {name: hints[name] for name in named if name in hints}


def _given(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if hasattr(function, "full_arguments"):
        args, kwargs = function.full_arguments(args, kwargs)
    try:
        return _signature(function)[0].bind(*args, **kwargs).arguments
    except TypeError:
        return {}  # Python's own error says which argument is missing


def _first_mismatch(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """One line on the first argument that is not of the type of its annotation; None if all are."""
    hints = _signature(function)[1]
    for name, value in _given(function, args, kwargs).items():
        hint = hints.get(name, Any)
        if name == "key" and hint is not Any and value is not None and not _is_key(value):
            return f"key must be a random key, as from jax.random.key(0), got {_shown(value)}"
        if name == "seed" and not (_fits(value, int) and 0 <= int(value) < 2**32):
            return f"seed must be a whole number from 0 to {2**32 - 1}, got {_shown(value)}"
        if name in _OF_IMAGE and (framework := _framework_of(value)):
            return f"{name} must be a function, got a module of {framework}: give models.wrap(module, input_shape=...)"
        if not _fits(value, hint):
            own = (
                ""
                if _framework_of(value) is None
                else "; models.from_module(module) makes one of an NNX or Equinox module"
            )
            return f"{name} must be {_words(hint)}, got {_shown(value)}{own}"
    return None


def _framework_of(value: Any) -> str | None:
    """The framework of a module that is no function of one image; None for anything else."""
    names = {"torch": "PyTorch", "keras": "Keras", "flax": "Flax"}
    for kind in type(value).__mro__:
        if kind.__name__ in ("Module", "Layer") and (package := kind.__module__.partition(".")[0]) in names:
            return names[package]
    return None


def _failing_function(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """One line on a function of an image that fails for the image given with it, or returns no array; None else."""
    given = _given(function, args, kwargs)
    image = next((given[name] for name in ("image", "point", "images") if name in given), None)
    size = getattr(image, "shape", getattr(getattr(given.get("dataset"), "info", None), "image_shape", None))
    if size is None:
        return None
    shape = jax.ShapeDtypeStruct(size[1:] if "images" in given else size, np.float32)
    for name in sorted(_OF_IMAGE & given.keys()):
        arguments: tuple[Any, ...] = (shape,)
        if name in ("model_fn", "features_fn") and "variables" in given:
            arguments = (given["variables"], shape)
        probed = given[name]
        if name == "saliency":
            probed = functools.partial(probed, given.get("logits_fn"), label=given.get("label"))
        try:
            found = jax.eval_shape(probed, *arguments)
        except Exception as error:
            reason = " ".join(str(error).split())[:100]
            return f"{name} fails for an image of shape {shape.shape} ({type(error).__name__}: {reason})"
        if not hasattr(found, "shape"):
            return f"{name} must return an array, got {type(found).__name__}"
    return None


def _is_key(value: Any) -> bool:
    if not isinstance(value, jax.Array):
        return False
    if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return value.shape == ()
    return value.dtype == np.uint32 and value.ndim == 1  # of jax.random.PRNGKey


def _fits(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in typing.get_args(hint))
    kind = origin or hint
    if kind is types.NoneType or kind is None:
        return value is None
    if not inspect.isclass(kind) or kind in (object, Any):
        return True
    if isinstance(value, jax.core.Tracer | jax.ShapeDtypeStruct):
        return kind in (bool, int, float, jax.Array, np.ndarray)
    if kind in (bool, int, float):
        return _is_number(value, kind)
    if kind in (jax.Array, np.ndarray):
        return _is_array(value)
    if kind is collections.abc.Callable:
        return callable(value)
    if kind in (tuple, list, collections.abc.Sequence):
        if isinstance(value, np.ndarray):
            return True
        items = typing.get_args(hint)[:1] if len({*map(repr, typing.get_args(hint))} - {"Ellipsis"}) == 1 else (Any,)
        is_sequence = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        return is_sequence and all(_fits(each, items[0]) for each in value)
    return isinstance(value, kind)


def _is_number(value: Any, kind: type) -> bool:
    array = np.asarray(value) if isinstance(value, bool | int | float | np.generic | np.ndarray | jax.Array) else None
    if array is None or array.shape != ():
        return False
    if kind is bool:
        return array.dtype == bool
    if kind is int:
        return bool(np.issubdtype(array.dtype, np.integer))
    return array.dtype.kind in "iuf" and bool(np.isfinite(array))


def _is_array(value: Any) -> bool:
    if isinstance(value, jax.Array):
        return True
    try:
        return np.asarray(value).dtype.kind in "biufc"
    except (TypeError, ValueError):
        return False


def _words(hint: Any) -> str:
    arms = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    found = []
    for arm in arms:
        kind = typing.get_origin(arm) or arm
        if kind is collections.abc.Callable:
            found.append("a function")
        elif kind in (tuple, list, collections.abc.Sequence):
            found.append("a sequence")
        else:
            found.append(_WORDS.get(kind) or f"a {getattr(kind, '__name__', kind)}")
    return " or ".join(dict.fromkeys(found))


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{type(value).__name__} {text[:50]}..."
