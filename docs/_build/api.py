"""The API reference as Markdown pages, from the `__all__` and the docstrings of every jsep package.

The docstrings have their own simple form (a sentence, formulas, Args, Returns, Raises, References), which is turned into
HTML here as it stands: nothing of it is Markdown, so that `*`, `_` and `<` mean themselves.
"""

import ast
import dataclasses
import functools
import html
import importlib
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsep

MODULES = ("types", "checks")
"""Parts of jsep that are one module: all of their public names count."""

SECTION = re.compile(r"(Args|Returns|Raises|References?|Metrics|Attributes): *(.*)")
ITEM = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*): +(.*)")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One public name: where it is reached, its object, signature ("" for a constant) and docstring ("" where none)."""

    part: str
    name: str
    value: Any
    signature: str
    docstring: str
    members: tuple["Entry", ...] = ()

    @property
    def anchor(self) -> str:
        """Such as jsep.attack.pgd."""
        return f"jsep.{self.part}.{self.name}"


def _trees(part: str) -> Iterator[ast.Module]:
    root = Path(jsep.__file__).parent
    paths = [root / f"{part}.py"] if part in MODULES else sorted((root / part).rglob("*.py"))
    return (ast.parse(path.read_text()) for path in paths)


@functools.cache
def _constants(part: str) -> dict[str, str]:
    """The module-level names of a part that are assigned, with the string that follows each ("" where none does)."""
    found: dict[str, str] = {}
    for tree in _trees(part):
        for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            text = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = inspect.cleandoc(str(after.value.value))
            for target in targets:
                if isinstance(target, ast.Name):
                    found[target.id] = found.get(target.id) or text
    return found


def _node(value: Any) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]


def _call(name: str, parameters: list[str], result: str) -> str:
    arrow = f" -> {result}" if result else ""
    line = f"{name}({', '.join(parameters)}){arrow}"
    if len(line) <= 88:
        return line
    return f"{name}(\n" + "".join(f"    {parameter},\n" for parameter in parameters) + f"){arrow}"


def _parameters(arguments: ast.arguments) -> list[str]:
    """As they are written, one text each; the aliases of jsep.types stay."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    texts = [_parameter(a, d) for a, d in zip(positional, defaults, strict=True)]
    if arguments.vararg:
        texts.append("*" + _parameter(arguments.vararg, None))
    elif arguments.kwonlyargs:
        texts.append("*")
    texts += [_parameter(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    if arguments.kwarg:
        texts.append("**" + _parameter(arguments.kwarg, None))
    return [text for text in texts if text not in ("self", "cls")]


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    text = argument.arg + (f": {ast.unparse(argument.annotation)}" if argument.annotation else "")
    if default is None:
        return text
    return f"{text} = {ast.unparse(default)}" if argument.annotation else f"{text}={ast.unparse(default)}"


def _function(name: str, value: Any) -> str:
    node = _node(value)
    assert isinstance(node, ast.FunctionDef)
    return _call(name, _parameters(node.args), ast.unparse(node.returns) if node.returns else "")


def _class(name: str, kind: type) -> str:
    """A class by its fields, or by its constructor."""
    node = _node(kind)
    assert isinstance(node, ast.ClassDef)
    fields = [child for child in node.body if isinstance(child, ast.AnnAssign)]
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            return _call(name, _parameters(child.args), "")
    texts = []
    for field in fields:
        default = field.value
        if isinstance(default, ast.Call) and ast.unparse(default.func) == "setting":  # a flag: its default and its help
            default = default.args[0]
        texts.append(f"{ast.unparse(field.target)}: {ast.unparse(field.annotation)}" + _equals(default))
    return _call(name, texts, "") if texts else name


def _equals(default: ast.expr | None) -> str:
    return "" if default is None else f" = {ast.unparse(default)}"


def _members(part: str, kind: type) -> tuple[Entry, ...]:
    """The public methods and properties that a class of jsep defines itself."""
    entries = []
    for name, value in vars(kind).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if name.startswith("_") or not inspect.isfunction(function) or not function.__module__.startswith("jsep"):
            continue
        signature = name if isinstance(value, property) else _function(name, function)
        entries.append(Entry(part, f"{kind.__name__}.{name}", value, signature, inspect.getdoc(function) or ""))
    return tuple(entries)


def _entry(part: str, name: str, value: Any, constants: dict[str, str]) -> Entry:
    if inspect.isclass(value) and value.__module__.startswith("jsep"):
        # Not inherited: a dataclass and a NamedTuple without a docstring get one that says nothing.
        node = _node(value)
        assert isinstance(node, ast.ClassDef)
        return Entry(part, name, value, _class(name, value), ast.get_docstring(node) or "", _members(part, value))
    if inspect.isfunction(inspect.unwrap(value)) if callable(value) else False:
        function = inspect.unwrap(value)
        return Entry(part, name, value, _function(name, function), inspect.getdoc(function) or "")
    return Entry(part, name, value, "", constants.get(name, ""))


def _returned(part: str, functions: list[Any]) -> dict[str, type]:
    """The classes of a part that functions return, which are documented beside them also where they are not exported."""
    found: dict[str, type] = {}
    hints = [typing.get_type_hints(inspect.unwrap(function)).get("return") for function in functions]
    while hints:
        hint = hints.pop()
        hints += typing.get_args(hint)
        if inspect.isclass(hint) and hint.__module__.startswith(f"jsep.{part}."):
            found[hint.__name__] = hint
    return found


@functools.cache
def entries(part: str) -> list[Entry]:
    """The public names of `jsep.<part>`: functions, then what they take and return, then constants."""
    module = importlib.import_module(f"jsep.{part}")
    # A part may hand on a constant of another one.
    constants = {name: text for other in (*jsep.__all__, part) for name, text in _constants(other).items() if text}
    if part in MODULES:
        names = [
            *_constants(part),
            *(n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__),
        ]
        names = [name for name in dict.fromkeys(names) if not name.startswith("_")]
    else:
        names = list(module.__all__)
    values = {name: getattr(module, name) for name in names}
    functions = [value for value in values.values() if inspect.isfunction(value)]
    values = _returned(part, functions) | values
    found = [_entry(part, name, value, constants) for name, value in values.items()]
    return sorted(found, key=lambda entry: (not entry.signature, inspect.isclass(entry.value)))


def undocumented() -> list[str]:
    """Public names, and public members of public classes, without a docstring."""
    missing = []
    for part in jsep.__all__:
        for entry in entries(part):
            missing += [e.anchor for e in (entry, *entry.members) if not e.docstring.strip()]
    return missing


def links() -> dict[str, str]:
    """name as it is written in prose (attack.pgd, jsep.attack.pgd) -> place in the site (api/attack.html#...)."""
    found = {}
    for part in jsep.__all__:
        for entry in entries(part):
            for each in (entry, *entry.members):
                place = f"api/{part}.html#{each.anchor}"
                found |= {each.anchor: place, f"{part}.{each.name}": place}
    return found


def _inline(text: str) -> str:
    return re.sub(r"`+([^`]+)`+", r"<code>\1</code>", html.escape(text, quote=False))


def _items(lines: list[str]) -> list[tuple[str, str]]:
    """The `name: text` items of a section whose lines are indented below its title; [] where it is not of that form."""
    found: list[tuple[str, str]] = []
    for line in lines:
        match = ITEM.match(line.strip())
        if match and len(line) - len(line.lstrip()) == 2:
            found.append((match[1], match[2]))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        else:
            return []
    return found


def _section(title: str, first: str, lines: list[str]) -> str:
    items = [] if first else _items(lines)
    if items:
        rows = "".join(f"<dt><code>{html.escape(n)}</code></dt><dd>{_inline(text)}</dd>" for n, text in items)
        return f'<p class="section">{title}</p><dl>{rows}</dl>'
    text = " ".join([first, *(line.strip() for line in lines)]).strip()
    return f'<p><span class="section">{title}</span> {_inline(text)}</p>'


def docstring_html(text: str) -> str:
    """A docstring in HTML: paragraphs, formulas as they stand, sections."""
    parts: list[str] = []
    section: tuple[str, str] | None = None
    lines: list[str] = []

    def close() -> None:
        nonlocal section, lines
        if section:
            parts.append(_section(*section, lines))
        elif lines and all(line.startswith("    ") for line in lines):
            parts.append(f"<pre>{html.escape(textwrap.dedent(chr(10).join(lines)))}</pre>")
        elif lines and all(_items([f"  {line}"]) or line.startswith("  ") for line in lines):
            parts.append(_section("", "", [f"  {line}" for line in lines]).replace('<p class="section"></p>', ""))
        elif lines:
            parts.append(f"<p>{_inline(' '.join(line.strip() for line in lines))}</p>")
        section, lines = None, []

    for line in text.splitlines():
        match = SECTION.match(line)
        if match:
            close()
            section = (match[1], match[2])
        elif not line.strip():
            close()
        else:
            lines.append(line)
    close()
    return "".join(parts)


def _value(value: Any) -> str:
    """What a constant holds, as far as a reader wants it."""
    if isinstance(value, dict):
        return f"<p>Keys: {', '.join(f'<code>{html.escape(str(key))}</code>' for key in value)}</p>"
    if isinstance(value, tuple | frozenset):
        return f"<p>Values: {', '.join(f'<code>{html.escape(str(v))}</code>' for v in sorted(value, key=str))}</p>"
    if isinstance(value, int | float | str):
        return f"<p>Value: <code>{html.escape(repr(value))}</code></p>"
    return ""


def _settings(value: Any) -> str:
    """The help texts of a configuration whose fields are flags."""
    if not dataclasses.is_dataclass(value):
        return ""
    helped = [field for field in dataclasses.fields(value) if "help" in field.metadata]
    rows = "".join(f"<dt><code>{f.name}</code></dt><dd>{_inline(f.metadata['help'])}</dd>" for f in helped)
    return f'<p class="section">Fields</p><dl>{rows}</dl>' if rows else ""


def _markdown(entry: Entry, level: str) -> str:
    label = entry.name.replace("_", "\\_")
    parts = [f"{level} {label} {{ #{entry.anchor} }}"]
    if entry.signature:
        parts.append(f"```python\n{entry.signature}\n```")
    body = docstring_html(entry.docstring) + _settings(entry.value)
    parts.append(f"<div>{body}{'' if entry.signature else _value(entry.value)}</div>")
    parts += [_markdown(member, level + "#") for member in entry.members]
    return "\n\n".join(parts)


def page(part: str) -> str:
    """The reference page of `jsep.<part>` in Markdown."""
    module = importlib.import_module(f"jsep.{part}")
    head = f"# jsep.{part}\n\n<div>{docstring_html(inspect.getdoc(module) or '')}</div>"
    return "\n\n".join([head, *(_markdown(entry, "##") for entry in entries(part))]) + "\n"


def index() -> str:
    """The list of all public names in Markdown."""
    parts = [
        "# API reference\n\nEvery public name, from its docstring. `import jsep` loads a part when it is first used."
    ]
    for part in jsep.__all__:
        names = ", ".join(f"[`{e.name}`]({part}.md#{e.anchor})" for e in entries(part))
        parts.append(f"## [jsep.{part}]({part}.md)\n\n{names}")
    return "\n\n".join(parts) + "\n"
