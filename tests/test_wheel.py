"""What is published: its dependencies are declared, it holds what it needs, and it works alone."""

import ast
import os
import pathlib
import re
import runpy
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {"absl": "absl-py", "sklearn": "scikit-learn", "PIL": "pillow", "orbax": "orbax-checkpoint"}
"""Module -> its distribution, where the names differ."""

OPTIONAL = {"ray", "tensorboardX", "torch", "autoattack", "foolbox", "torchattacks", "safetensors", "torchvision",
            "torchax", "keras", "equinox"}  # fmt: skip
"""What the code uses where it is installed."""


def distribution(requirement: str) -> str:
    """Such as "absl-py" of "absl-py>=2.1,<3"."""
    return re.split(r"[<>=; \[]", requirement)[0].replace("_", "-").lower()


def test_every_import_of_the_package_is_a_declared_dependency() -> None:
    used = set()
    for path in (ROOT / "jsep").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            used |= {name.split(".")[0] for name in names}
    used -= {*sys.stdlib_module_names, "jsep"} | OPTIONAL
    declared = {distribution(each) for each in PROJECT["dependencies"]}
    assert {MODULES.get(name, name).replace("_", "-").lower() for name in used} - declared == set()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, pathlib.Path]:
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def clean(published: tuple[pathlib.Path, pathlib.Path], tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """bin/ of an environment that has the wheel alone; the dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", str(published[1])]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # A folder named in a .pth file does not have its own .pth files read: the editable jsep is not there.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def call(clean: pathlib.Path, folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of the clean environment, in `folder`."""
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment.pop("PYTHONPATH", None)
    command = [str(clean / arguments[0]), *arguments[1:]]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_every_file_of_the_package_and_every_recipe_is_published(
    published: tuple[pathlib.Path, pathlib.Path],
) -> None:
    inside = set(zipfile.ZipFile(published[1]).namelist())
    recipes = {f"jsep/cli/flags/{path.name}" for path in (ROOT / "experiments" / "flags").glob("*.flags")}
    files = [path for path in (ROOT / "jsep").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len({path.suffix for path in files}) >= 6  # modules, templates, weights, cards, the mark of types
    assert recipes | {str(path.relative_to(ROOT)) for path in files} <= inside
    with zipfile.ZipFile(published[1]) as wheel:
        (metadata,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/METADATA"))
    assert "OWNER" not in metadata
    assert "](docs/" not in metadata
    with tarfile.open(published[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"experiments/digits_sep.py", "experiments/flags/digits_sep.flags", "LICENSE", "README.md"} <= names


@pytest.mark.slow
def test_a_study_runs_from_the_wheel_alone(clean: pathlib.Path, tmp_path: pathlib.Path) -> None:
    where = call(clean, tmp_path, "python", "-c", "import jsep; print(jsep.__file__)")
    assert str(clean.parent) in where.stdout, where.stderr
    done = call(clean, tmp_path, "jsep", "digits_sep", "--flagfile=digits_sep_smoke", "--run_dir=run")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run" / "index.html").exists()
    assert '"command": "jsep digits_sep --flagfile=digits_sep_smoke' in (tmp_path / "run" / "result.json").read_text()
    images = tmp_path / "images.npy"
    call(clean, tmp_path, "python", "-c", "import numpy; numpy.save('images.npy', numpy.random.rand(2, 8, 8, 1))")
    done = call(clean, tmp_path, "jsep", "attack", "--model=run:sep_pos", f"--images={images}", "--epsilon=0.1")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "attack.png").exists()
    assert "after PGD" in done.stdout


@pytest.mark.slow
def test_code_of_the_readme_runs_from_the_wheel_alone(clean: pathlib.Path, tmp_path: pathlib.Path) -> None:
    program = f"import doctest, sys; sys.exit(doctest.testfile({str(ROOT / 'README.md')!r}, module_relative=False)[0])"
    done = call(clean, tmp_path, "python", "-c", program)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_readme_for_an_index_has_links_that_work_there() -> None:
    functions = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")
    text = "![a cat](docs/cat.png) and [docs](docs/index.md), [paper](https://arxiv.org/abs/2403.06013)"
    known = functions["for_an_index"](text, "https://github.com/someone/jsep")
    assert "![a cat](https://github.com/someone/jsep/raw/main/docs/cat.png)" in known
    assert "[docs](https://github.com/someone/jsep/blob/main/docs/index.md)" in known
    assert "[paper](https://arxiv.org/abs/2403.06013)" in known
    unknown = functions["for_an_index"]((ROOT / "README.md").read_text(), "https://github.com/OWNER/jsep")
    assert not re.findall(r"\]\((?!https)", unknown)
