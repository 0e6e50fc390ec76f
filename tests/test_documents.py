"""What the documents say is true: README's code runs, generated tables are up to date, links lead somewhere."""

import doctest
import pathlib
import re

import flax.linen
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import pytest
from script_runs import call

from jsep import models
from jsep.report.formatting import minus

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "experiments").glob("*.md"),
    *(ROOT / "results").glob("*.md"),
    *(ROOT / "results").glob("*/README.md"),
    *(ROOT / "docs").rglob("*.md"),
]


README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_code_in_readme_runs_and_prints_what_it_says():
    plt.switch_backend("Agg")
    failed, attempted = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    plt.close("all")
    assert attempted >= 8
    assert failed == 0


def test_readme_is_short_and_so_is_its_code():
    prose = re.sub(r"```.*?```|^\|.*?$|<!--.*?-->", "", README, flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", prose)
    assert len(prose.split()) <= 500
    assert len([line for line in BLOCKS[0].splitlines() if line.startswith((">>>", "..."))]) <= 15


def test_models_of_other_libraries_become_functions_as_readme_says():
    parts = re.split(r"\n(?=# )", BLOCKS[1].strip())
    assert len(parts) == 3
    linen = flax.linen.Sequential([lambda images: images.reshape(len(images), -1), flax.linen.Dense(10)])
    networks = (lambda image: image.mean(axis=(0, 1)), linen, lambda images: images.mean(axis=(-3, -2)))
    variables = linen.init(jax.random.key(0), jnp.zeros((1, 3072)))
    for part, network in zip(parts, networks, strict=True):
        values = {"models": models, "network": network, "variables": variables}
        exec(part, values)
        assert jax.eval_shape(values["logits_fn"], jnp.ones((32, 32, 3))).shape in ((10,), (3,))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_links_to_a_placeholder(document):
    assert re.findall(r"https?://[^\s)>\"]*(?:OWNER|USER|example)[^\s)>\"]*", document.read_text()) == []


def test_generated_tables_are_up_to_date():
    done = call("render_results", "--check")
    assert done.returncode == 0, done.stderr


def test_commands_of_results_are_those_of_any_checkout():
    commands = [
        re.search(r'"command": "([^"]*)', path.read_text()).group(1) for path in ROOT.glob("results/*/result.json")
    ]
    assert len(commands) > 25
    assert [command for command in commands if not command.startswith("python experiments/")] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_negative_numbers_have_a_minus_sign(document):
    words = re.sub(r"```.*?```|`[^`]*`", "", document.read_text(), flags=re.DOTALL)
    assert [line for line in words.splitlines() if minus(line) != line] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_files(document):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "results").rglob("*.json")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_committed_results_hold_no_absolute_path(path: pathlib.Path) -> None:
    assert not re.search(r'["= ]/(home|root|work|tmp|mnt|Users)/', path.read_text())
