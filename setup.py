"""Copies the recipes of experiments/flags and sweeps into the package, where an installed `jsep` finds them."""

import pathlib
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py


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


setup(cmdclass={"build_py": BuildWithRecipes})
