"""A finished study that many tests read."""

import pytest
from tiny_study import CONFIG

from jsep import study


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Its run directory, to be read only, its result, and what was said of its progress."""
    run_dir = tmp_path_factory.mktemp("study") / "run"
    seen = []
    result = study.run(CONFIG, run_dir, on_progress=lambda what, record: seen.append((what, record)))
    return run_dir, result, seen
