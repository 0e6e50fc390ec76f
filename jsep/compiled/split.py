"""What a call consists of: the code it runs, and the values that this code will find.

Two functions are two objects even where they do the same: a loop over labels builds `lambda image: net(image)[label]`
anew each time. Their code is one object, though, and what they hold can be listed: the cells of the closure, defaults,
the bound arguments of a `functools.partial`, the fields of an object, the global variables that the code names.
`split` lists it as a key, equal for calls that are one program, and the arrays and numbers that the program takes as
its arguments; `Joiner` puts the call together again around other arrays, such as traced ones.

Everything is read anew at every call, so that a list, a global variable or an attribute that has changed is another
key or another argument, never an old result. What cannot be read so raises `Unknown`: the caller then does without.
It is a list of what is known to be safe; the code of `LIBRARIES` counts as constant, that of all others is read.
"""

import dataclasses
import enum
import functools
import inspect
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep.compiled import join
from jsep.compiled.code import IMPURE, is_library, read
from jsep.compiled.join import EMPTY, Same, Standing, Unknown, Weak

_GENERATED = {"__init__", "__eq__", "__repr__", "__hash__", "__setattr__", "__delattr__", "__replace__", "__lt__",
              "__le__", "__gt__", "__ge__"}  # fmt: skip
_OF_FLAX = {"parent", "scope", "_state", "_parent_ref", "_id", "_compact_name_scope_methods"}
_CONSTANTS = {str, bytes, bool, types.NoneType, types.EllipsisType, range}
_SMALL = 1024  # bytes of an array whose content may be part of a key


class Split(NamedTuple):
    """A call taken apart.

    key: hashable; two calls with equal keys differ in the leaves alone. leaves: arrays and numbers. numbers: indices of
    the leaves that may be settings, such as lengths, which a program cannot take as its arguments; fixed: those of them
    that are, since code looks at their types.
    """

    key: Any
    leaves: list[Any]
    numbers: list[int]
    fixed: frozenset[int]


_LABELS = {"label", "labels", "target"}
_JITTED = type(jax.jit(lambda: None))
_FUNCTIONS_IN_C = (
    types.BuiltinFunctionType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    np.ufunc,
    jnp.ufunc,
)


def takes_arrays(annotation: Any) -> bool:
    """Whether a parameter or field of this annotation is a value, like a label or a radius, not a setting."""
    arms = typing.get_args(annotation) or (annotation,)
    return any(arm in (Any, float, jax.Array, inspect.Parameter.empty) for arm in arms)


def split(values: Mapping[str, Any], are_values: Mapping[str, bool], *, with_constants: bool = False) -> Split:
    """Takes the arguments of a call apart: any nesting of functions, containers, objects, arrays and numbers.

    are_values: name -> whether a Python integer there is an argument of the program, like a label, if that can take it;
      otherwise a setting, part of the key. What users' functions hold are values.
    with_constants: numbers that users' functions hold, and small arrays inside of anything, are part of the key, for a
      program that looks at the constants of a model.
    Raises: Unknown for a traced array, and for anything that cannot be read safely.
    """
    splitter = _Splitter(with_constants)
    key = tuple(
        [(name, splitter.visit_named(name, value, are_values.get(name, False))) for name, value in values.items()]
    )
    fixed = frozenset(splitter.of_users) if splitter.looks_at_types else frozenset()
    return Split(key, splitter.leaves, splitter.numbers, fixed)


class _Splitter:
    """One walk. Every visited value gives a tuple (builder, index, *parts), which is its key and its plan for `Joiner`.

    is_frozen: inside what cannot be put together anew (classes, attributes of modules), where arrays and numbers are
      part of the key.
    """

    def __init__(self, with_constants: bool) -> None:
        self.with_constants = with_constants
        self.leaves: list[Any] = []
        self.numbers: list[int] = []
        self.of_users: list[int] = []
        self.looks_at_types = False
        self.is_frozen = False
        self.num_frozen_arrays = 0
        self.depth = 0
        self.seen: dict[int, int] = {}
        self._seen_frozen: dict[int, int] = {}
        self.kept: list[Any] = []  # temporary objects, whose ids must not be used again during the walk

    def visit_named(self, name: Any, value: Any, is_value: bool = True, of_user: bool = False) -> tuple[Any, ...]:
        """`visit` of an argument, or of an entry of a dictionary."""
        if name == "on_step" and value is not None:
            raise Unknown("a callback of the host")
        is_value = is_value or (isinstance(name, str) and name in _LABELS)
        return self.visit(value, is_value, of_user)

    def visit(self, value: Any, is_value: bool = True, of_user: bool = False) -> tuple[Any, ...]:
        kind = type(value)
        if kind in _CONSTANTS:
            return (join.constant, None, kind, value)
        if kind is int or kind is float or kind is complex:
            if self.is_frozen or (kind is int and not is_value) or (of_user and self.with_constants):
                return (join.constant, None, kind, repr(value), value)  # 0.0 and -0.0 are equal
            self.numbers.append(len(self.leaves))
            if of_user:
                self.of_users.append(len(self.leaves))
            return self._leaf(value, kind)
        if isinstance(value, jax.Array | np.ndarray | np.generic):
            return self._array(value, of_user)
        index = self.seen.get(id(value))
        if index is not None:
            return (join.again, None, index)
        index = self.seen[id(value)] = len(self.seen)
        self.depth += 1
        found = self._visit_object(value, kind, index, is_value, of_user)
        self.depth -= 1
        return found

    def _leaf(self, value: Any, kind: Any) -> tuple[Any, ...]:
        self.leaves.append(value)
        return (join.leaf, None, len(self.leaves) - 1, kind)

    def _array(self, value: Any, of_user: bool) -> tuple[Any, ...]:
        if isinstance(value, jax.core.Tracer):
            raise Unknown("a traced array")
        if type(value) is not np.ndarray and isinstance(value, np.ndarray):
            raise Unknown(f"a {type(value).__name__}")
        if self.is_frozen:
            self.num_frozen_arrays += 1
            if isinstance(value, jax.Array):
                return (join.constant, None, Weak(value))
            if value.dtype.hasobject or value.nbytes > _SMALL:
                raise Unknown("an array that may change in place")
            return (join.constant, None, value.shape, value.dtype.str, value.tobytes())
        if self.with_constants and self.depth and _is_small(value):
            content = np.asarray(value)
            key = (type(value), content.shape, content.dtype.str, content.tobytes())
            return (join.standing, None, Standing(value if isinstance(value, jax.Array) else content.copy(), key))
        index = self.seen.get(id(value))
        if index is not None:
            return (join.again, None, index)
        index = self.seen[id(value)] = len(self.seen)
        if isinstance(value, np.generic):
            self.numbers.append(len(self.leaves))
            if of_user:
                self.of_users.append(len(self.leaves))
        elif isinstance(value, np.ndarray) and value.dtype.kind in "OSUMm":
            raise Unknown(f"an array of {value.dtype}")
        self.leaves.append(value)
        weak = getattr(value, "weak_type", False)
        return (join.leaf, index, len(self.leaves) - 1, value.shape, value.dtype, weak)

    def _visit_object(self, value: Any, kind: type, index: int, is_value: bool, of_user: bool) -> tuple[Any, ...]:
        if kind is types.FunctionType:
            return self._function(value, index)
        if getattr(kind, "is_fixed_code", False) is True:  # a class of this library says so
            return (join.weak, index, Weak(value))
        if kind is dict:
            return (join.dictionary, index, tuple([  # in this order, which the code may see
                (self.visit(key, False), self.visit_named(key, each, is_value, of_user)) for key, each in value.items()
            ]))  # fmt: skip
        if kind is list or kind is tuple:
            return (join.sequence, index, kind, tuple([self.visit(each, is_value, of_user) for each in value]))
        if kind is functools.partial or kind is jax.tree_util.Partial:
            return self._partial(value, kind, index)
        if kind is types.MethodType:
            return (join.method, index, self.visit(value.__func__), self.visit(value.__self__))
        if kind is types.ModuleType:
            return self._module(value, index, {()})
        if isinstance(value, type):
            return (join.same, index, Same(value), *self._class(value))
        if kind is slice and all(each is None or type(each) is int for each in (value.start, value.stop, value.step)):
            return (join.standing, index, Standing(value, repr(value)))
        if isinstance(value, np.dtype):
            return (join.constant, index, value)
        if kind is object or (isinstance(value, enum.Enum) and is_library(kind.__module__)):
            return (join.same, index, Same(value))
        if kind is _JITTED:
            return (join.weak, index, Weak(value))  # its program is JAX's, and as old as JAX lets it be
        if isinstance(value, _FUNCTIONS_IN_C):
            return self._function_in_c(value, index)
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            fields = tuple([self.visit(each, is_value, of_user) for each in tuple(value)])
            return (join.named_tuple, index, Same(kind), self._frozen(kind), fields)
        if kind.__name__ == "FrozenDict" and kind.__module__.startswith("flax."):
            self.kept.append(inside := value._dict)
            return (join.wrapped, index, Same(kind), self.visit(inside, is_value, of_user))
        if _is_flax_module(kind):
            return self._flax_module(value, kind, index)
        return self._object(value, kind, index)

    def _function(self, function: types.FunctionType, index: int) -> tuple[Any, ...]:
        code, names = function.__code__, function.__globals__
        of_library = is_library(names.get("__name__"))
        if of_library and _is_named_in_library(function):
            return (join.same, index, Same(function))
        reads = read(code)
        if reads.unknown and not of_library:
            raise Unknown(f"{function.__qualname__} {reads.unknown}")
        found: Any = Same(names)
        if not of_library:
            self.looks_at_types |= reads.looks_at_types
            found = tuple(self._variables(names, reads.variables))
        cells = tuple([
            self._cell(cell, reads.cells.get(name, {()}), not of_library or name in _LABELS, not of_library)
            for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)
        ])  # fmt: skip
        defaults = tuple([self.visit(each, not of_library, not of_library) for each in function.__defaults__ or ()])
        keywords = tuple([
            (name, self.visit(each, not of_library, not of_library))
            for name, each in (function.__kwdefaults__ or {}).items()
        ])  # fmt: skip
        own = () if of_library else tuple([(name, self.visit(x, True, True)) for name, x in vars(function).items()])
        return (join.function, index, code, names.get("__name__"), found, cells, defaults, keywords, own)

    def _variables(self, names: Mapping[str, Any], named: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, chains in named.items():
            if name in names:
                yield name, self._named(names[name], chains)
            elif name in IMPURE:
                raise Unknown(f"calls {name}")

    def _named(self, value: Any, chains: Iterable[tuple[str, ...]], is_value: bool = True, of_user: bool = True) -> Any:
        if isinstance(value, types.ModuleType):
            if id(value) in self.seen:
                # Each user of the module reads other attributes of it.
                return self._module(value, None, chains)
            index = self.seen[id(value)] = len(self.seen)
            return self._module(value, index, chains)
        return self.visit(value, is_value, of_user)

    def _cell(self, cell: types.CellType, chains: Iterable[Any], is_value: bool, of_user: bool) -> tuple[Any, ...]:
        try:
            value = cell.cell_contents
        except ValueError:
            return (join.constant, None, "an empty cell", EMPTY)
        return self._named(value, chains, is_value, of_user)

    def _module(self, module: types.ModuleType, index: int | None, chains: Iterable[Any]) -> tuple[Any, ...]:
        return (join.same, index, Same(module), tuple([self._attribute(module, chain) for chain in sorted(chains)]))

    def _attribute(self, module: types.ModuleType, chain: tuple[str, ...]) -> Any:
        """The key of what `module.a.b` is now; () for what a library holds."""
        value: Any = module
        for name in chain:
            holder, value = value, getattr(value, name, EMPTY)
            if not isinstance(value, types.ModuleType):
                return () if is_library(holder.__name__) else (chain, self._frozen(value))
        if not is_library(value.__name__):
            raise Unknown(f"the module {value.__name__}")
        return ()

    def _frozen(self, value: Any) -> Any:
        """The key of something that is not put together anew."""
        if self.is_frozen:
            return self.visit(value)
        built, self.seen, self.is_frozen = self.seen, self._seen_frozen, True
        try:
            return self.visit(value)
        finally:
            self.seen, self.is_frozen = built, False

    def _partial(self, value: Any, kind: type, index: int) -> tuple[Any, ...]:
        inner = value.func.__globals__.get("__name__") if isinstance(value.func, types.FunctionType) else None
        of_user = not is_library(inner)
        keywords = tuple([
            (name, self.visit(each, of_user or name in _LABELS, of_user)) for name, each in value.keywords.items()
        ])  # fmt: skip
        arguments = tuple([self.visit(each, True, of_user) for each in value.args])
        return (join.partial, index, Same(kind), self.visit(value.func), arguments, keywords)

    def _function_in_c(self, value: Any, index: int) -> tuple[Any, ...]:
        holder = getattr(value, "__self__", None)
        if isinstance(value, types.BuiltinFunctionType):
            is_known = holder is None or (isinstance(holder, types.ModuleType) and is_library(holder.__name__))
            if not is_known or value.__name__ in IMPURE:
                raise Unknown(f"the function {value.__name__}")
        return (join.same, index, Same(value))

    def _class(self, kind: type) -> tuple[Any, ...]:
        """The key of what a class of the user's own holds, with its bases; methods are read like other functions."""
        if is_library(kind.__module__):
            return ()
        if not self.is_frozen:
            return (self._frozen(kind),)
        if not is_library(type(kind).__module__):
            raise Unknown(f"the metaclass of {kind.__name__}")
        found = []
        for each in kind.__mro__:
            if is_library(each.__module__):
                continue
            is_flax, is_data = _is_flax_module(each), "__dataclass_fields__" in vars(each)
            for name, value in tuple(vars(each).items()):
                if isinstance(value, staticmethod | classmethod):
                    value = value.__func__
                if isinstance(value, property):
                    found.append((name, *(self.visit(part) for part in (value.fget, value.fset, value.fdel))))
                elif isinstance(value, types.FunctionType):
                    if not (is_data and name in _GENERATED and _is_generated(value)):
                        found.append((name, self.visit(value)))
                elif not (
                    (name.startswith("__") and name.endswith("__"))
                    or name == "_abc_impl"
                    or (is_flax and name in _OF_FLAX)
                    or isinstance(value, types.GetSetDescriptorType | types.MemberDescriptorType)
                ):
                    found.append((name, self.visit(value)))
        return tuple(found)

    def _flax_module(self, value: Any, kind: type, index: int) -> tuple[Any, ...]:
        if getattr(value, "scope", None) is not None or getattr(value, "_parent_ref", None) is not None:
            raise Unknown("a bound module")
        names = [field.name for field in dataclasses.fields(value) if field.name not in ("parent", "name")]
        before = self.num_frozen_arrays
        fields = tuple([(name, self._frozen(getattr(value, name))) for name in names])
        if self.num_frozen_arrays > before:
            raise Unknown("a module that holds an array")
        return (join.standing, index, Standing(value, (Same(kind), self._frozen(kind), fields)))

    def _object(self, value: Any, kind: type, index: int) -> tuple[Any, ...]:
        if _is_named_in_library(value):
            return (join.same, index, Same(value))
        if not _is_plain(kind):
            raise Unknown(f"a {kind.__name__}")
        of_user = not is_library(kind.__module__)
        fields = getattr(kind, "__dataclass_fields__", {})
        held = []
        for name, each in vars(value).items():
            is_value = of_user or name in _LABELS or (name in fields and takes_arrays(fields[name].type))
            held.append((name, self.visit(each, is_value, of_user)))
        return (join.instance, index, Same(kind), self._frozen(kind), tuple(held))


def _is_small(array: Any) -> bool:
    return bool(jnp.issubdtype(array.dtype, jnp.floating)) and array.nbytes <= _SMALL


def _is_generated(function: types.FunctionType) -> bool:
    """Whether `dataclasses` wrote it."""
    return function.__code__.co_filename == "<string>" or function.__globals__.get("__name__") == "dataclasses"


def _is_flax_module(kind: type) -> bool:
    linen = sys.modules.get("flax.linen")
    return linen is not None and issubclass(kind, linen.Module)


@functools.lru_cache(1024)
def _is_plain(kind: type) -> bool:
    """Whether an instance is no more than its class and its `__dict__`."""
    if kind.__module__.startswith("flax.nnx") or hasattr(kind, "__del__") or not hasattr(kind, "__dict__"):
        return False
    if any(vars(each).get("__slots__") for each in kind.__mro__):
        return False
    try:
        return hasattr(object.__new__(kind), "__dict__")
    except TypeError:  # a class in C, or an abstract one
        return False


def _is_named_in_library(value: Any) -> bool:
    """Whether a library has the object under the name it gives itself, as `jax.nn.relu`."""
    own: Any = getattr(value, "__dict__", {})
    module, name = own.get("__module__"), own.get("__qualname__") or own.get("__name__")
    if isinstance(value, types.FunctionType):
        module, name = value.__module__, value.__qualname__
    if not isinstance(module, str) or not isinstance(name, str) or not is_library(module):
        return False
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, EMPTY)
    return found is value
