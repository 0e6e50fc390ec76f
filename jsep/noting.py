"""Checks of values that are traced, noted while a program is made and carried out before each of its runs."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar, cast


class _Noting(NamedTuple):
    places: Mapping[int, int]
    found: list[tuple[Callable[[Any], None], int]]
    has_constants: bool


_noting: contextvars.ContextVar[_Noting | None] = contextvars.ContextVar("_noting", default=None)

Check = TypeVar("Check", bound=Callable[..., None])


@contextlib.contextmanager
def noted_checks(
    places: Mapping[int, int], *, has_constants: bool
) -> Iterator[list[tuple[Callable[[Any], None], int]]]:
    """Within it, checks of traced arguments of a program are noted, to be made on their values before it runs.

    Args: places: id of a traced argument -> its place among the arguments; has_constants: see `need_constants`.
    Yields: the list of (check, place).
    """
    noting = _Noting(places, [], has_constants)
    token = _noting.set(noting)
    try:
        yield noting.found
    finally:
        _noting.reset(token)


class NeedsConstants(Exception):
    """The traced code has looked at constants that are traced."""


def need_constants() -> None:
    """Called by code that looks at the constants of a model, such as the slope of an activation.

    Raises: NeedsConstants while a program is made that takes them as arguments: it is then made with them as constants.
    """
    noting = _noting.get()
    if noting is not None and not noting.has_constants:
        raise NeedsConstants


def is_noted(value: Any) -> bool:
    """Whether `value` is a traced argument of a program that notes its checks."""
    noting = _noting.get()
    return noting is not None and id(value) in noting.places


def of_values(place: int) -> Callable[[Check], Check]:
    """Decorates a check whose positional argument number `place` is what it checks: of a traced one it is noted."""

    def decorate(check: Check) -> Check:
        @functools.wraps(check)
        def noting_check(*args: Any, **kwargs: Any) -> None:
            check(*args, **kwargs)
            noting = _noting.get()
            if noting is not None and len(args) > place and id(args[place]) in noting.places:
                before, after = args[:place], args[place + 1 :]
                later = lambda value: check(*before, value, *after, **kwargs)  # noqa: E731
                noting.found.append((later, noting.places[id(args[place])]))

        return cast(Check, noting_check)

    return decorate
