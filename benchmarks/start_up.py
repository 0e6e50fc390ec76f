"""The time to the first line of progress of the demo with a warm compilation cache, and of `import jsep`.

python benchmarks/start_up.py

Each time is measured in a new process. The demo is stopped after its first training record, by when the training step
is compiled; its run directory and its cache are temporary.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import harness  # before JAX

LINE, RECORD = "first line", "first training record"
IMPORTS = {
    "import jax": "import jax",
    "import jsep": "import jsep",
    "import jsep and its parts": "from jsep import attack, data, evaluate, explain, landscape, models, train",
}
"""name -> statement; jsep loads its parts on first use, so the import and the first use are both timed."""


def seconds_of(statement: str) -> float:
    """Seconds from start to end of a process that runs only the statement."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, cwd=harness.ROOT)
    return time.perf_counter() - started


def seconds_of_demo(cache: str) -> dict[str, float]:
    """Seconds from the start of the demo to its first line of progress, and to its first record of a loss."""
    with tempfile.TemporaryDirectory() as run_dir:
        command = [
            sys.executable,
            "experiments/digits_sep.py",
            "--flagfile=experiments/flags/digits_sep.flags",
            f"--run_dir={run_dir}",
            "--overwrite",
            f"--compilation_cache={cache}",
        ]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        started, seen, text = time.perf_counter(), {}, b""
        with subprocess.Popen(command, cwd=harness.ROOT, stderr=subprocess.PIPE, env=environment) as process:
            assert process.stderr is not None
            while RECORD not in seen:
                text += (piece := os.read(process.stderr.fileno(), 4096))
                if not piece:
                    raise RuntimeError(f"the demo ended without a record: {text.decode()[-500:]}")
                if b"\n" in text:
                    seen.setdefault(LINE, time.perf_counter() - started)
                if b"loss " in text:
                    seen[RECORD] = time.perf_counter() - started
            process.kill()
    return seen


def main() -> None:
    settings = harness.parser(__doc__).parse_args()
    imports: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(settings.repeats + 1):
        for name, seconds in imports.items():
            seconds.append(seconds_of(IMPORTS[name]))
    with tempfile.TemporaryDirectory() as cache:
        cold = seconds_of_demo(cache)
        warm = [seconds_of_demo(cache) for _ in range(min(settings.repeats, 5))]
        size = sum(path.stat().st_size for path in pathlib.Path(cache).rglob("*") if path.is_file())

    def timing(first: float, seconds: list[float]) -> dict[str, Any]:
        return harness.Timing(first, tuple(seconds), None).record()

    # The first import of each module reads its files from disk.
    found = {name: timing(seconds[0], seconds[1:]) for name, seconds in imports.items()}
    found |= {f"demo, {name}": timing(cold[name], [run[name] for run in warm]) for name in (LINE, RECORD)}
    record = {
        "work": "fresh processes; the first call of the demo has an empty compilation cache",
        "times_as_long_as_import_jax": {
            name: harness.significant(found[name]["median_seconds"] / found["import jax"]["median_seconds"], 3)
            for name in IMPORTS
            if name != "import jax"
        },
        "seconds_to_first_line": found[f"demo, {LINE}"]["median_seconds"],
        "seconds_to_first_record": found[f"demo, {RECORD}"]["median_seconds"],
        "cache_mib": round(size / 2**20, 1),
        "contenders": found,
    }
    harness.save(settings, "start_up", record)


if __name__ == "__main__":
    main()
