"""The console command: its subcommands are the scripts, recipes are found by name."""

import pathlib
import subprocess
import sys
import tomllib

import pytest

from jsep.cli import SCRIPTS, __main__, recipes

ROOT = pathlib.Path(__file__).parent.parent
OF_THE_REPOSITORY = {"paper", "render_results"}
"""What only a checkout can use: the results of the paper, and sweeps over the scripts."""


def test_every_script_is_a_subcommand_and_every_subcommand_a_script() -> None:
    assert {path.stem for path in (ROOT / "experiments").glob("*.py")} - OF_THE_REPOSITORY == set(SCRIPTS)
    for name in SCRIPTS:
        assert f'cli.run("{name}")' in (ROOT / "experiments" / f"{name}.py").read_text()


def test_examples_name_recipes_that_exist() -> None:
    examples = [script.example for script in SCRIPTS.values()]
    named = [example.split("flagfile=")[1].split()[0] for example in examples if "flagfile" in example]
    assert len(named) > 20
    assert set(named) <= set(recipes.names())
    assert all(name in recipes.listing() for name in named)


def test_the_name_of_a_recipe_is_its_file_unless_there_is_a_file_of_that_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["jsep digits_sep", "--flagfile=digits_sep", "--flagfile=other.flags", "--flagfile=unknown", "--epochs=2"]
    found = recipes.resolve(given)
    assert found[1] == f"--flagfile={recipes.folder() / 'digits_sep.flags'}"
    assert found[2:] == given[2:]
    (tmp_path / "digits_sep").write_text("--epochs=3\n")
    assert recipes.resolve(given) == given


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 0, "digits_sep"),
        (["--version"], 0, "0."),
        (["digit_sep"], 2, "did you mean jsep digits_sep?"),
        (["zzzz"], 2, "jsep --help lists the commands"),
        (["recipes"], 0, "cifar10_sep_quick"),
    ],
)
def test_what_needs_no_jax_does_not_load_it(arguments: list[str], code: int, said: str) -> None:
    program = (
        f"import sys; from jsep.cli import __main__ as program; sys.argv[1:] = {arguments!r}\n"
        "try: program.main()\n"
        "finally: assert 'jax' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert max(map(len, done.stdout.splitlines()), default=0) <= 100


def test_the_entry_point_is_the_program() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"jsep": "jsep.cli.__main__:main"}
    assert callable(__main__.main)
