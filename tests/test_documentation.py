"""The documentation: its code runs and prints what it says, its commands exist, public names are in the reference."""

import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest.mock

import api
import blocks
import matplotlib.pyplot as plt
import pytest

import jsep
from jsep import study, train

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TUTORIALS = [page for page in PAGES if page.parent.name == "tutorials"]


def test_every_public_name_has_a_docstring_and_is_in_the_reference() -> None:
    assert api.undocumented() == []
    for part in jsep.__all__:
        page = api.page(part)
        names = getattr(getattr(jsep, part), "__all__", ())
        assert [name for name in names if f"{{ #jsep.{part}.{name} }}" not in page] == []
    assert "{ #jsep.checks.check_epsilon }" in api.page("checks")


def test_docstrings_become_html_that_shows_every_word() -> None:
    text = (
        'One <line> of `code`.\n\n    a*b <= c\n\nArgs:\n  key: for the\n    start.\n  *, x: 2 < 3.\nReturns: () "y".'
    )
    html = api.docstring_html(text)
    assert "<p>One &lt;line&gt; of <code>code</code>.</p><pre>a*b &lt;= c</pre>" in html
    assert "<dt><code>key</code></dt><dd>for the start." in html
    assert '<span class="section">Returns</span> () "y".' in html


def test_comparison_of_what_a_page_prints() -> None:
    assert blocks.same("loss 1.05 of (8, 8)\n", "loss  1.00 of (8, 8)")
    assert not blocks.same("loss 1.2 of (8, 8)", "loss 1.0 of (8, 8)")
    assert not blocks.same("loss 1.0", "cost 1.0")
    assert not blocks.same("1.0 2.0", "1.0")


@pytest.mark.parametrize("name", ["index.md", "peers.md", "own_loop.md", "own_npz.md"])
def test_code_of_the_short_pages_runs(name: str, tmp_path: pathlib.Path) -> None:
    assert blocks.run(ROOT / "docs" / name, tmp_path) == 1


@pytest.mark.slow
def test_code_of_the_page_on_trained_models_runs(tmp_path: pathlib.Path) -> None:
    assert blocks.run(ROOT / "docs" / "zoo.md", tmp_path) == 2


def test_code_of_the_page_on_plug_ins_runs(tmp_path: pathlib.Path) -> None:
    with unittest.mock.patch.dict(train.OBJECTIVES):
        assert blocks.run(ROOT / "docs" / "plugins.md", tmp_path) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.long] if page.stem in ("train", "landscape") else []) for page in TUTORIALS],
    ids=lambda page: page.stem,
)
def test_tutorial_runs_and_prints_what_it_says(
    page: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for library in ("torch", "haiku", "keras"):
        if f"import {library}" in page.read_text() and importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    plt.switch_backend("Agg")
    assert blocks.run(page, tmp_path) >= 5
    shown = set(re.findall(r"!\[[^\]]*\]\((\w+\.png)\)", page.read_text()))
    assert {path.name for path in tmp_path.glob("*.png")} == shown
    plt.close("all")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_name_scripts_flagfiles_and_flags_that_exist(page: pathlib.Path) -> None:
    kinds = [kind for kind in vars(study).values() if isinstance(kind, type) and issubclass(kind, study.Configuration)]
    known = {name for kind in kinds for name in study.settings_of(kind)}
    known |= {
        "flagfile",
        "run_dir",
        "resume",
        "overwrite",
        "dry_run",
        "target",
        "help",
        "out",
        "peers",
        "compilation_cache",
    }
    known |= {"target", "name", "images", "table"}  # those of add_to_zoo, attack and report alone
    known |= {"num_devices", "coordinator_address", "num_processes", "process_id"}
    known |= {"xla_force_host_platform_device_count"}  # XLA's own
    for script in re.findall(r"python (experiments/\w+\.py)", page.read_text()):
        assert (ROOT / script).exists(), script
    for flagfile in re.findall(r"--flagfile=(\S+\.flags)", page.read_text()):
        assert (ROOT / flagfile).exists(), flagfile
    used = set(re.findall(r"(?<![\w-])--(\w+)", page.read_text()))
    assert used <= known, used - known


def build(config: pathlib.Path, site: pathlib.Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("mkdocs")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_site_builds_strictly_without_anything_from_elsewhere(tmp_path: pathlib.Path) -> None:
    done = build(ROOT / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    start = (tmp_path / "site" / "index.html").read_text()
    assert 'src="results/digits_sep/overview.png"' in start
    assert (tmp_path / "site" / "results" / "digits_sep" / "overview.png").exists()
    page = (tmp_path / "site" / "pages" / "run.html").read_text()
    assert 'id="step"' in page  # the player of the attack, from the kept arrays
    assert "undecided" in page
    assert 'href="pages/run.html"' in start
    assert "baseline_sep_quick" in (tmp_path / "site" / "pages" / "compare.html").read_text()
    assert '<a href="api/attack.html#jsep.attack.pgd"><code>attack.pgd</code></a>' in start
    # The hook looks for them as well; here only that it looked at something.
    assert len(list((tmp_path / "site").rglob("*.html"))) > 20


@pytest.mark.long
def test_what_is_wrong_is_named_and_stops_the_build(tmp_path: pathlib.Path) -> None:
    for name in ("docs", "results", "experiments"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mkdocs.yml", "BUILD.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    page = tmp_path / "docs" / "peers.md"
    wrong = "[page](lost_page.md) [anchor](metrics.md#lost_anchor) ![picture](../results/lost_picture.png)"
    text = page.read_text()
    page.write_text(f"{text}\n{wrong}\n")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert all(name in done.stderr for name in ("lost_page.md", "lost_anchor", "lost_picture.png"))
    page.write_text(f'{text}\n<img src="https://example.org/a.png">\n')
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "peers.html loads from elsewhere" in done.stderr
