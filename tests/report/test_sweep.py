"""The progress of a sweep in words."""

from jsep import report


def state(name, status, **values):
    return {
        "name": name,
        "status": status,
        "seconds": 0.0,
        "error": "",
        "log": f"logs/{name}.log",
        "started": 0.0,
        **values,
    }


STATES = [
    state("a", "skipped"), state("b", "done", seconds=5.0), state("c", "running", started=40.0),
    state("d", "failed", error="no such thing"), state("e", "waiting"),
]  # fmt: skip


def test_counts_name_every_state_and_the_time_left():
    assert report.sweep_counts(STATES, 130.0) == "2 of 5 done (1 before), 1 failed, 1 running, about 2 min left"
    assert report.sweep_counts(STATES[1:3], None) == "1 of 2 done, 0 failed, 1 running, time left not known yet"
    assert report.sweep_counts(STATES[:2], None) == "2 of 2 done (1 before), 0 failed, 0 running"


def test_table_shows_what_runs_and_what_failed():
    lines = report.sweep_table(STATES, 100.0, 60.0).splitlines()
    assert lines[1:] == ["  running  c  1 min", "  failed   d  no such thing"]
    long = report.sweep_table([state("x" * 100, "running")], 1.0, None).splitlines()[1]
    assert len(long) < 80


def test_failures_have_their_error_and_log():
    assert report.sweep_failures(STATES) == "1 of 5 runs failed:\n  d: no such thing\n    log: logs/d.log"
    assert report.sweep_failures(STATES[:3]) == ""
