"""Sweeps: the plan of a spec, what is finished, and processes that fail, are interrupted or lose their parent."""

import json
import os
import pathlib
import signal
import sys
import time

import pytest

from jsep import study
from jsep.checks import InputError
from jsep.study import sweep, sweep_engines
from jsep.study.sweep_engines import Task

SPEC = {
    "script": "digits_sep",
    "flagfile": "base.flags",
    "flags": {"epochs": 2, "pairs_file": "{first}/pairs.json"},
    "first": {"name": "mat", "methods": "mat"},
    "runs": [
        {"methods": "sep_pos", "sep_weight_pos": [0.1, 1], "seed": [0, 1]},
        {"methods": "mat", "epsilon": "8/255", "augment": True, "epochs": 3},
    ],
}


def write(path, values):
    path.write_text(json.dumps(values))
    return path


def test_plan_is_the_product_of_the_axes_behind_the_first_run(tmp_path):
    runs = study.plan_sweep(study.read_spec(write(tmp_path / "spec.json", SPEC)), "there")
    assert [run.name for run in runs] == [
        "mat",
        "sep_weight_pos=0.1,seed=0",
        "sep_weight_pos=0.1,seed=1",
        "sep_weight_pos=1,seed=0",
        "sep_weight_pos=1,seed=1",
        "methods=mat,epsilon=8_255,augment=true,epochs=3",
    ]
    assert [run.is_first for run in runs] == [True] + [False] * 5
    # The first run cannot wait for itself; an entry's flag wins over that of all.
    assert runs[0].arguments == ("--flagfile=base.flags", "--epochs=2", "--methods=mat")
    assert runs[2].arguments == (
        "--flagfile=base.flags", "--epochs=2", "--pairs_file=there/mat/pairs.json", "--methods=sep_pos",
        "--sep_weight_pos=0.1", "--seed=1",
    )  # fmt: skip
    assert {"--epochs=3", "--augment=true", "--epsilon=8/255"} <= set(runs[-1].arguments)
    assert str(runs[-1].run_dir) == "there/methods=mat,epsilon=8_255,augment=true,epochs=3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scripts": "x"}, "unknown key of spec .* 'scripts'.*did you mean 'script'"),
        ({"script": "../x"}, 'expected "script", such as "digits_sep"'),
        ({"runs": []}, "expected a list of at least one run"),
        ({"runs": [3]}, "expected flags as a JSON object, got 3"),
        ({"runs": [{"seed": []}]}, "expected a value or a list of values to run over"),
        ({"flags": {"seed": [0, 1]}}, r"flags|seed: expected one value .*got \[0, 1\]"),
        ({"first": None}, None),
    ],
)
def test_bad_specs_are_one_line(change, message, tmp_path):
    path = write(tmp_path / "spec.json", {key: value for key, value in (SPEC | change).items() if value is not None})
    if message is None:
        with pytest.raises(InputError, match='has no "first" run'):
            study.plan_sweep(study.read_spec(path), tmp_path)
        return
    with pytest.raises(InputError, match=message):
        study.read_spec(path)


def test_runs_of_one_name_and_files_that_are_no_spec_are_refused(tmp_path):
    same = SPEC | {"runs": [{"name": "mat", "seed": 1}]}
    with pytest.raises(InputError, match="got seed=1 more than once"):
        study.plan_sweep(
            study.read_spec(write(tmp_path / "a", SPEC | {"runs": [{"seed": 1}, {"seed": [1]}]})), tmp_path
        )
    with pytest.raises(InputError, match="got mat more than once"):
        study.plan_sweep(study.read_spec(write(tmp_path / "b", same)), tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        study.read_spec(tmp_path / "nowhere.json")
    (tmp_path / "c").write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        study.read_spec(tmp_path / "c")
    with pytest.raises(InputError, match="expected a JSON object, got list"):
        study.read_spec(write(tmp_path / "d", [SPEC]))


def test_state_of_a_run_directory(tmp_path):
    config = study.StudyConfig.of(epochs=3)
    assert study.state_of(tmp_path / "run", config) == "absent"
    with study.run_directory.RunDirectory(tmp_path / "run", config) as run:
        assert study.state_of(run.path, config) == "begun"
    run.write_result({"format": 1, "complete": False})
    assert study.state_of(run.path, config) == "begun"
    run.write_result({"format": 1, "complete": True})
    assert study.state_of(run.path, config) == "begun"  # stopped before its page was drawn
    (run.path / "index.html").touch()
    assert study.state_of(run.path, config) == "finished"
    assert study.state_of(run.path, study.StudyConfig.of(epochs=4)) == "other"
    # Where the data lie is no part of a result, and a field that came later had its default.
    stored = json.loads((run.path / "config.json").read_text())
    del stored["test_epsilon"]
    (run.path / "config.json").write_text(json.dumps(stored))
    assert study.state_of(run.path, study.StudyConfig.of(epochs=3, data_dir="elsewhere")) == "finished"
    # Results that are written once need no word of completeness; a cut one is not finished.
    run.write_result({"format": 1})
    assert study.state_of(run.path, config) == "finished"
    (run.path / "result.json").write_text('{"format": 1, ')
    assert study.state_of(run.path, config) == "begun"


def planned(tmp_path, *names, first=None):
    return [study.PlannedRun(name, tmp_path / name, (), name == first) for name in names]


def shell(text):
    return ["sh", "-c", text]


def test_a_failed_run_stops_no_other_and_is_told_with_its_error(tmp_path):
    runs = planned(tmp_path, "one", "two", "three", "four")
    commands = {
        "one": shell(f"echo $MARK > {tmp_path}/one.txt; while ! test -s {tmp_path}/three.txt; do sleep 0.02; done"),
        "two": shell("echo 'error: no such thing' >&2; echo later; exit 2"),
        "three": shell(f"echo $MARK > {tmp_path}/three.txt"),
        "four": shell("exit 1"),
    }
    seen = []
    states = study.run_sweep(
        runs, commands, tmp_path, study.run_processes([{"MARK": "a"}, {"MARK": "b"}], poll_seconds=0.02),
        finished=frozenset({"four"}), on_change=lambda states: seen.append([state.status for state in states]),
    )  # fmt: skip
    assert [state.status for state in states] == ["done", "failed", "done", "skipped"]
    assert states[1].error == "no such thing"
    assert (tmp_path / "logs" / "two.log").read_text() == "error: no such thing\nlater\n"
    # Two at a time, each with the variables of its worker.
    assert ["running", "running", "waiting", "skipped"] in seen
    assert (tmp_path / "one.txt").read_text() == "a\n"
    assert (tmp_path / "three.txt").read_text() == "b\n"
    stored = json.loads((tmp_path / "sweep.json").read_text())["runs"]
    assert [(run["name"], run["status"]) for run in stored] == [
        ("one", "done"), ("two", "failed"), ("three", "done"), ("four", "skipped")
    ]  # fmt: skip


def test_the_others_wait_for_the_first_run_and_are_not_started_when_it_fails(tmp_path):
    runs = planned(tmp_path, "first", "next", first="first")
    commands = {"first": shell(f"sleep 0.2; touch {tmp_path}/x"), "next": shell(f"test -e {tmp_path}/x")}
    engine = study.run_processes([{}, {}], poll_seconds=0.02)
    assert [state.status for state in study.run_sweep(runs, commands, tmp_path, engine)] == ["done", "done"]
    commands["first"] = shell("exit 3")
    states = study.run_sweep(runs, commands, tmp_path, engine)
    assert [state.error for state in states] == [
        "later" if 0 else "it printed nothing",
        "not started: the first run failed",
    ]


def alive(pid):
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"  # dead, and nobody has waited for it yet


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_interrupt_stops_the_children_and_leaves_them_waiting(tmp_path):
    calls = []

    def interrupt(states):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
            calls.append([state.status for state in states])
            raise KeyboardInterrupt

    commands = {
        # Hears the interrupt, although the shell that started all this may ignore it.
        "one": shell(f"trap 'echo stopped; exit 130' INT; echo $$ > {tmp_path}/pid; while true; do sleep 0.05; done"),
        "two": shell("true"),
    }
    engine = study.run_processes([{}], poll_seconds=0.02)
    with pytest.raises(KeyboardInterrupt):
        study.run_sweep(planned(tmp_path, "one", "two"), commands, tmp_path, engine, on_change=interrupt)
    assert calls == [["running", "waiting"]]
    assert not alive(int((tmp_path / "pid").read_text()))
    assert "stopped" in (tmp_path / "logs" / "one.log").read_text()
    assert [run["status"] for run in json.loads((tmp_path / "sweep.json").read_text())["runs"]] == ["waiting"] * 2


def test_processes_that_do_not_listen_are_killed(tmp_path):
    process = sweep_engines.start(Task("x", tuple(shell("trap '' INT; sleep 60 & wait; wait")), tmp_path / "x.log"), {})
    time.sleep(0.2)
    started = time.monotonic()
    sweep_engines.stop([process], patience=0.3)
    assert time.monotonic() - started < 10
    assert process.returncode == -signal.SIGKILL


def test_two_processes_never_work_in_one_run_directory(tmp_path):
    task = Task("x", tuple(shell("sleep 60")), tmp_path / "logs" / "x.log")
    first = sweep_engines.start(task, {})
    assert sweep_engines.start(task, {}, lock_seconds=0.3) is None
    runs, engine = planned(tmp_path, "x"), study.run_processes([{}])
    states = study.run_sweep(runs, {"x": shell("true")}, tmp_path, engine)
    assert states[0].status == "failed"
    assert states[0].error.startswith("another process works in this run's directory")
    sweep_engines.stop([first], patience=5)
    assert study.run_sweep(runs, {"x": shell("true")}, tmp_path, engine)[0].status == "done"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_runs_die_with_the_sweep_that_is_killed(tmp_path):
    parent = os.fork()
    if parent == 0:
        # A sweep that is killed as soon as its run has begun.
        try:
            sweep_engines.start(
                Task("x", tuple(shell(f"echo $$ > {tmp_path}/pid; exec sleep 60")), tmp_path / "x.log"), {}
            )
            wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(parent, 0)[1] == signal.SIGKILL
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not alive(pid))


def test_workers_share_the_cores_or_take_a_gpu_each(monkeypatch):
    share = study.worker_environments(2, devices=[], num_cores=4)
    assert [environment["NPROC"] for environment in share] == ["2", "2"]
    assert len(study.worker_environments(0, devices=[], num_cores=3)) == 3
    assert study.worker_environments(8, devices=[], num_cores=2)[0]["OMP_NUM_THREADS"] == "1"
    assert study.worker_environments(1, devices=[], num_cores=4, threads=3)[0]["NPROC"] == "3"
    assert study.worker_environments(0, devices=["0", "1"], num_cores=4) == [
        {"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}
    ]  # fmt: skip
    crowded = study.worker_environments(3, devices=["0", "1"], num_cores=4)
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in crowded] == ["0", "1", "0"]
    assert {environment["XLA_PYTHON_CLIENT_PREALLOCATE"] for environment in crowded} == {"false"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert study.gpus() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert study.gpus() == []


def test_time_left_is_the_pace_of_what_is_done():
    states = [
        study.RunState("a", "done", 10.0), study.RunState("b", "done", 20.0),
        study.RunState("c", "running", started=90.0), study.RunState("d"),
        study.RunState("e", "skipped"), study.RunState("f", "failed", 1.0),
    ]  # fmt: skip
    assert study.seconds_left(states, 2, now=100.0) == pytest.approx((15 + 5) / 2)
    assert study.seconds_left(states[2:], 2, now=100.0) is None


def test_error_line_is_the_last_that_says_so(tmp_path):
    log = tmp_path / "x.log"
    assert sweep.error_line(log) == "it left no log"
    log.write_text("step 1\rstep 2\nerror: first\nerror: second\nthe end\n")
    assert sweep.error_line(log) == "second"
    log.write_text("Traceback\nZeroDivisionError: division by zero\n\n")
    assert sweep.error_line(log) == "ZeroDivisionError: division by zero"
