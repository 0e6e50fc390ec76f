"""Training on several devices: the numbers of one device, nothing gathered, any number of devices after a resume."""

import dataclasses
import json
import pathlib
import re
import socket
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import one_of_two
import pytest

from jsep import data, devices, models, train
from jsep.checks import InputError

ROOT = pathlib.Path(__file__).parents[2]
KEY = jax.random.key(3)
# Batch normalisation, whose statistics are those of the whole batch.
MODEL = models.ResNet(num_classes=10, stage_sizes=(1,), width=4)
SGD = train.OptimizerConfig(learning_rate=0.02, schedule="cosine")
ATTACK = train.PgdConfig(epsilon=0.1, alpha=0.05, num_steps=2)
MAT = train.TrainConfig(objective="mat", epochs=3, batch_size=16, augment=True, optimizer=SGD, attack=ATTACK)
STANDARD = dataclasses.replace(MAT, objective="standard")
SEP = dataclasses.replace(MAT, sep_weight=30.0)
CONFIGS = {
    "standard": STANDARD,
    "mat": MAT,
    # At the start of its attack the gradient nearly vanishes, and the sign step of an linf ball turns rounding into
    # whole steps there: measured, one loss of twelve was 7e-5 off, the others 2e-6.
    "trades": dataclasses.replace(
        MAT, objective="trades", attack=train.PgdConfig("l2", epsilon=0.5, alpha=0.05, num_steps=2)
    ),
    "sep": SEP,
    "regulariser": dataclasses.replace(MAT, regulariser=train.RegulariserConfig("lga"), regulariser_weight=0.01),
}


def curve(
    digits: data.Dataset, config: train.TrainConfig, num_devices: int, **settings: Any
) -> tuple[np.ndarray, train.TrainState]:
    """The loss of every step, and the trained state."""
    records: list[dict] = []
    mesh = devices.make_mesh(num_devices)
    state = train.fit(KEY, MODEL, digits, config, log_every=1, on_log=records.append, mesh=mesh, **settings)
    return np.array([record["loss"] for record in records]), state


def assert_equal(first: Any, second: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, first, second)


COLLECTIVE = re.compile(r"= (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(-start)?\(")


@pytest.mark.slow
def test_sep_step_on_eight_devices_only_adds_up_and_gives_the_losses_of_one(digits: data.Dataset) -> None:
    config = dataclasses.replace(SEP, batch_size=32)
    losses = {}
    for num_devices in (1, 8):
        mesh = devices.make_mesh(num_devices)
        state = train.init_state(jax.random.key(0), MODEL, (8, 8, 1), config, 64)
        arguments = (state, digits.images, digits.labels, KEY, {"sep": np.float32(30.0)}, np.int32(1))
        *arguments, _ = devices.replicate(arguments, mesh)
        stops = [devices.replicate(np.int32(stop), mesh) for stop in (1, 2, 3, 4, 5, 6)]
        run_steps = train.make_run_steps(MODEL, config, 64, mesh).lower(*arguments, stops[0]).compile()
        losses[num_devices] = []
        # Two steps an epoch: the permutation and every draw are used.
        for stop in stops:
            state, sums, _ = run_steps(*arguments, stop)
            arguments[0] = state
            losses[num_devices].append(float(sums["loss"]))
    np.testing.assert_allclose(losses[8], losses[1], rtol=1e-5)
    assert losses[8][0] != losses[8][-1]
    assert all(len(leaf.sharding.device_set) == 8 for leaf in jax.tree.leaves(state))
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
    # What crosses between devices has the size of parameters and statistics, never that of images or activations.
    text = run_steps.as_text()
    crossing = COLLECTIVE.findall(text)
    assert len(crossing) > 5
    assert {kind for _, kind, _ in crossing} == {"all-reduce"}
    largest = max(leaf.size for leaf in jax.tree.leaves(state.params))
    sizes = [
        int(np.prod([int(length) for length in shape.split(",") if length]))
        for shapes, _, _ in crossing
        for shape in re.findall(r"f32\[([\d,]*)\]", shapes)
    ]
    assert max(sizes) <= largest
    # And no device computes on the whole batch of 32.
    assert re.search(r"f32\[4,8,8,4\]", text)
    assert not re.search(r"\[32,8,8,\d+\]", text)


@pytest.mark.slow
def test_resumed_on_other_devices_goes_on_with_the_same_numbers(digits: data.Dataset, tmp_path: pathlib.Path) -> None:
    class Killed(Exception):
        pass

    whole, state = curve(digits, STANDARD, 1)
    described = train.describe(KEY, STANDARD, MODEL, digits)
    records: list[dict] = []

    def killed_at_step_6(record: dict) -> None:
        records.append(record)
        if record["step"] == 6:
            raise Killed

    settings = {"log_every": 1, "on_log": killed_at_step_6, "mesh": devices.make_mesh(8)}
    with train.Checkpoints(tmp_path, described) as checkpoints, pytest.raises(Killed):
        train.fit(KEY, MODEL, digits, STANDARD, checkpoints=checkpoints, **settings)
    with train.Checkpoints(tmp_path, described) as checkpoints:
        rest, resumed = curve(digits, STANDARD, 1, checkpoints=checkpoints)
    assert len(rest) == 8
    np.testing.assert_allclose([*(record["loss"] for record in records[:4]), *rest], whole, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), resumed.params, state.params)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n if n == "sep" else pytest.param(n, marks=pytest.mark.long) for n in CONFIGS])
def test_loss_curve_is_that_of_one_device_on_every_number(name: str, digits: data.Dataset) -> None:
    one, _ = curve(digits, CONFIGS[name], 1)
    assert len(one) == 12
    for num_devices in (2, 4, 8):
        np.testing.assert_allclose(curve(digits, CONFIGS[name], num_devices)[0], one, rtol=1e-5)


@pytest.mark.slow
def test_streamed_run_equals_the_one_in_memory_bit_for_bit(digits: data.Dataset) -> None:
    whole, state = curve(digits, STANDARD, 1)
    streamed, same = curve(digits, STANDARD, 1, stream=True)
    np.testing.assert_array_equal(streamed, whole)
    assert_equal(same, state)


@pytest.mark.slow
def test_two_processes_train_resume_and_evaluate_as_one_device_does(tmp_path: pathlib.Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, one_of_two.__file__, str(port)]
    processes = [
        subprocess.Popen([*command, str(number), str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    expected = one_of_two.measure(None, tmp_path / "one")
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    found = [json.loads((tmp_path / f"found{number}.json").read_text()) for number in range(2)]
    assert len(expected["losses"]) == 8
    for number in range(2):
        assert found[number].pop("wrote") == (number == 0)
        assert found[number].pop("num_devices") == 4
        assert found[number].pop("refused") == "only process 0 knows"
    assert found[0] == found[1]
    streamed = found[0].pop("streamed")
    for measured in (found[0], streamed):
        np.testing.assert_allclose(measured["losses"], expected["losses"], rtol=1e-5)
        assert tuple(measured["accuracies"]) == expected["accuracies"]
        rest = {name: value for name, value in measured.items() if name not in ("losses", "accuracies")}
        assert rest == pytest.approx({name: expected[name] for name in rest}, rel=1e-3)
    assert streamed["losses"] == found[0]["losses"]


def test_batch_that_the_devices_cannot_share_is_an_input_error(digits: data.Dataset) -> None:
    message = r"batch_size must be a multiple of the 8 devices, got 20; use 16 or 24, or num_devices=5"
    with pytest.raises(InputError, match=message):
        curve(digits, dataclasses.replace(MAT, batch_size=20), 8)
    with pytest.raises(InputError, match="got 3; use 8, or num_devices=3"):
        devices.check_batch_size(3, devices.make_mesh(8))
    with pytest.raises(InputError, match="num_devices must be at most the 8 cpu devices, got 9"):
        devices.make_mesh(9)
    assert devices.make_mesh(1) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("127.0.0.1:1234", 2, 2), r"process_id must be in 0 \.\. 1"),
        (("localhost", 2, 0), "coordinator_address must be host:port of process 0, got 'localhost'"),
        (("127.0.0.1:1234", 0, 0), "num_processes must be an integer >= 1, got 0"),
    ],
)
def test_processes_that_do_not_fit_are_input_errors(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        devices.connect(*arguments)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_coordinator_listens_at_the_address_that_was_given_alone() -> None:
    program = """
import socket
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
from jsep import devices
devices.connect(f"127.0.0.1:{port}", 1, 0)
for name in ("tcp", "tcp6"):
    for line in open(f"/proc/self/net/{name}").readlines()[1:]:
        address, state = line.split()[1], line.split()[3]
        if state == "0A" and int(address.split(":")[1], 16) == port:
            print(address.split(":")[0][-8:])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)
    # 127.0.0.1, also as the last part of an IPv6 address; of all interfaces it is 00000000.
    assert set(done.stdout.split()) == {"0100007F"}, done.stderr
