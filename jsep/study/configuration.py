"""Configurations: nested groups of settings, flat in flags and files, with the bounds of every value.

A configuration is a frozen dataclass of settings and groups, and a group is a frozen dataclass of settings. Each
setting has one flat name: that of its flag, of its line in a flagfile and of its key in config.json. Its bounds are
declared with it, and `Setting.check` checks them.
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Self

from jsep.checks import LARGEST_COUNT, MAX_WEIGHT, InputError, check_choice, check_range
from jsep.renamed import RENAMED

LARGEST_SIZE = 1e6
"""The largest distance in pixel units under any norm: a 1000 x 1000 RGB image has a Euclidean norm of at most 1732."""

NUM_SEEDS = 2**32
"""Seeds are below this: the limit of NumPy and of file names."""


Other = typing.TypeVar("Other", bound="Configuration")


def setting(
    default: Any,
    text: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Iterable[str] | None = None,
    flag: str | None = None,
) -> Any:
    """A setting with its help text, which is also its flag's, and its bounds.

    Args: minimum, maximum: inclusive bounds; above, below: exclusive bounds; choices: the allowed names for a text, or
      for each text of a list, read at every check, so that a registry may grow; flag: the flat name, default: the
      prefix of the group and the name of the field.
    """
    metadata = {
        "help": text,
        "range": {"minimum": minimum, "maximum": maximum, "above": above, "below": below},
        "choices": choices,
        "flag": flag,
    }
    return dataclasses.field(default=default, metadata=metadata)


def count(
    default: int | None, text: str, *, minimum: int = 1, maximum: int = LARGEST_COUNT, flag: str | None = None
) -> Any:
    """A setting for a whole number, in [minimum, maximum]."""
    return setting(default, text, minimum=minimum, maximum=maximum, flag=flag)


def random_seed(default: int, text: str, *, flag: str | None = None) -> Any:
    """A setting for a random seed."""
    return setting(default, text, minimum=0, maximum=NUM_SEEDS - 1, flag=flag)


def amount(
    default: float | None,
    text: str,
    *,
    allow_zero: bool = False,
    maximum: float = MAX_WEIGHT,
    flag: str | None = None,
) -> Any:
    """A setting for a positive rate or weight; `allow_zero` also allows 0."""
    minimum, above = (0.0, None) if allow_zero else (None, 0.0)
    return setting(default, text, minimum=minimum, above=above, maximum=maximum, flag=flag)


def size(default: float | None, text: str, *, allow_zero: bool = False, flag: str | None = None) -> Any:
    """A setting for a distance in pixel units; `allow_zero` also allows 0."""
    return amount(default, text, allow_zero=allow_zero, maximum=LARGEST_SIZE, flag=flag)


def group(kind: type, prefix: str = "", about: str = "", **defaults: Any) -> Any:
    """A group of settings.

    Args: kind: its class; prefix: prepended to the flat names of its settings; about: appended to its help texts;
      defaults: field name -> default, where it differs from the class's.
    """
    return dataclasses.field(default=kind(**defaults), metadata={"prefix": prefix, "about": about})


def with_new_names(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration with the current names of its settings; to be applied first when one is read."""
    return {RENAMED.get(name, name): value for name, value in stored.items()}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting of a configuration: its flat name, its path of fields, its type and its default."""

    name: str
    path: tuple[str, ...]
    kind: Any
    default: Any
    metadata: Mapping[str, Any]
    about: str = ""

    @property
    def base(self) -> type:
        """Its type without "or None": str, bool, int, float or tuple."""
        kinds = typing.get_args(self.kind) if isinstance(self.kind, types.UnionType) else (self.kind,)
        kind = next(kind for kind in kinds if kind is not types.NoneType)
        return typing.cast(type, typing.get_origin(kind) or kind)

    @property
    def help(self) -> str:
        """The help text, with the choices."""
        choices = self.metadata["choices"]
        words = [self.metadata["help"] + self.about, ", ".join(choices) if choices is not None else ""]
        return ": ".join(word for word in words if word)

    def get(self, configuration: Any) -> Any:
        """The value of this setting in `configuration`."""
        return functools.reduce(getattr, self.path, configuration)

    def check(self, value: Any) -> None:
        """Raises: InputError unless `value` has the type of the setting and is within its bounds."""
        if value is None:
            if types.NoneType not in typing.get_args(self.kind):
                raise InputError(f"{self.name} must have a value, got None")
        elif self.base in (int, float):
            check_range(self.name, value, whole=self.base is int, **self.metadata["range"])
        elif not isinstance(value, self.base):
            expected = {str: "a text", bool: "true or false", tuple: "a tuple of texts"}[self.base]
            raise InputError(f"{self.name} must be {expected}, got {value!r}")
        else:
            texts: Any = value if self.base is tuple else (value,) if self.base is str else ()
            for text in texts:
                if not isinstance(text, str) or not text.isprintable():
                    raise InputError(f"{self.name} must be text of one line, got {text!r}")
                if self.metadata["choices"] is not None:
                    check_choice(self.name, text, self.metadata["choices"])


_KNOWN: dict[type, dict[str, Setting]] = {}


def settings_of(kind: type) -> dict[str, Setting]:
    """The settings of a class of configurations, those of its groups included, by flat name."""
    if kind not in _KNOWN:
        found: dict[str, Setting] = {}
        for each in _settings(kind, "", (), {}, ""):
            if each.name in found:
                raise TypeError(f"{kind.__name__} has two settings called {each.name}")
            found[each.name] = each
        _KNOWN[kind] = found
    return _KNOWN[kind]


def _settings(
    kind: type, prefix: str, path: tuple[str, ...], defaults: Mapping[str, Any], about: str
) -> Iterable[Setting]:
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        default = defaults.get(field.name, field.default)
        if "prefix" in field.metadata:
            own = {each.name: getattr(default, each.name) for each in dataclasses.fields(hints[field.name])}
            inside = prefix + field.metadata["prefix"], (*path, field.name), own, about + field.metadata["about"]
            yield from _settings(hints[field.name], *inside)
        else:
            name = field.metadata["flag"] or prefix + field.name
            yield Setting(name, (*path, field.name), hints[field.name], default, field.metadata, about)


def _make(kind: type, given: Mapping[tuple[str, ...], Any], path: tuple[str, ...], base: Any) -> Any:
    """An instance of `kind`: each field from `given`, by its path, else from the instance `base`, else its default."""
    hints = typing.get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(kind):
        own = (*path, field.name)
        old = field.default if base is None else getattr(base, field.name)
        values[field.name] = (
            _make(hints[field.name], given, own, old) if "prefix" in field.metadata else given.get(own, old)
        )
    return kind(**values)


@dataclasses.dataclass(frozen=True)
class Configuration:
    """Settings in groups, each a str, bool, int, float or tuple of str, or None where its type allows it.

    Construction checks every setting against its bounds, then calls `check` for constraints between settings.
    """

    DROPPED: typing.ClassVar[frozenset[str]] = frozenset()
    """Settings of older configurations that had no effect and are ignored."""

    experiment: str = setting("study", "name of the experiment in result.json")

    def __post_init__(self) -> None:
        for each in settings_of(type(self)).values():
            each.check(each.get(self))
        self.check()

    def check(self) -> None:
        """Raises: InputError for incompatible settings."""

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The configuration with these settings, by flat name, and the others at their defaults.

        Raises: InputError for an unknown name.
        """
        return cls._with(values, None)

    def replace(self, **values: Any) -> Self:
        """The same configuration with other values of these settings, by flat name."""
        return self._with(values, self)

    def as_a(self, kind: type[Other], **values: Any) -> Other:
        """A configuration of class `kind` with the settings that it shares with this one, and with `values`."""
        own = self.flat()
        return kind.of(**{name: own[name] for name in settings_of(kind) if name in own} | values)

    @classmethod
    def _with(cls, values: Mapping[str, Any], base: Any) -> Self:
        known = settings_of(cls)
        for name in values:
            check_choice(f"setting of {cls.__name__}", name, known)
        made = _make(cls, {known[name].path: value for name, value in values.items()}, (), base)
        return typing.cast(Self, made)

    def flat(self) -> dict[str, Any]:
        """The value of every setting by flat name."""
        return {name: each.get(self) for name, each in settings_of(type(self)).items()}

    def as_dict(self) -> dict[str, Any]:
        """JSON-like values by flat name."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.flat().items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The configuration whose `as_dict` gave `values`, perhaps under older names, checked again."""
        named = {name: value for name, value in with_new_names(values).items() if name not in cls.DROPPED}
        return cls.of(**{name: tuple(value) if isinstance(value, list) else value for name, value in named.items()})

    def as_flagfile(self) -> str:
        """The text of a flagfile that sets every setting; one that is None is left out."""
        lines = []
        for name, value in self.as_dict().items():
            if value is None:
                continue
            text = ",".join(value) if isinstance(value, list) else str(value)
            lines.append(f"--{name}={text}" if not isinstance(value, bool) else f"--{name}={str(value).lower()}")
        return "\n".join(lines) + "\n"


# The data's location, the memory used at once and the response to a collapse do not change the results.
NOT_PART_OF_A_RESULT = frozenset({"data_dir", "chunk_size", "on_collapse", "stream"})


def differences(stored: Mapping[str, Any], config: Configuration) -> list[str]:
    """The settings that differ from a stored configuration and affect results, as "name (there, now)".

    A setting missing from an older stored configuration counts as its default.
    """
    now = config.as_dict()
    defaults = {name: each.default for name, each in settings_of(type(config)).items()}
    before = {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}
    before |= with_new_names(stored)
    names = sorted({*before, *now} - NOT_PART_OF_A_RESULT - config.DROPPED)
    return [
        f"{name} ({before.get(name)!r} there, {now.get(name)!r} now)"
        for name in names
        if before.get(name) != now.get(name)
    ]
