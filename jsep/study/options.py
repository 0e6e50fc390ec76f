"""Settings that a plug-in owns, as text: `name=value` of a flag to arguments and configurations."""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from jsep.checks import InputError, check_choice


def parse_options(what: str, texts: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """Options by name from texts such as "num_samples=64", a number also as "8/255".

    Args: what: whose options they are, for the message; known: name -> int, float, bool or str, or Any for whichever
      the text looks like.
    Raises: InputError for a text without "=", an option that is not known or given twice, or a value of another kind.
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
        if kind is int:
            return int(text)
        if kind is float:
            return _fraction(text)
    except (ValueError, KeyError, ZeroDivisionError):
        raise InputError(f"{where}: expected {_EXPECTED[kind]}, got {text!r}") from None
    for parse in (int, _fraction):
        try:
            return parse(text)
        except (ValueError, ZeroDivisionError):
            continue
    return text


_EXPECTED = {bool: "true or false", int: "a whole number", float: "a number or a fraction such as 8/255"}


def _fraction(text: str) -> float:
    numerator, _, denominator = text.partition("/")
    return float(numerator) / float(denominator or 1)


def option_kinds(kind: type, values: Any, prefix: str = "") -> dict[str, Any]:
    """The fields of a plug-in's configuration that the flat configuration `values` has no field for, with their
    types."""
    flags = {field.name for field in dataclasses.fields(values)}
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if f"{prefix}{field.name}" not in flags}


def own_settings(kind: type, values: Any, options: Mapping[str, Any], prefix: str = "") -> Any:
    """A plug-in's configuration: a field takes the value of the flat configuration's field `prefix` + its name, where
    there is one, else that of `options`, else its default.

    Args: kind: its class; values: a FlatConfig; options: as `parse_options` gives them, others are left out.
    """
    flags = {field.name: getattr(values, field.name) for field in dataclasses.fields(values)}
    names = [field.name for field in dataclasses.fields(kind)]
    chosen = {name: options[name] for name in names if name in options}
    return kind(**chosen | {name: flags[prefix + name] for name in names if prefix + name in flags})
