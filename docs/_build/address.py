"""The address of the repository, set in one place: `tool.jsep` in pyproject.toml.

    python docs/_build/address.py

writes it wherever else it stands: the first cell of each notebook. A test holds them equal, and another that no document
links to a placeholder.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PLACES = (("notebooks/*.ipynb", re.compile(r'(?<=REPOSITORY = \\")[^"\\]+')),)
"""Files, and what of them is the address."""


def address() -> str:
    """Such as https://github.com/OWNER/jsep."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["jsep"]["repository"]


def written(text: str, pattern: re.Pattern[str], url: str) -> str:
    """`text` with the address where `pattern` finds one."""
    return pattern.sub(url, text)


def main() -> None:
    for names, pattern in PLACES:
        for path in sorted(ROOT.glob(names)):
            before = path.read_text()
            after = written(before, pattern, address())
            if after != before:
                path.write_text(after)
                print(f"{path.relative_to(ROOT)}: {address()}")


if __name__ == "__main__":
    main()
