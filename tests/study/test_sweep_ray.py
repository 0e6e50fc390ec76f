"""A sweep on a real Ray cluster of two nodes on loopback, one of them killed in the middle."""

import importlib.util
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from jsep import study
from jsep.checks import InputError
from jsep.study import sweep_ray

ROOT = pathlib.Path(__file__).parents[2]
HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="the ray extra is not installed")


def free_port(host):
    with socket.socket() as listener:
        listener.bind((host, 0))
        return listener.getsockname()[1]


def start_node(*arguments):
    program = [str(pathlib.Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats"]
    program += ["--num-cpus=1", f"--object-store-memory={80 * 2**20}", *arguments]
    # Nothing is reported anywhere, and the workers are not starved by their default priority.
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    return subprocess.Popen(
        program, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill(node):
    os.killpg(node.pid, signal.SIGKILL)
    node.wait()


@pytest.mark.long
@needs_ray
@pytest.mark.skipif(sys.platform != "linux", reason="needs a second loopback address and prctl")
def test_nothing_is_lost_when_a_node_is_killed(tmp_path):
    head_ip, other_ip = "127.0.0.2", "127.0.0.3"
    address = f"{head_ip}:{free_port(head_ip)}"
    head = ["--head", f"--port={address.split(':')[1]}", "--include-dashboard=false", f"--node-ip-address={head_ip}"]
    # Sockets have short paths, so the cluster's directory is not pytest's.
    directory = pathlib.Path(f"/tmp/jsep_ray_{os.getpid()}")
    nodes = [start_node(*head, f"--temp-dir={directory}", "--min-worker-port=0", "--max-worker-port=0")]
    try:
        nodes.append(start_node(f"--address={address}", f"--node-ip-address={other_ip}"))
        program = [sys.executable, str(pathlib.Path(__file__).with_name("ray_sweep.py")), address, str(tmp_path)]
        sweep = subprocess.Popen(
            program, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
        )
        try:
            logs = tmp_path / "logs"
            deadline = time.monotonic() + 90
            # Two at the same time: a node has one CPU, so each has one of them.
            while len(list(logs.glob("*.log"))) - len(list(tmp_path.glob("*.done"))) < 2:
                assert sweep.poll() is None
                assert time.monotonic() < deadline, "two runs did not start"
                time.sleep(0.1)
            kill(nodes.pop())
            printed, _ = sweep.communicate(timeout=90)
        finally:
            sweep.kill()
    finally:
        for node in nodes:
            kill(node)
        subprocess.run(["rm", "-rf", str(directory)], check=False)
    # "d" fails by itself, which is told and no reason to start it again.
    told = [line for line in printed.splitlines() if line[:2] in ("a ", "b ", "c ", "d ")]  # Ray speaks up in between
    assert told == ["a done", "b done", "c done", "d failed"]
    assert sorted(path.stem for path in tmp_path.glob("*.done")) == ["a", "b", "c", "d"]
    started = {path.stem: path.read_text().count("started") for path in logs.glob("*.log")}
    assert started["d"] == 1
    assert sum(started.values()) == 5, started  # the killed node's run began a second time, elsewhere


def test_without_ray_or_a_cluster_there_is_one_line(monkeypatch):
    if HAS_RAY:
        import ray

        def refuse(**_):
            raise ConnectionError("Could not find any running Ray instance.")

        monkeypatch.setattr(ray, "init", refuse)
        with pytest.raises(InputError, match="no Ray cluster at 'auto' .*ray start --head, or use engine=processes"):
            sweep_ray.connect("auto")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r'engine=ray needs Ray; install it with: pip install "jsep\[ray\]"'):
        sweep_ray.connect("auto")
    assert study.SweepConfig.of(engine="ray").ray_address == "auto"
    with pytest.raises(InputError, match="unknown engine 'rays'.*did you mean 'ray'"):
        study.SweepConfig.of(engine="rays")
