"""What every page is made of: escaped text, boxes, the skeleton with its style and scripts, files written whole."""

import base64
import html
import importlib.resources
import json
import os
import pathlib
import string
from collections.abc import Mapping, Sequence
from typing import Any

from jsep.report.columns import MISSING


def text(value: Any) -> str:
    """Escaped text of any value of a file; nothing from a file reaches a page another way."""
    if value is None:
        return MISSING
    return html.escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def prose(sentences: Sequence[str]) -> str:
    """Escaped sentences in which no line breaks between a number and its '%'."""
    return text(" ".join(sentences).replace(" %", "\u00a0%"))


def scrolling(label: str, content: str, kind: str = "") -> str:
    """A box that scrolls sideways on a narrow screen, by keyboard too; `content` is already escaped."""
    return f'<div class="scroll {kind}" tabindex="0" role="region" aria-label="{text(label)}">{content}</div>\n'


def data_address(png: bytes) -> str:
    """A PNG as the address of an image."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def printed_figure(heading: str, alt: str, caption: str, png: bytes, width: int, *, lines: bool = False) -> str:
    """A figure of matplotlib on a white card; `lines`: it has no colour map, so a dark page may invert it."""
    image = f'<img style="--width:{width}px" alt="{text(alt)}" src="{data_address(png)}">'
    box = scrolling(heading, image, "print plain-lines" if lines else "print")
    return f"<figure>{box}<figcaption>{text(caption)}</figcaption></figure>\n"


def facts_table(name: str, facts: Any, skip: Sequence[str] = ()) -> str:
    """Keys and values, folded away."""
    if not isinstance(facts, Mapping) or not facts:
        return f"<p>{name}: not recorded.</p>"
    rows = "".join(
        f'<tr><th scope="row">{text(str(key))}</th><td>{text(value)}</td></tr>\n'
        for key, value in facts.items()
        if key not in skip
    )
    table = f'<table class="facts"><tbody>\n{rows}</tbody></table>'
    return f"<details><summary>{name}</summary>{scrolling(name, table)}</details>"


def command_box(command: Any) -> str:
    """A command with a button that copies it."""
    if not command:
        return "<p>The command was not recorded.</p>"
    button = '<button type="button" class="copy needs-js">Copy</button>'
    return f'<div class="command"><pre>{text(command)}</pre>{button}</div>'


def segments(name: str, legend: str, choices: Mapping[str, str]) -> str:
    """Radio buttons side by side; choices: value -> escaped face. The first one is chosen."""
    faces = "".join(
        f'<label><input type="radio" name="{name}" value="{text(value)}"{"" if index else " checked"}>'
        f'<span class="face">{face}</span></label>'
        for index, (value, face) in enumerate(choices.items())
    )
    return f'<fieldset><legend>{text(legend)}</legend><div class="segments">{faces}</div></fieldset>'


def embedded_json(identity: str, value: Any) -> str:
    """Data for a script; a closing tag inside the data would end the element."""
    content = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{identity}">{content}</script>'


def file_of(name: str) -> str:
    """The text of a file of this package."""
    return importlib.resources.files("jsep.report").joinpath(name).read_text(encoding="utf-8")


def assemble(
    *, kind: str, title: str, lede: str, run: str, sections: Mapping[str, str], main: str, files: Sequence[str]
) -> str:
    """The whole page.

    Args:
        kind: what it is, above the title.
        title: of the page, plain text like the two that follow.
        lede: the one thing to know, below the title.
        run: data, pairs, seeds, in one line.
        sections: identity -> name, for the navigation.
        main: the sections, escaped.
        files: the style sheets and scripts of this package that the page needs.

    Returns:
        HTML that loads nothing.
    """
    return string.Template(file_of("page.html")).substitute(
        kind=text(kind),
        title=text(title),
        lede=text(lede),
        run=text(run),
        navigation="".join(f'<a href="#{key}">{text(name)}</a>' for key, name in sections.items()),
        main=main,
        style="".join(file_of(name) for name in files if name.endswith(".css")),
        script="".join(file_of(name) for name in files if name.endswith(".js")),
    )


def replace_file(path: pathlib.Path, data: bytes) -> None:
    """Writes a file as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
