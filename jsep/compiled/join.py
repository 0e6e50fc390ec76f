"""The keys of a call that was taken apart, and how it is put together again around other arrays."""

import types
import weakref
from collections.abc import Sequence
from typing import Any


class Unknown(Exception):
    """A value that may change, or act, unseen; the text says which."""


class Same:
    """An object that equals itself alone."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value


class Weak:
    """As `Same`, without keeping the object alive; equal to nothing once it is gone."""

    __slots__ = ("_hash", "reference")

    def __init__(self, value: Any) -> None:
        self.reference, self._hash = weakref.ref(value), id(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Weak):
            return False
        value = self.reference()
        return value is not None and value is other.reference()


class Standing:
    """An object that stands for all with an equal key."""

    __slots__ = ("key", "value")

    def __init__(self, value: Any, key: Any) -> None:
        self.value, self.key = value, key

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Standing) and other.key == self.key


EMPTY = object()
"""In place of what is missing."""


class Joiner:
    """Puts a call together again, by the key of `split`, around other leaves, such as traced ones."""

    def __init__(self, leaves: Sequence[Any]) -> None:
        self.leaves = leaves
        self.made: dict[int, Any] = {}
        self.copies: list[Any] = []
        self._states: list[Any] = []

    def join_all(self, plans: Sequence[tuple[str, tuple[Any, ...]]]) -> dict[str, Any]:
        """name -> value, of the key of a `Split`."""
        found = {name: self.join(plan) for name, plan in plans}
        self._states = [_state(copy) for copy in self.copies]
        return found

    def join(self, plan: tuple[Any, ...]) -> Any:
        """The value of one part of a key."""
        build, index, *parts = plan
        found = build(self, index, *parts)
        if index is not None:
            self.made[index] = found
        return found

    def begin(self, index: int, copy: Any) -> Any:
        """Notes a copy of what can change, before it is filled, since it may hold itself."""
        self.made[index] = copy
        self.copies.append(copy)
        return copy

    def check_unchanged(self) -> None:
        """Raises Unknown if the call has changed what it was given: the caller's own would not have changed."""
        for copy, state in zip(self.copies, self._states, strict=True):
            if _state(copy) != state:
                raise Unknown(f"a changed {type(copy).__name__}")


def _state(copy: Any) -> list[Any]:
    if isinstance(copy, types.CellType):
        return [id(copy.cell_contents)]
    if isinstance(copy, list):
        return [id(each) for each in copy]
    return [(key, id(each)) for key, each in (copy if isinstance(copy, dict) else vars(copy)).items()]


# The builders. The first of a key, each takes (joiner, index, *the rest of the key) and returns the value.


def constant(joiner: Joiner, index: Any, *parts: Any) -> Any:
    return parts[-1]


def again(joiner: Joiner, index: Any, before: int) -> Any:
    return joiner.made[before]


def leaf(joiner: Joiner, index: Any, place: int, *_: Any) -> Any:
    return joiner.leaves[place]


def same(joiner: Joiner, index: Any, held: Same, *_: Any) -> Any:
    return held.value


def weak(joiner: Joiner, index: Any, held: Weak) -> Any:
    return held.reference()


def standing(joiner: Joiner, index: Any, held: Standing) -> Any:
    return held.value


def dictionary(joiner: Joiner, index: int, items: tuple[Any, ...]) -> Any:
    made = joiner.begin(index, {})
    for key, value in items:
        made[joiner.join(key)] = joiner.join(value)
    return made


def sequence(joiner: Joiner, index: int, kind: type, items: tuple[Any, ...]) -> Any:
    if kind is tuple:
        return tuple([joiner.join(each) for each in items])
    made = joiner.begin(index, [])
    made.extend([joiner.join(each) for each in items])
    return made


def named_tuple(joiner: Joiner, index: int, kind: Same, key: Any, items: tuple[Any, ...]) -> Any:
    return kind.value._make([joiner.join(each) for each in items])


def wrapped(joiner: Joiner, index: int, kind: Same, inside: tuple[Any, ...]) -> Any:
    return kind.value(joiner.join(inside))


def method(joiner: Joiner, index: int, function: tuple[Any, ...], owner: tuple[Any, ...]) -> Any:
    return types.MethodType(joiner.join(function), joiner.join(owner))


def partial(joiner: Joiner, index: int, kind: Same, function: Any, arguments: Any, keywords: Any) -> Any:
    # In the order of `split`, which describes only the first of two meetings of an object.
    made = {name: joiner.join(each) for name, each in keywords}
    given = [joiner.join(each) for each in arguments]
    return kind.value(joiner.join(function), *given, **made)


def instance(joiner: Joiner, index: int, kind: Same, key: Any, held: tuple[Any, ...]) -> Any:
    made = joiner.begin(index, object.__new__(kind.value))
    # Not by its constructor, which would check, and perhaps refuse, traced values.
    for name, each in held:
        vars(made)[name] = joiner.join(each)
    return made


def function(joiner: Joiner, index: int, code: types.CodeType, module: Any, variables: Any, cells: Any, defaults: Any,
             keywords: Any, own: Any) -> Any:  # fmt: skip
    own_cells = tuple([types.CellType() for _ in cells])
    found: dict[str, Any] = variables.value if isinstance(variables, Same) else {"__name__": module}
    made = types.FunctionType(code, found, code.co_name, None, own_cells)
    joiner.made[index] = made
    if not isinstance(variables, Same):
        found["__builtins__"] = __builtins__
        found.update({name: joiner.join(each) for name, each in variables})
    for cell, each in zip(own_cells, cells, strict=True):
        value = joiner.join(each)
        if value is not EMPTY:
            cell.cell_contents = value
    joiner.copies += [cell for cell, each in zip(own_cells, cells, strict=True) if each[-1] is not EMPTY]
    made.__defaults__ = tuple([joiner.join(each) for each in defaults]) or None
    made.__kwdefaults__ = {name: joiner.join(each) for name, each in keywords} or None
    for name, each in own:
        vars(made)[name] = joiner.join(each)
    if own:
        joiner.copies.append(made)
    return made
