"""Renders the templates of the pages, and writes files atomically."""

import functools
import json
import os
import pathlib
from typing import Any

import jinja2

from jsep.report.formatting import MISSING
from jsep.report.style import page_colours


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jsep.report"),
        autoescape=True,  # values from files are always escaped
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "page_colours": page_colours}
    return environment


def shown(value: Any) -> str:
    """Any value of a result file as plain text."""
    if value is None:
        return MISSING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def render(template: str, **values: Any) -> str:
    """A template of this package rendered with these values, all of them escaped."""
    return _environment().get_template(template).render(**values)


def replace_file(path: pathlib.Path, data: bytes) -> None:
    """Writes a file atomically: as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
