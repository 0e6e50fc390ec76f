"""One function of the image in place of a model's function and its variables, in every evaluation that takes both."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from jsep.models import split_variables

Function = TypeVar("Function", bound=Callable[..., Any])


def takes_logits_fn(function: Function) -> Function:
    """Lets a function of (..., model_fn, variables, ...) be called with (..., logits_fn, ...), without variables.

    A logits_fn of `models.wrap` or `models.logits_fn` carries its variables, which are an argument of the compiled
    programs; those of any other function are constants in them.
    """
    full = inspect.signature(function)
    short = full.replace(parameters=[each for name, each in full.parameters.items() if name != "variables"])
    names = [name for name in ("model_fn", "features_fn") if name in full.parameters]

    def full_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        try:
            full.bind(*args, **kwargs)
        except TypeError:
            pass
        else:
            return args, kwargs
        try:
            bound = short.bind(*args, **kwargs)
        except TypeError:
            return args, kwargs  # Python's own error says which argument is missing
        given = dict(bound.arguments)
        rest = given.pop("settings", {})
        given[names[0]], given["variables"] = split_variables(given[names[0]])
        for name in names[1:]:
            own_fn, own = split_variables(given[name])
            given[name] = own_fn if own is given["variables"] else _without_variables(given[name])
        return (), {**given, **rest}

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = full_arguments(args, kwargs)  # type: ignore[assignment]
        return function(*args, **kwargs)

    wrapped.full_arguments = full_arguments  # type: ignore[attr-defined]
    return wrapped  # type: ignore[return-value]


@functools.lru_cache(maxsize=64)
def _without_variables(features_fn: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """(variables, image) -> features; the same object for the same function, so that jit caches hit."""
    return lambda variables, image: features_fn(image)
