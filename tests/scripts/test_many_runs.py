"""Scripts that run others: recipes one after the other, a sweep beside one another."""

import json

import pytest
from script_runs import SMOKE, call


@pytest.mark.long
def test_recipes_run_one_after_the_other_and_only_whole_results_are_kept(tmp_path):
    small = {"methods": "mat", "epochs": 1}
    entries = [
        {"name": "models", "flagfile": "digits_sep_smoke", "flags": small, "result": False},
        {"name": "broken", "flagfile": "digits_sep_smoke", "flags": {"pairs_file": "nowhere.json"}},
        {"name": "lost", "flagfile": "cross_method_smoke", "flags": {"study_dirs": "{broken}"}},
        {"name": "cross", "flagfile": "cross_method_smoke", "flags": {"study_dirs": "{models}"}},
    ]
    (tmp_path / "table.json").write_text(json.dumps({"quick": entries}))
    arguments = [
        f"--recipes={tmp_path / 'table.json'}",
        f"--run_dir={tmp_path}",
        f"--results_dir={tmp_path / 'results'}",
    ]
    planned = call("paper", *arguments, "--dry_run").stdout.splitlines()
    assert planned[-1].startswith("4 recipes, ")
    assert f"--study_dirs={tmp_path / 'models'}" in planned[3]
    assert not (tmp_path / "models").exists()
    done = call("paper", *arguments)
    assert done.returncode == 1, done.stderr
    listed = done.stdout.split("2 of 4 recipes failed:")[1].splitlines()
    assert "nowhere.json" in listed[1]
    assert listed[2].startswith("  lost: needs broken")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["cross"]
    assert (tmp_path / "results" / "cross" / "cross.png").exists()
    again = call("paper", *arguments, "--only=cross")
    assert again.returncode == 0, again.stderr
    assert "1 of 2: models, skipped: finished before\n2 of 2: cross, skipped: finished before" in again.stdout


@pytest.mark.slow
def test_sweep_skips_what_is_finished_and_lists_what_failed(tmp_path):
    spec = {
        "script": "digits_sep",
        "flagfile": SMOKE.removeprefix("--flagfile="),
        "flags": {"epochs": 1, "pairs_file": "{first}/pairs.json"},
        "first": {"name": "mat", "methods": "mat"},
        "runs": [
            {"name": "good", "methods": "standard"},
            {"name": "bad", "methods": "mat", "pairs_file": "nowhere.json"},
        ],
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    arguments = [f"--spec={tmp_path / 'spec.json'}", f"--run_dir={tmp_path / 'sweep'}", "--num_workers=2"]
    planned = call("sweep", *arguments, f"--data_dir={tmp_path}", "--dry_run")
    assert planned.stdout.count(f"--data_dir={tmp_path}") == 3
    assert planned.stdout.strip().splitlines()[-1] == "3 runs, 0 of them finished; nothing was started"
    assert not (tmp_path / "sweep").exists()
    done = call("sweep", *arguments)
    assert done.returncode == 1, done.stderr
    assert "1 of 3 runs failed:" in done.stdout
    assert "nowhere.json" in done.stdout.split("bad: ")[1].splitlines()[0]
    assert f"log: {tmp_path / 'sweep' / 'logs' / 'bad.log'}" in done.stdout
    assert (tmp_path / "sweep" / "good" / "index.html").exists()
    again = call("sweep", *arguments)
    assert "2 of 3 done (2 before), 1 failed" in again.stderr
    assert again.returncode == 1
    # A flag that the script does not know, or a spec that has changed, is told before and instead of a run.
    (tmp_path / "spec.json").write_text(json.dumps(spec | {"flags": {"epoch": 1}}))
    assert "error: run mat: " in call("sweep", *arguments).stderr
