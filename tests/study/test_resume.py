"""A run that goes on equals one that nobody disturbed; a directory that holds something else is left alone."""

import shutil

import numpy as np
import pytest
from tiny_study import CONFIG, comparable, records

from jsep import study
from jsep.checks import InputError


@pytest.mark.slow
def test_interrupted_and_resumed_equals_uninterrupted(finished, tmp_path):
    run_dir, expected, _ = finished

    class Killed(Exception):
        pass

    def kill(what, record):
        if what == "training sep_neg, seed 0" and record.get("step") == 3:
            raise Killed

    with pytest.raises(Killed):
        study.run(CONFIG, tmp_path / "run", on_progress=kill)
    resumed = study.run(CONFIG, tmp_path / "run", resume=True)
    assert comparable(resumed) == comparable(expected)
    assert records(tmp_path / "run") == records(run_dir)


@pytest.mark.slow
def test_resume_of_a_finished_run_changes_no_number(finished, tmp_path):
    run_dir, expected, _ = finished
    shutil.copytree(run_dir, tmp_path / "run")
    assert comparable(study.run(CONFIG, tmp_path / "run", resume=True)) == comparable(expected)


@pytest.mark.slow
def test_lost_maps_are_made_again_without_training(finished, tmp_path):
    run_dir, expected, _ = finished
    shutil.copytree(run_dir, tmp_path / "run")
    content = bytearray((run_dir / "maps.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "run" / "maps.npz").write_bytes(content)
    seen = []
    with pytest.warns(UserWarning, match="missing or damaged"):
        result = study.run(
            CONFIG, tmp_path / "run", resume=True, on_progress=lambda what, record: seen.append((what, record))
        )
    assert comparable(result) == comparable(expected)
    assert not [what for what, record in seen if what.startswith("training")]
    with np.load(run_dir / "maps.npz") as before, np.load(tmp_path / "run" / "maps.npz") as after:
        assert {*before} == {*after}
        for name in before:
            np.testing.assert_array_equal(before[name], after[name])


@pytest.mark.slow
def test_damaged_best_checkpoint_trains_its_model_anew(finished, tmp_path):
    run_dir, expected, _ = finished
    shutil.copytree(run_dir, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    best = tmp_path / "run" / "checkpoints" / "mat_seed0_best"
    newest = max((path for path in best.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    file = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="mat_seed0_best: .* is damaged; the model is trained anew"):
        resumed = study.run(CONFIG, tmp_path / "run", resume=True)
    assert comparable(resumed) == comparable(expected)


def test_existing_run_is_refused_and_left_untouched(finished):
    run_dir, _, _ = finished
    before = (run_dir / "result.json").read_bytes()
    with pytest.raises(InputError, match="resume=True, replace it with overwrite=True"):
        study.run(CONFIG, run_dir)
    assert (run_dir / "result.json").read_bytes() == before


def test_resume_with_other_flags_names_them(finished):
    run_dir, _, _ = finished
    with pytest.raises(InputError, match=r"epochs \(2 there, 3 now\)"):
        study.run(CONFIG.replace(epochs=3), run_dir, resume=True)


def test_directory_that_is_no_run_is_never_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(InputError, match="not a run of jsep"):
        study.run(CONFIG, tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "three years"
