"""Copies the recipes of experiments/flags and sweeps into the package, where an installed `jsep` finds them, and gives
a package index the README with links that work there."""

import pathlib
import re
import shutil
import tomllib

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = pathlib.Path(__file__).parent
PLACEHOLDER = "OWNER"
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)")


class BuildWithRecipes(build_py):
    """The usual build, and the flagfiles; in place (an editable installation) they are read where they lie."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for folder in ("flags", "sweeps"):
                target = pathlib.Path(self.build_lib, "jsep", "cli", folder)
                target.mkdir(parents=True, exist_ok=True)
                for path in pathlib.Path("experiments", folder).iterdir():
                    shutil.copyfile(path, target / path.name)


def for_an_index(readme: str, address: str) -> str:
    """README with its relative links at the address; while that is a placeholder, without links and pictures."""

    def absolute(link: re.Match[str]) -> str:
        is_picture, text, path = link.groups()
        if PLACEHOLDER in address:
            return "" if is_picture else text
        return f"{is_picture}[{text}]({address}/{'raw' if is_picture else 'blob'}/main/{path})"

    return LINK.sub(absolute, readme)


if __name__ in ("__main__", "builtins"):
    address = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["jsep"]["repository"]
    setup(
        cmdclass={"build_py": BuildWithRecipes},
        long_description=for_an_index((ROOT / "README.md").read_text(), address),
        long_description_content_type="text/markdown",
        project_urls={} if PLACEHOLDER in address else {"Repository": address},
    )
