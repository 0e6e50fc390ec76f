"""Calls outside of `jax.jit` that compile once: `compiled` declares a function with a heavy body.

The loops of JAX compile their bodies, and a body is a new function at every call, so a plain call of an attack would
compile anew every time. Under `compiled` a call is run by one of at most `MAX_PROGRAMS` programs, found by what the
call consists of (`split`): code and settings are the key, arrays, labels, random keys and numbers its arguments. A
program holds neither the arrays of a model nor its functions, only code; `clear_compiled` drops all of them.

Inside `jit`, `vmap` or `grad` the function is simply called. So it is where a call cannot be read safely (a function
that prints, or holds a Keras model), where tracing fails, or where the code changes what it was given.

Why the key is the code and not the function: functions that hash by what they hold would have to be made by the
library, and people write lambdas. Why not the traced program itself, which cannot be stale: tracing an attack takes a
hundred times what may be spent on a call.

Checks of values (`jsep.checks`) cannot see traced ones. While a program is traced they are noted, and made on the
concrete values before each of its runs.
"""

import functools
import inspect
import itertools
import logging
import operator
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

import jax
import numpy as np

from jsep.compiled.join import Joiner
from jsep.compiled.split import Split, split, takes_arrays
from jsep.noting import NeedsConstants, noted_checks

try:
    from jax._src.core import trace_state_clean as _is_clean  # ten times as fast as a look at a result
except ImportError:
    _is_clean = None  # type: ignore[assignment]

__all__ = ["MAX_PROGRAMS", "call", "clear_compiled", "compiled", "depends_on", "num_programs", "shape_of"]

MAX_PROGRAMS = 128
"""Programs kept; the one that was not used for longest is dropped."""

_MAX_TRIED = 6  # numbers of a call for which it is found out singly whether a program can take them as arguments

Function = TypeVar("Function", bound=Callable[..., Any])

_log = logging.getLogger(__name__)
_lock = threading.RLock()
_entries: "dict[Any, _Entry]" = {}
_calls = itertools.count()


def clear_compiled() -> None:
    """Drops all programs that calls outside of `jax.jit` have compiled, and the memory that they hold."""
    with _lock:
        _entries.clear()


def num_programs() -> int:
    """The number of programs kept."""
    return sum(len(entry.programs) for entry in _entries.values())


class _Registry:
    """A registry that compiled functions look names up in, with a number that changes whenever it does."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self.entries, self.version = entries, 0
        self._last: list[Any] = []

    def current(self) -> int:
        now = list(self.entries.values())
        if len(now) != len(self._last) or not all(map(operator.is_, now, self._last)):
            self.version, self._last = self.version + 1, now
        return self.version


_registries: list[_Registry] = []
_contexts: list[Callable[[], Any]] = []


def depends_on(what: Mapping[str, Any] | Callable[[], Any]) -> None:
    """Declares what compiled functions read besides their arguments.

    what: a registry, of which a changed entry is another program; or () -> hashable state of a context.
    """
    if callable(what):
        _contexts.append(what)
    else:
        _registries.append(_Registry(what))


def compiled(function: Function, *, otherwise: Callable[[Any], Any] | None = None) -> Function:
    """Decorates a pure function of arrays, functions and settings: a plain call of it compiles once.

    Arrays, floats, and integers where the annotation allows an array (a label), are arguments of the program; other
    integers, texts and bools are settings, and another program. What a function among the arguments holds is sorted in
    the same way, its integers as values where the program can take them. The results are arrays, or containers of them.
    An argument `on_step`, called on the host, is not compiled in. otherwise: function -> what is called in its place
    where it is not compiled once, such as `jax.jit`; by default it is called itself.
    """
    plain = function if otherwise is None else otherwise(function)
    signature = inspect.signature(function)
    are_values = {name: takes_arrays(each.annotation) for name, each in signature.parameters.items()}

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        found = None
        if not _is_inside():
            found = _find(function, signature, are_values, args, kwargs)
        if found is None:
            return plain(*args, **kwargs)
        program, leaves = found
        program.check(leaves)
        try:
            return program.run(leaves)
        except Exception:  # a callback that cannot take what the program gives it; or the call's own error
            return plain(*args, **kwargs)

    return cast(Function, called)


_ONE = np.float32(1)


def _is_inside() -> bool:
    """Whether JAX is tracing: inside `jit`, `vmap` or `grad`."""
    if _is_clean is not None:
        return not _is_clean()
    return isinstance(jax.lax.neg(_ONE), jax.core.Tracer)  # not under every transformation; a leaf then is traced


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments), compiled as by `compiled`."""
    return function(*arguments)


call = compiled(_call)


def shape_of(function: Callable[..., Any], *arguments: Any) -> Any:
    """`jax.eval_shape(function, *arguments)`, traced once as by `compiled`."""
    if not _is_inside():
        found = _find(_call, _SIGNATURE, _ARE_VALUES, (function, *arguments), {})
        if found is not None:
            return found[0].shape
    return jax.eval_shape(function, *arguments)


_SIGNATURE = inspect.signature(_call)
_ARE_VALUES = dict.fromkeys(_SIGNATURE.parameters, True)


class _Call(NamedTuple):
    """A function, and its arguments taken apart; with_constants: see `split`."""

    function: Callable[..., Any]
    signature: inspect.Signature
    taken: Split
    with_constants: bool


def _find(
    function: Callable[..., Any], signature: inspect.Signature, are_values: Mapping[str, bool], args: Any, kwargs: Any
) -> "tuple[_Program, list[Any]] | None":
    """The program of a call and the leaves it takes; None if it is to be called plainly."""
    context = (*[each.current() for each in _registries], *[each() for each in _contexts])
    try:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        for with_constants in (False, True):
            call = _Call(function, signature, split(given, are_values, with_constants=with_constants), with_constants)
            try:
                program = _program_of(call, (function, call.taken.key, with_constants, context))
            except NeedsConstants:
                continue
            return None if program is None else (program, call.taken.leaves)
    except Exception as error:  # Unknown, wrong arguments, or an object that cannot be looked at
        _log.debug("%s compiles anew: it holds %s", function.__qualname__, error)
    return None


class _Entry:
    """All programs of calls that differ in their leaves alone.

    settings: the numbers among them that are settings; None: such calls are not compiled; NeedsConstants: they need
    another key. programs: values of these numbers -> program. used: the number of the call that last used it.
    """

    __slots__ = ("programs", "settings", "used")

    def __init__(self, settings: "frozenset[int] | NeedsConstants | None") -> None:
        self.settings, self.used = settings, 0
        self.programs: dict[Any, _Program] = {}


def _program_of(call: _Call, key: Any) -> "_Program | None":
    with _lock:
        entry, program = _entries.get(key), None  # hashing and comparing a key is most of what this costs
        if entry is None:
            settings, program = _find_settings(call)
            entry = _entries[key] = _Entry(settings)
        entry.used = next(_calls)
        settings = entry.settings
        if settings is None:
            return None
        if isinstance(settings, NeedsConstants):
            raise settings
        values = tuple([(place, repr(call.taken.leaves[place])) for place in sorted(settings)]) if settings else ()
        found = entry.programs.get(values)
        if found is None:
            found = program or _traced(call, settings)
            if found is not None:
                entry.programs[values] = found
            _shorten()
        return found


def _shorten() -> None:
    """Drops what was not used for longest."""
    while num_programs() > MAX_PROGRAMS or len(_entries) > 4 * MAX_PROGRAMS:
        oldest = min(_entries, key=lambda key: _entries[key].used)
        programs = _entries[oldest].programs
        if len(programs) > 1:
            programs.pop(next(iter(programs)))
        else:
            del _entries[oldest]


def _find_settings(call: _Call) -> "tuple[frozenset[int] | NeedsConstants | None, _Program | None]":
    """(the numbers of a call that are settings, the program): none if it can be traced so, None if not at all."""
    numbers, fixed = frozenset(call.taken.numbers), call.taken.fixed
    try:
        program = _traced(call, fixed)
        if program is not None:
            return fixed, program
        program = _traced(call, numbers) if numbers != fixed else None
        if program is None:
            return None, None
        settings = numbers
        for number in sorted(numbers - fixed)[:_MAX_TRIED]:
            smaller = _traced(call, settings - {number})
            if smaller is not None:
                settings, program = settings - {number}, smaller
        return settings, program
    except NeedsConstants as needs:
        return needs.with_traceback(None), None


def _traced(call: _Call, settings: frozenset[int]) -> "_Program | None":
    program = _Program(call, settings)
    try:
        program.trace(call.taken.leaves)
    except NeedsConstants:
        raise
    except Exception as error:  # of any kind, from the code of users too; the plain call then raises it, if it is one
        _log.debug("%s is not traced with settings %s: %r", call.function.__qualname__, sorted(settings), error)
        return None
    return program


class _Program:
    """A call compiled for any arrays and numbers of its shapes and types."""

    def __init__(self, call: _Call, settings: frozenset[int]) -> None:
        function, signature, taken, with_constants = call
        key, fixed = taken.key, {place: taken.leaves[place] for place in settings}
        self._places = [place for place in range(len(taken.leaves)) if place not in settings]
        places = self._places
        self._checks: dict[Any, None] = {}
        checks = self._checks  # what is compiled must not hold this object, which holds it

        def body(values: list[Any]) -> Any:
            leaves = [fixed.get(place) for place in range(len(places) + len(fixed))]
            for place, value in zip(places, values, strict=True):
                leaves[place] = value
            joiner = Joiner(leaves)
            given = inspect.BoundArguments(signature, OrderedDict(joiner.join_all(key)))
            traced = {id(value): place for place, value in zip(places, values, strict=True)}
            with noted_checks(traced, has_constants=with_constants) as noted:
                result = function(*given.args, **given.kwargs)
            joiner.check_unchanged()
            checks.update(dict.fromkeys(noted))
            return result

        self._jitted = jax.jit(body)
        self.shape: Any = None

    def trace(self, leaves: list[Any]) -> None:
        """Traces the call; the first `run` does not trace it again."""
        self.shape = self._jitted.trace(self._taken(leaves)).out_info

    def check(self, leaves: list[Any]) -> None:
        """Raises InputError for a value that a check refuses."""
        for check, place in self._checks:
            check(leaves[place])

    def run(self, leaves: list[Any]) -> Any:
        return self._jitted(self._taken(leaves))

    def _taken(self, leaves: list[Any]) -> list[Any]:
        return [leaves[place] for place in self._places]
