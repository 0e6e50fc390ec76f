"""The notebooks: run to their end at a small size; outputs committed, small, without a machine in them."""

import json
import pathlib
import re

import address
import pytest

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
"""Executed here; run all of them again in full with docs/_build/notebooks.py."""


def test_there_are_four() -> None:
    assert [path.stem[:3] for path in NOTEBOOKS] == ["01_", "02_", "03_", "04_"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_committed_small_and_of_no_machine(path: pathlib.Path) -> None:
    assert path.stat().st_size <= 2**20
    code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert 'find_spec("jsep") is None' in "".join(code[0]["source"])
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    shown = "".join("".join([*o.get("text", []), *o.get("data", {}).get("text/plain", [])]) for o in outputs)
    assert not re.search(r"(?<![\w.])/(?:home|root|tmp|usr|opt|work|mnt)/", shown)


def test_address_of_the_repository_is_that_of_the_project_wherever_it_stands() -> None:
    found = []
    for names, pattern in address.PLACES:
        for path in ROOT.glob(names):
            text = path.read_text()
            found += pattern.findall(text)
            assert address.written(text, pattern, address.address()) == text, f"run docs/_build/address.py: {path.name}"
            moved = address.written(text, pattern, "https://github.com/someone/elsewhere")
            assert set(pattern.findall(moved)) == {"https://github.com/someone/elsewhere"}
    assert len(found) == len(NOTEBOOKS)
    readme = (ROOT / "README.md").read_text()
    assert [path.name for path in NOTEBOOKS if f"](notebooks/{path.name})" not in readme] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.long] if "_your_own" not in path.stem else []) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_notebook_runs_at_small_size(
    path: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    import notebooks

    monkeypatch.setenv("JSEP_NOTEBOOK_SIZE", "0.2")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    book = notebooks.execute(path, tmp_path)
    stored = json.loads(path.read_text())
    kinds = [[{o["output_type"] for o in c.get("outputs", [])} for c in b["cells"]] for b in (book, stored)]
    assert kinds[0] == kinds[1]
