"""What the documents say is true: README's code runs, generated tables are up to date, links lead somewhere."""

import doctest
import pathlib
import re

import pytest
from script_runs import call

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "experiments").glob("*.md"),
    *(ROOT / "results").glob("*.md"),
    *(ROOT / "results").glob("*/README.md"),
    *(ROOT / "docs").rglob("*.md"),
]


def test_code_in_readme_runs_and_prints_what_it_says():
    failed, attempted = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert attempted >= 8
    assert failed == 0


def test_code_in_readme_is_at_most_15_lines():
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    assert len([line for line in code.splitlines() if line.startswith((">>>", "..."))]) <= 15


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
