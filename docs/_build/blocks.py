"""Runs the Python of a page block by block, as a reader would who pastes it, and compares what it prints.

A ```text block right after a ```python block is its output. Words must be equal; numbers may differ by RTOL, since
training on another processor rounds differently.

    python docs/_build/blocks.py docs/tutorials/explain.md            runs it in its folder, pictures and all
    python docs/_build/blocks.py --write docs/tutorials/explain.md    and writes what it printed into the page
"""

import contextlib
import io
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

RTOL = 0.1

BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?", re.DOTALL)
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


def same(printed: str, expected: str) -> bool:
    """Whether the words are equal, whatever the space between them, and the numbers nearly."""
    if NUMBER.sub("0", printed).split() != NUMBER.sub("0", expected).split():
        return False
    pairs = zip(NUMBER.findall(printed), NUMBER.findall(expected), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=RTOL, abs_tol=0.011) for a, b in pairs)


def run(page: Path, folder: Path, *, write: bool = False) -> int:
    """Runs the blocks of `page` in `folder` with one namespace; returns how many there were.

    Raises: AssertionError with the block whose output differs from the page.
    """
    text = page.read_text()
    namespace: dict[str, Any] = {"__name__": "__main__"}
    before = Path.cwd()
    parts, place, count = [], 0, 0
    try:
        os.chdir(folder)
        for match in BLOCK.finditer(text):
            line = text[: match.start("code")].count("\n")
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * line + match["code"], str(page), "exec"), namespace)
            count += 1
            parts += [text[place : match.start()], f"```python\n{match['code']}```\n"]
            place = match.end()
            if printed.getvalue():
                parts.append(f"\n```text\n{printed.getvalue()}```\n")
            if not write:
                expected = match["output"] or ""
                assert same(printed.getvalue(), expected), (
                    f"{page.name}, line {line}: printed\n{printed.getvalue()}\nthe page says\n{expected}"
                )
    finally:
        os.chdir(before)
    if write:
        page.write_text("".join([*parts, text[place:]]))
    return count


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    for name in [argument for argument in sys.argv[1:] if argument != "--write"]:
        page = Path(name).resolve()
        print(f"{name}: {run(page, page.parent, write='--write' in sys.argv)} blocks")


if __name__ == "__main__":
    main()
