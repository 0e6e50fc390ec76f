"""A real script that is killed, or whose disk fills up: what is left of it, and what it becomes when it goes on."""

import contextlib
import json
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
import pytest

from jsep import study

ROOT = pathlib.Path(__file__).parent.parent
# Not optimising compiles faster; the same programs are compiled in every process.
ENVIRONMENT = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
SMOKE = [
    "--flagfile=experiments/flags/digits_sep_smoke.flags", "--methods=sep_neg", "--epochs=30", "--ema_decay=0.9",
    "--evaluated_checkpoint=best", "--checkpoint_every=2",
]  # fmt: skip

pytestmark = pytest.mark.slow


def start(run_dir: pathlib.Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "experiments/digits_sep.py", *SMOKE, f"--run_dir={run_dir}", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen) -> tuple[int, str]:
    _, errors = process.communicate(timeout=800)
    return process.returncode, errors


def wait_until(reached: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 800
    while not reached():
        assert process.poll() is None, "ended before it was reached"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def trained_steps(run_dir: pathlib.Path) -> int:
    path = run_dir / "metrics.jsonl"
    return path.read_text().count('"method": "sep_neg"') if path.exists() else 0


def records(run_dir: pathlib.Path) -> list[dict]:
    lines = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in r.items() if k != "images_per_second" and not k.endswith("_mib")} for r in lines]


def rows(run_dir: pathlib.Path) -> list[dict]:
    found = json.loads((run_dir / "result.json").read_text())["rows"]
    return [{k: v for k, v in row.items() if not k.endswith("_seconds")} for row in found]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The run directory of a script that nobody disturbs."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    code, errors = finish(start(run_dir))
    assert code == 0, errors
    return run_dir


def assert_same_run(run_dir: pathlib.Path, whole: pathlib.Path) -> None:
    assert records(run_dir) == records(whole)
    assert rows(run_dir) == rows(whole)
    for which in ("last", "best"):
        ours, theirs = (study.load_trained(path, which=which).trained for path in (run_dir, whole))
        jax.tree.map(np.testing.assert_array_equal, ours[0].variables, theirs[0].variables)


def test_killed_twice_at_random_steps_and_resumed_is_the_undisturbed_run(
    whole: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    num_records = trained_steps(whole)
    assert num_records == 30 * (2 + 1)
    first, second = sorted(random.Random(11).sample(range(1, num_records - 10), 2))
    for records_before in (first, second):
        process = start(tmp_path / "run", "--resume")
        wait_until(lambda least=records_before: trained_steps(tmp_path / "run") >= least, process)
        process.send_signal(signal.SIGKILL)
        code, _ = finish(process)
        assert code == -signal.SIGKILL
    assert not (tmp_path / "run" / "index.html").exists()
    code, errors = finish(start(tmp_path / "run", "--resume"))
    assert code == 0, errors
    assert_same_run(tmp_path / "run", whole)


@contextlib.contextmanager
def small_disk(path: pathlib.Path) -> Iterator[Callable[[subprocess.Popen], None]]:
    """A directory on a disk that gives a function which fills it up, or stands for it."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", path], capture_output=True, check=False
    )
    try:
        if mounted.returncode == 0:
            yield lambda process: fill(path)
        else:  # not allowed to mount: no file of the process may grow any more
            yield lambda process: resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1024, 1024))
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", path], check=True)


def fill(path: pathlib.Path) -> None:
    with contextlib.suppress(OSError), (path / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_full_disk_is_one_line_and_leaves_a_run_that_goes_on(whole: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with small_disk(tmp_path / "disk") as fill_up:
        run_dir = tmp_path / "disk" / "run"
        process = start(run_dir)
        checkpoints = run_dir / "checkpoints" / "sep_neg_seed0"
        wait_until(lambda: len(list(checkpoints.glob("[0-9]*"))) >= 2, process)
        fill_up(process)
        code, errors = finish(process)
        last = errors.strip().splitlines()[-1]
        assert code == 2, errors
        assert last.startswith("error: the disk is full: ")
        assert last.endswith("--resume")
        assert "Traceback" not in errors, errors
        assert [line for line in errors.splitlines() if line.startswith("error: ")] == [last]
        (tmp_path / "disk" / "filler").unlink(missing_ok=True)
        code, errors = finish(start(run_dir, "--resume"))
        assert code == 0, errors
        assert "damaged" not in errors
        assert_same_run(run_dir, whole)
