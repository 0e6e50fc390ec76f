"""Settings of plug-ins: from `name=value` texts of a flag to arguments and configurations."""

import contextlib
import dataclasses
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jsep.checks import MAX_WEIGHT, InputError, check_choice
from jsep.study.configuration import LARGEST_COUNT


def parse_options(what: str, texts: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """Options by name from texts such as "num_samples=64", a number also as "8/255".

    Args: what: the owner of the options, for the error message; known: name -> int, float, bool or str, or Any:
      inferred from the text.
    Raises: InputError for a text without "=", an unknown or repeated option, or a value of another type.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"options of {what} are written name=value,name=value; got {text!r}")
        if not known:
            raise InputError(f"{what} has no options, got {text!r}")
        check_choice(f"option of {what}", name, known)
        if name in found:
            raise InputError(f"option {name} of {what} is given twice")
        found[name] = _parse(f"option {name} of {what}", value, known[name])
    return found


def _parse(where: str, text: str, kind: Any) -> Any:
    words = {"true": True, "false": False}
    try:
        if kind is str:
            return text
        if kind is bool or (kind is not int and kind is not float and text in words):
            return words[text]
        if kind is int or kind is float:
            return _bounded(whole_number if kind is int else number, text)
    except (ValueError, KeyError):
        raise InputError(f"{where}: expected {_EXPECTED[kind]}, got {text!r}") from None
    for parse in (whole_number, number):
        with contextlib.suppress(ValueError):
            return _bounded(parse, text)
    try:
        float(text)
    except ValueError:
        return text
    raise InputError(f"{where}: expected {_EXPECTED[float]}, got {text!r}")  # float() accepts it


_EXPECTED = {
    bool: "true or false",
    int: f"a whole number of at most {LARGEST_COUNT}",
    float: f"a number of at most {MAX_WEIGHT:g} or a fraction such as 8/255",
}


def _bounded(parse: Callable[[str], float], text: str) -> float:
    value = parse(text)
    if not abs(value) <= (LARGEST_COUNT if isinstance(value, int) else MAX_WEIGHT):
        raise ValueError
    return value


def whole_number(text: str) -> int:
    """A whole number of a flag, in ASCII digits only. Raises: ValueError for anything else."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(f"expected a whole number such as 25, got {text!r}")
    return int(text)


def number(text: str) -> float:
    """A number of a flag, also as a fraction such as 8/255. Raises: ValueError for anything else."""
    if re.fullmatch(r"[0-9eE./+-]+", text):
        with contextlib.suppress(ValueError, ZeroDivisionError):
            numerator, _, denominator = text.partition("/")
            return float(numerator) / float(denominator or 1)
    raise ValueError(f"expected a number or a fraction such as 8/255, got {text!r}")


def option_kinds(kind: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a plug-in's configuration without a value in `settings`, with their types."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.name not in settings}


def own_settings(kind: type, settings: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """A plug-in's configuration: each field takes its value from `settings`, else from `options`, else its default.

    Args: kind: its class; settings: by name; options: from `parse_options`; names that are not fields are ignored.
    """
    names = [field.name for field in dataclasses.fields(kind)]
    chosen = {name: options[name] for name in names if name in options}
    return kind(**chosen | {name: settings[name] for name in names if name in settings})
