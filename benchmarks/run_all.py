"""Runs every benchmark, each in a process of its own, and writes the tables: what `make bench` does.

python benchmarks/run_all.py --minutes 60 --beside "nothing"

On a CPU the sizes suit two cores and the given time; on a GPU they are those of the table. With less time there are
fewer rounds of the same work. A script that fails does not stop the others.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

FOLDER = pathlib.Path(__file__).parent

# (script, its share of the time, arguments on a processor, arguments on a GPU)
RUNS: tuple[tuple[str, float, str, str], ...] = (
    (
        "training_step",
        0.02,
        "--model convnet --batch 128 --steps 5",
        "--model convnet --batch 128 --steps 20 --precision bfloat16",
    ),
    (
        "training_step",
        0.04,
        "--model convnet --batch 128 --steps 5 --sep",
        "--model convnet --batch 128 --steps 20 --precision bfloat16 --sep",
    ),
    (
        "training_step",
        0.13,
        "--model resnet18 --batch 128",
        "--model resnet18 --batch 128 --steps 5 --precision bfloat16",
    ),
    (
        "training_step",
        0.25,
        "--model resnet18 --batch 128 --sep",
        "--model resnet18 --batch 128 --steps 5 --precision bfloat16 --sep",
    ),
    ("explanation_attack", 0.13, "--pairs 150 --steps 30 --chunk 15", "--pairs 150 --steps 1500 --chunk 150"),
    ("explanations", 0.04, "--images 64", "--images 64 --chunks 512 2048 8192"),
    ("prediction_attacks", 0.11, "--images 500 --chunk 100", "--images 500 --chunk 500"),
    ("own_models", 0.03, "--images 32", "--images 512"),
    ("input_hessian", 0.03, "--images 64 --chunk 16", "--images 64 --chunk 64"),
    ("start_up", 0.035, "", ""),
    ("scaling", 0.05, "--repeats 2", "--repeats 3"),
    ("simulated_devices", 0.025, "--batch 128", ""),
    ("landscape_cost", 0.025, "--images 2", "--images 150 --chunk 410"),
    ("layers", 0.01, "--batch 64", "--batch 512"),
    ("step_costs", 0.025, "", ""),
)

UNTIMED = ("start_up", "scaling", "layers", "step_costs")
"""The scripts that run all their rounds, whatever the time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="time for all; on two cores 60 are enough")
    parser.add_argument("--beside", default="nothing", help="what else runs on the machine")
    parser.add_argument("--only", nargs="*", default=[], help="scripts to run; default: all")
    settings = parser.parse_args()
    on_gpu = (
        subprocess.run(
            [sys.executable, "-c", "import jax; raise SystemExit(jax.default_backend() != 'cpu')"],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        ).returncode
        != 0
    )
    paths = [str(FOLDER.parent), str(FOLDER.parent / "experiments"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    failed = []
    for script, share, on_cpu_arguments, on_gpu_arguments in RUNS:
        if (settings.only and script not in settings.only) or (on_gpu and script == "simulated_devices"):
            continue
        arguments = (on_gpu_arguments if on_gpu else on_cpu_arguments).split()
        if script not in UNTIMED:
            # The other half of the share is for compilation and warm-up calls.
            arguments += ["--budget", f"{settings.minutes * 60 * share / 2:.0f}"]
        print(f"{time.strftime('%H:%M:%S')} {script} {' '.join(arguments)}", file=sys.stderr, flush=True)
        command = [sys.executable, str(FOLDER / f"{script}.py"), *arguments, "--beside", settings.beside]
        if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode:
            failed.append(" ".join(command[1:]))
    subprocess.run([sys.executable, str(FOLDER / "render.py")], env=environment, check=True)
    if failed:
        raise SystemExit("failed: " + "; ".join(failed))


if __name__ == "__main__":
    main()
