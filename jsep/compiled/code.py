"""What a function reads besides its arguments, by its code: global variables, variables of functions around it."""

import dis
import functools
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

LIBRARIES = {"jax", "jaxlib", "numpy", "math", "cmath", "operator", "functools", "typing", "types", "dataclasses",
             "collections", "builtins", "flax", "optax", "equinox", "einops", "chex", "haiku", "jaxtyping", "matfree",
             "jsep", "ml_dtypes", "abc", "enum"}  # fmt: skip
"""Packages whose functions and classes do not change while a program runs; numpy.random draws, and is none of them."""

IMPURE = {"print", "open", "input", "eval", "exec", "compile", "globals", "locals", "vars", "breakpoint", "__import__",
           "setattr", "delattr", "id"}  # fmt: skip
_LOOKS_AT_TYPES = {"isinstance", "issubclass", "type", "hasattr", "callable", "repr", "str", "format"}


def is_library(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] in LIBRARIES and not module.startswith("numpy.random")


class Code(NamedTuple):
    """What a code object, with those inside it, reads: name -> the chains of attributes taken of it, () for itself."""

    variables: Mapping[str, frozenset[tuple[str, ...]]]
    cells: Mapping[str, frozenset[tuple[str, ...]]]
    looks_at_types: bool
    unknown: str


@functools.lru_cache(4096)
def read(code: types.CodeType) -> Code:
    variables: dict[str, set[tuple[str, ...]]] = {}
    cells: dict[str, set[tuple[str, ...]]] = {}
    unknown = ""
    for each in _nested(code):
        instructions = [one for one in dis.get_instructions(each) if one.opname != "EXTENDED_ARG"]
        for place, one in enumerate(instructions):
            name, operation = one.argval, one.opname
            if operation in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                unknown = f"sets the global variable {name}"
            elif operation in ("STORE_DEREF", "DELETE_DEREF") and name in code.co_freevars:
                unknown = f"sets the variable {name} of the function around it"
            elif operation == "IMPORT_NAME" and not is_library(name):
                unknown = f"imports {name}"
            elif operation == "IMPORT_FROM" and name == "random":
                unknown = "imports a random module"
            elif operation.startswith("LOAD_") and ("GLOBAL" in operation or "NAME" in operation):
                variables.setdefault(name, set()).add(_chain(instructions, place))
            elif operation.startswith("LOAD_") and ("DEREF" in operation or "CLOSURE" in operation):
                cells.setdefault(name, set()).add(_chain(instructions, place))
    return Code(
        {name: frozenset(chains) for name, chains in variables.items()},
        {name: frozenset(chains) for name, chains in cells.items()},
        bool(_LOOKS_AT_TYPES & variables.keys()),
        unknown,
    )


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def _chain(instructions: Sequence[dis.Instruction], place: int) -> tuple[str, ...]:
    found = []
    for one in instructions[place + 1 :]:
        if one.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
            break
        found.append(one.argval)
    return tuple(found)
