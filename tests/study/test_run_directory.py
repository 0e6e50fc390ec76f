"""A run directory loses nothing: what may be replaced and when, one process at a time, damage noticed in every file."""

import dataclasses
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from jsep import study
from jsep.checks import InputError
from jsep.record.manifest import read_listed, write_listed
from jsep.study import environment, own_files, runner
from jsep.study.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class ToyConfig(study.Configuration):
    """A study that takes no time."""

    image: str = study.setting("", "path of an array")
    units: int = study.count(2, "units")


def prepare(config: ToyConfig) -> np.ndarray:
    if not pathlib.Path(config.image).exists():
        raise InputError(f"no image {config.image}")
    return np.load(config.image)


def measure(config: ToyConfig, image: np.ndarray, run: study.Run) -> None:
    for unit in run.missing(range(config.units), "unit", str, arrays=("maps.npz",)):
        run.directory.add_maps({f"unit{unit}": image + unit})
        run.rows.append({"method": str(unit), "value": np.float32(image.sum() + unit)})
        run.save()


TOY = study.StudyKind("toy", ToyConfig, prepare, measure, draw=lambda path: None)


@pytest.fixture
def config(tmp_path: pathlib.Path) -> ToyConfig:
    np.save(tmp_path / "image.npy", np.arange(4.0))
    return ToyConfig.of(image=str(tmp_path / "image.npy"))


@pytest.fixture
def run_dir(config: ToyConfig, tmp_path: pathlib.Path) -> pathlib.Path:
    """A finished run."""
    runner.execute(TOY, config, tmp_path / "run")
    return tmp_path / "run"


def content(path: pathlib.Path) -> dict[str, str]:
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != own_files.LOCK)
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def values(path: pathlib.Path) -> list[float]:
    return [row["value"] for row in json.loads((path / "result.json").read_text())["rows"]]


def test_a_finished_run_is_its_files_and_nothing_else(run_dir: pathlib.Path) -> None:
    assert {*content(run_dir)} == {"config.json", "flags.flags", "manifest.json", "maps.npz", "result.json"}
    assert not (run_dir / own_files.LOCK).exists()


# What may be replaced.


@pytest.mark.parametrize("foreign", ["thesis.tex", "checkpoints/notes.txt", "figure.png", "sub/config.json"])
def test_directory_with_a_foreign_file_is_never_replaced(
    foreign: str, config: ToyConfig, run_dir: pathlib.Path
) -> None:
    (run_dir / foreign).parent.mkdir(exist_ok=True)
    (run_dir / foreign).write_text("three years")
    before = content(run_dir)
    with pytest.raises(InputError, match=f"what jsep did not write .*{foreign}"):
        runner.execute(TOY, config, run_dir, overwrite=True)
    assert content(run_dir) == before


def test_parent_of_runs_and_directory_with_another_config_are_no_runs(
    config: ToyConfig, run_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"experiment": "of another program"}')
    for path in (tmp_path, other):
        before = content(path)
        with pytest.raises(InputError, match="not a run of jsep"):
            runner.execute(TOY, config, path, overwrite=True)
        assert content(path) == before


def test_current_directory_is_never_replaced(
    config: ToyConfig, run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_dir)
    before = content(run_dir)
    for path in (".", run_dir):
        with pytest.raises(InputError, match="the current directory or one above"):
            runner.execute(TOY, config, path, overwrite=True)
    assert content(run_dir) == before


def test_files_of_a_real_study_are_all_known(finished: Any) -> None:
    own_files.check_may_replace(finished[0])


# When it is replaced.


def failing(error: BaseException) -> study.StudyKind:
    def fail(config: ToyConfig, image: np.ndarray, run: study.Run) -> None:
        run.directory.add_maps({"half": image})
        raise error

    return dataclasses.replace(TOY, measure=fail)


def test_bad_input_found_before_or_while_measuring_leaves_the_old_run(config: ToyConfig, run_dir: pathlib.Path) -> None:
    before = content(run_dir)
    for kind, image in ((TOY, "nowhere.npy"), (failing(InputError("bad pairs")), config.image)):
        with pytest.raises(InputError):
            runner.execute(kind, config.replace(image=image), run_dir, overwrite=True)
        assert content(run_dir) == before


def test_old_run_stays_until_the_new_one_has_a_result(config: ToyConfig, run_dir: pathlib.Path) -> None:
    before = content(run_dir)
    new = config.replace(units=3)
    for _ in range(2):  # interrupted twice
        with pytest.raises(KeyboardInterrupt):
            runner.execute(failing(KeyboardInterrupt()), new, run_dir, overwrite=True)
        assert content(run_dir / own_files.REPLACED) == before
    result = runner.execute(TOY, new, run_dir, resume=True)
    assert len(result["rows"]) == 3
    assert not (run_dir / own_files.REPLACED).exists()
    assert values(run_dir) == [6.0, 7.0, 8.0]


def test_process_killed_while_it_sets_a_run_aside_loses_nothing(
    config: ToyConfig, run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(run_dir)
    moved = []

    def rename(path: pathlib.Path, target: pathlib.Path) -> None:
        moved.append(path)
        if len(moved) == 3:
            raise KeyboardInterrupt
        os.rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            runner.execute(TOY, config.replace(units=3), run_dir, overwrite=True)
    own_files.put_back(run_dir, own_files.MOVING)
    assert content(run_dir) == before


# One process at a time.


def test_second_process_in_a_run_directory_is_one_line(config: ToyConfig, run_dir: pathlib.Path) -> None:
    with RunDirectory(run_dir, config, resume=True), pytest.raises(InputError, match="another process works in"):
        RunDirectory(run_dir, config, resume=True)
    with RunDirectory(run_dir, config, resume=True):
        pass


def test_lock_of_a_killed_process_is_free(config: ToyConfig, run_dir: pathlib.Path) -> None:
    program = "import os, sys; from jsep.files import FileLock; from pathlib import Path\n"
    program += "assert FileLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", program, run_dir / own_files.LOCK], check=False).returncode == -9
    assert (run_dir / own_files.LOCK).exists()
    with RunDirectory(run_dir, config, resume=True):
        pass


# Damage.


def flip(path: pathlib.Path, rng: random.Random) -> None:
    """Changes one bit."""
    damaged = bytearray(path.read_bytes())
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    path.write_bytes(damaged)


@pytest.mark.parametrize("name", ["config.json", "result.json"])
def test_flipped_bit_is_one_line(name: str, config: ToyConfig, run_dir: pathlib.Path) -> None:
    rng, whole = random.Random(name), (run_dir / name).read_bytes()
    for _ in range(60):
        (run_dir / name).write_bytes(whole)
        flip(run_dir / name, rng)
        with pytest.raises(InputError, match=f"{name} is not as it was written"):
            runner.execute(TOY, config, run_dir, resume=True)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_flipped_bit_of_the_manifest_changes_no_number(config: ToyConfig, run_dir: pathlib.Path) -> None:
    rng, whole = random.Random(1), {path: path.read_bytes() for path in run_dir.iterdir()}
    lines = 0
    for _ in range(60):
        for path, bytes_ in whole.items():
            path.write_bytes(bytes_)
        flip(run_dir / "manifest.json", rng)
        try:
            runner.execute(TOY, config, run_dir, resume=True)
        except InputError as error:
            lines += "\n" not in str(error)
        assert values(run_dir) == [6.0, 7.0]
    assert lines > 30


def test_lost_arrays_are_found_first_and_their_part_alone_is_measured_again(
    config: ToyConfig, run_dir: pathlib.Path
) -> None:
    with np.load(run_dir / "maps.npz") as file:
        expected = dict(file)
    rng, whole = random.Random(3), (run_dir / "maps.npz").read_bytes()
    for _ in range(30):
        (run_dir / "maps.npz").write_bytes(whole)
        flip(run_dir / "maps.npz", rng)
        with pytest.warns(UserWarning, match=r"maps\.npz of .* is missing or damaged"):
            runner.execute(TOY, config, run_dir, resume=True)
        with np.load(run_dir / "maps.npz") as file:
            assert {*file} == {*expected}
            for name, value in expected.items():
                np.testing.assert_array_equal(file[name], value)
    assert values(run_dir) == [6.0, 7.0]


def test_killed_between_manifest_and_file_is_no_damage(
    config: ToyConfig, run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jsep.record import manifest

    before = (run_dir / "result.json").read_bytes()

    def killed(path: pathlib.Path, text: Any) -> None:
        if path.name != manifest.MANIFEST:
            raise KeyboardInterrupt
        path.write_text(text)

    monkeypatch.setattr(manifest, "write_whole", killed)
    for text in ("a", "b"):
        with pytest.raises(KeyboardInterrupt):
            manifest.write_listed(run_dir / "result.json", text)
        assert read_listed(run_dir / "result.json") == before


def test_run_without_a_manifest_is_read_and_then_has_one(config: ToyConfig, run_dir: pathlib.Path) -> None:
    (run_dir / "manifest.json").unlink()
    result = runner.execute(TOY, config, run_dir, resume=True)
    assert [row["method"] for row in result["rows"]] == ["0", "1"]
    assert (run_dir / "manifest.json").exists()


# What it was made from.


def test_run_without_its_configuration_is_not_continued(config: ToyConfig, run_dir: pathlib.Path) -> None:
    (run_dir / "config.json").unlink()
    with pytest.raises(InputError, match=r"has lost its config\.json"):
        runner.execute(TOY, config, run_dir, resume=True)
    assert runner.execute(TOY, config, run_dir, overwrite=True)["complete"]


def test_resume_with_replaced_data_is_refused(config: ToyConfig, run_dir: pathlib.Path) -> None:
    np.save(config.image, np.arange(4.0)[::-1])
    with pytest.raises(InputError, match="begun with other images or models"):
        runner.execute(TOY, config, run_dir, resume=True)


def test_resume_by_another_version_is_said(
    config: ToyConfig, run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "version", lambda: "9.0")
    with pytest.warns(UserWarning, match=r"begun by jsep 0\..*, and is continued by 9\.0"):
        runner.execute(TOY, config, run_dir, resume=True)


def test_resume_on_other_devices_is_said_and_kept_in_the_result(
    config: ToyConfig, run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = json.loads((run_dir / "result.json").read_text())
    for used in ("8 x NVIDIA H200", "1 x TPU v5 lite"):  # with a unit missing each time
        begun = json.dumps({**result, "complete": False, "rows": result["rows"][:-1]})
        write_listed(run_dir / "result.json", begun)
        monkeypatch.setattr(environment, "devices_in_use", lambda count, used=used: used)
        with pytest.warns(UserWarning, match=rf"was begun on 1 x cpu, and is continued on {used}: .* rounded"):
            result = runner.execute(TOY, config, run_dir, resume=True)
        assert result["complete"]
    assert result["environment"]["device"] == "cpu"
    assert result["environment"]["continued_on"] == ["8 x NVIDIA H200", "1 x TPU v5 lite"]


def test_a_run_that_does_not_say_its_devices_is_continued(config: ToyConfig, run_dir: pathlib.Path) -> None:
    manifest = json.loads((run_dir / "manifest.json").read_text())
    del manifest["devices"]
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    assert "continued_on" not in runner.execute(TOY, config, run_dir, resume=True)["environment"]


def test_files_half_written_by_a_killed_process_are_removed(config: ToyConfig, run_dir: pathlib.Path) -> None:
    for name in ("result.json.tmp", "maps.npz.tmp", ".index.html.123.tmp"):
        (run_dir / name).write_text("half")
    before = {name for name in content(run_dir) if not name.endswith(".tmp")}
    runner.execute(TOY, config, run_dir, resume=True)
    assert {*content(run_dir)} == before
