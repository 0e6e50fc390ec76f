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


def test_models_of_other_libraries_become_functions_as_readme_says(monkeypatch):
    eqx, nnx = pytest.importorskip("equinox"), pytest.importorskip("flax.nnx")
    key = jax.random.key(0)

    class Nnx(nnx.Module):
        def __init__(self):
            self.dense = nnx.Linear(48, 10, rngs=nnx.Rngs(0))

        def __call__(self, images):
            return self.dense(images.reshape(len(images), -1))

    class Equinox(eqx.Module):
        dense: eqx.nn.Linear

        def __call__(self, image):
            assert image.shape == (3, 4, 4)
            return self.dense(image.ravel())

    linen = flax.linen.Sequential([lambda images: images.reshape(len(images), -1), flax.linen.Dense(10)])
    values = {"nnx": nnx, "models": models, "jax": jax, "nnx_network": Nnx(), "linen_network": linen}
    values["variables"] = linen.init(key, jnp.zeros((1, 4, 4, 3)))
    values["equinox_network"] = Equinox(eqx.nn.Linear(48, 10, key=key))
    # The file of weights is PyTorch's; that it is read rightly is the business of tests/models/test_weights.py.
    monkeypatch.setattr(models, "import_torch", lambda path, model, shape: models.init(key, model, shape))
    parts = re.split(r"\n(?=# )", BLOCKS[1].strip())
    assert [part.split()[1] for part in parts] == ["Flax", "Flax", "Equinox,", "PyTorch"]
    for part in parts:
        exec(part, values)
        size = 32 if "PyTorch" in part else 4
        assert jax.eval_shape(values["logits_fn"], jnp.ones((size, size, 3))).shape == (10,)


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
def test_relative_links_lead_to_files(document):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "results").rglob("*.json")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_committed_results_hold_no_absolute_path(path: pathlib.Path) -> None:
    assert not re.search(r'["= ]/(home|root|work|tmp|mnt|Users)/', path.read_text())
