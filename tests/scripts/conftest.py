"""What several scripts need of another one."""

import pathlib

import pytest
from script_runs import SMOKE, call


@pytest.fixture(scope="session")
def mat_models(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The run directory of a study with one MAT model, to be read only."""
    run_dir = tmp_path_factory.mktemp("mat_models") / "run"
    done = call("digits_sep", SMOKE, "--methods=mat", f"--run_dir={run_dir}")
    assert done.returncode == 0, done.stderr
    return run_dir
