"""Every objective and every explanation regulariser does what it says, on digits, by the script that a user runs."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
METHODS = [
    "standard", "mat", "trades@0.1", "trades@6",
    "mat_lga@2", "mat_hessian@0.01", "mat_cure@1", "mat_ig_norm@1", "mat_r2et@0.02",
]  # fmt: skip


@pytest.mark.long
def test_objectives_and_regularisers_keep_their_word(tmp_path: pathlib.Path) -> None:
    run_dir = tmp_path / "run"
    # Optimised, unlike the smoke runs: here the steps are most of the work.
    quick = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "XLA_FLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in quick}
    done = subprocess.run(
        [
            sys.executable, "experiments/objectives.py", "--flagfile=experiments/flags/objectives_digits.flags",
            f"--run_dir={run_dir}", f"--methods={','.join(METHODS)}", "--num_seeds=1", "--epochs=8", "--num_pairs=20",
            "--explanation_num_steps=2", "--feature_epochs=2", "--validate_every=8", "--checkpoint_every=8",
        ],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=850, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in json.loads((run_dir / "result.json").read_text())["rows"]}
    assert list(rows) == METHODS
    for row in rows.values():
        assert row["clean_accuracy"] > 0.85
        assert "collapsed_step" not in row
    mat = rows["mat"]
    assert mat["robust_accuracy"] > rows["standard"]["robust_accuracy"] + 0.2
    weak, strong = rows["trades@0.1"], rows["trades@6"]
    assert strong["robust_accuracy"] > weak["robust_accuracy"] + 0.05
    assert strong["clean_accuracy"] < weak["clean_accuracy"]
    for method in METHODS[4:]:
        assert rows[method]["noise_sensitivity"] < mat["noise_sensitivity"], method
