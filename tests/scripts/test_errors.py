"""What a script says to bad input, to an interrupt and to --help: one line, exit code 2 or 130, nothing lost."""

import signal
import subprocess
import sys
import time

import pytest
from script_runs import ENVIRONMENT, ROOT, SMOKE, call, call_alone, command


def test_help_lists_every_flag_of_the_script():
    done = call_alone("digits_sep", "--help")
    for flag in ("--epochs", "--sep_weight_pos", "--[no]resume", "--run_dir", "--explanation_epsilon"):
        assert flag in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=cifar"], "unknown data set 'cifar'"),
        (["--model=resnet"], "expected one of convnet, resnet18"),
        (["--methods=mat,sep"], "unknown method 'sep'"),
        (["--epsilon=8"], "did you mean 8/255"),
        (["--epsilon=eight"], "expected a number or a fraction such as 8/255"),
        (["--epochs=0"], "epochs must be an integer >= 1"),
        (["--epoch=3"], "epochs"),
        (["--flagfile=nowhere.flags"], "nowhere.flags"),
        (["epochs=3"], "unexpected argument 'epochs=3'"),
        (["--dataset=mnist", "--data_dir=/nowhere"], "expected an existing TFDS directory, got '/nowhere'"),
        (["--dataset=missing.npz"], "no such file"),
        (["--resume", "--overwrite"], "exclude each other"),
        (["--num_processes=2"], "several processes need coordinator_address and num_processes > 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path):
    done = call("digits_sep", SMOKE, f"--run_dir={tmp_path / 'run'}", *arguments)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "expected a run directory with a readable result.json, got 'nowhere'"),
        (
            ["results/digits_sep", "results/cifar10_sep_quick"],
            "one data set, got digits in results/digits_sep, cifar10",
        ),
    ],
)
def test_report_of_bad_input_is_one_line_and_exit_code_2(arguments, message):
    done = call("report", *arguments)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        pytest.param(signal.SIGINT, 130, "interrupted", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, "ended by SIGTERM", marks=pytest.mark.long),
    ],
)
def test_interrupt_leaves_a_run_that_resumes(number, code, said, tmp_path):
    run_dir = tmp_path / "run"
    arguments = [SMOKE, f"--run_dir={run_dir}", "--epochs=400"]
    process = subprocess.Popen(
        command("digits_sep", *arguments), cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    checkpoints = run_dir / "checkpoints" / "mat_seed0"
    deadline = time.monotonic() + 300
    while not list(checkpoints.glob("[0-9]*")):
        assert process.poll() is None, "ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    if number == signal.SIGTERM:
        second = call("digits_sep", *arguments, "--resume")
        assert second.returncode == 2
        assert "error: another process works in run_dir" in second.stderr.strip().splitlines()[-1]
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code
    last = errors.strip().splitlines()[-1]
    assert last.startswith(f"error: {said}; continue with: python")
    assert last.endswith("--resume")
    assert "Traceback" not in errors
    assert list(checkpoints.glob("[0-9]*"))
    assert not list(run_dir.rglob("*tmp*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_ends_a_program_at_once_without_a_traceback(number):
    program = f"""
import os, signal
from jsep import interrupts
interrupts.install()
with interrupts.deferred():
    os.kill(os.getpid(), {number:d})
    print("goes on", flush=True)
    os.kill(os.getpid(), {number:d})
    print("never")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "goes on\n", "")
