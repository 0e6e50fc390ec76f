"""A short visit to an accelerator: do the full recipes run there, how fast is jsep, and a recipe's first epochs.

python benchmarks/visit.py --minutes 10 --data_dir DIR --out visit

1. One batch of every full recipe that trains (experiments/paper.json), on random images of its shape, through the whole
   job: training with and without the SEP term, accuracies, attack on explanations, page. It compiles, fits, and ends.
2. benchmarks/run_all.py with what matters most: training steps, attacks on explanations and on predictions, beside
   their peers (the extra `oracle`).
3. The CIFAR-10 ResNet-18 recipe for the rest of the time; stopped, it goes on from its checkpoint at the next visit.
A part that is out of time is left out and named. OUT/visit.json says what ran, for how long, on which device, and what
failed; its log lies beside it.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from jsep import cli
from jsep.study import recipes

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHAPES = {
    "mnist": (28, 1, 10), "fashion_mnist": (28, 1, 10), "cifar10": (32, 3, 10), "cifar100": (32, 3, 100),
    "tiny_imagenet": (64, 3, 200), "imagenette": (128, 3, 10),
}  # fmt: skip
"""data set -> side, channels and classes of its images."""

SHORT = (
    "--num_seeds=1", "--epochs=1", "--feature_epochs=1", "--num_clusters=2", "--num_pairs=4", "--test_num_steps=2",
    "--explanation_num_steps=2", "--overwrite",
)  # fmt: skip
"""The whole job with as little of everything as there can be, but batches of their own size."""

PRIORITY = ("training_step", "explanation_attack", "prediction_attacks")
SHARES = (0.35, 0.7)
"""The shares of the time after which the recipes, and then the benchmarks, have to end."""

GRACE = 40
"""Seconds that a stopped run has to write its checkpoint."""


def flag(flagfile: pathlib.Path, name: str) -> str | None:
    """The last value of a flag in a flagfile."""
    found = re.findall(rf"^--{name}=(.*)$", flagfile.read_text(), re.MULTILINE)
    return found[-1] if found else None


def random_images(folder: pathlib.Path, dataset: str, batch: int) -> pathlib.Path:
    """An .npz file of random images with the shape and classes of a data set: a batch to train, a few for the rest."""
    path = folder / f"{dataset}_{batch}.npz"
    if not path.exists():
        side, channels, classes = SHAPES[dataset]
        rng = np.random.default_rng(0)
        arrays: dict[str, Any] = {}
        for split, count in (("train", max(batch, classes)), ("validation", 16), ("test", max(64, classes))):
            arrays[f"x_{split}"] = rng.integers(0, 256, (count, side, side, channels), np.uint8)
            arrays[f"y_{split}"] = np.arange(count) % classes
        np.savez(path, **arrays)
    return path


def one_batch(recipe: recipes.Recipe, folder: pathlib.Path) -> list[str] | None:
    """The command that takes a recipe through its job on one batch; None where it needs models or trains none."""
    flagfile = ROOT / "experiments" / "flags" / f"{pathlib.Path(recipe.flagfile).stem}.flags"
    script = recipes.header(flagfile)["script"]
    if cli.SCRIPTS[script].kind != "StudyConfig" or "start_from" in recipe.flags:
        return None
    dataset = flag(flagfile, "dataset") or cli.SCRIPTS[script].defaults["dataset"]
    batch = int(flag(flagfile, "batch_size") or 128)
    return [
        "-m", "jsep.cli", script, f"--flagfile={flagfile}", f"--dataset={random_images(folder, dataset, batch)}",
        *SHORT, f"--run_dir={folder / recipe.name}",
    ]  # fmt: skip


class Visit:
    """What has run, in the time that there is."""

    def __init__(self, out: pathlib.Path, minutes: float) -> None:
        self.out, self.seconds, self.began = out, 60 * minutes, time.monotonic()
        self.ran: list[dict[str, Any]] = []
        out.mkdir(parents=True, exist_ok=True)
        program = "import jax; d = jax.devices()[0]; print(d.platform, d.device_kind, jax.__version__, sep='|')"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        self.device = dict(zip(("platform", "device", "jax"), done.stdout.strip().split("|"), strict=True))
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
        self.device["commit"] = commit.stdout.strip()

    def left(self, share: float = 1.0) -> float:
        """Seconds until the share of the time is used up."""
        return share * self.seconds - (time.monotonic() - self.began)

    def run(self, name: str, arguments: Sequence[str], share: float = 1.0, *, may_stop: bool = False) -> None:
        """Runs Python with the arguments while the share lasts, and writes visit.json anew.

        may_stop: whether a run that is stopped at the end of the time is none that failed.
        """
        allowed = self.left(share) - (GRACE if may_stop else 0)
        record: dict[str, Any] = {"name": name, "command": " ".join(["python", *arguments])}
        if allowed < 5:
            record["outcome"] = "no time left"
        else:
            started = time.monotonic()
            with (self.out / "visit.log").open("a") as log:
                log.write(f"\n== {name}\n")
                log.flush()
                process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=log, stderr=log)
                try:
                    code = process.wait(allowed)
                    record["outcome"] = "done" if code == 0 else f"failed, exit code {code}"
                except subprocess.TimeoutExpired:
                    record["outcome"] = "stopped" if may_stop else "out of time"
                    process.terminate()
                    try:
                        process.wait(GRACE)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()
            record["seconds"] = round(time.monotonic() - started, 1)
        self.ran.append(record)
        print(f"{name}: {record['outcome']}, {record.get('seconds', 0)} s", flush=True)
        (self.out / "visit.json").write_text(json.dumps({**self.device, "ran": self.ran}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="time for all")
    parser.add_argument("--data_dir", help="TFDS directory with CIFAR-10; without it the last part is left out")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("visit"), help="folder of what is written")
    parser.add_argument("--only", nargs="*", help="names of full recipes; default: all")
    settings = parser.parse_args()
    out = settings.out.resolve()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(out / "compiled"))
    visit = Visit(out, settings.minutes)
    print(", ".join(visit.device.values()), flush=True)
    known = recipes.read_recipes(ROOT / "experiments" / "paper.json")
    with tempfile.TemporaryDirectory() as name:
        for recipe in known.values():
            if recipe.chosen != "full" or (settings.only is not None and recipe.name not in settings.only):
                continue
            if command := one_batch(recipe, pathlib.Path(name)):
                visit.run(recipe.name, command, SHARES[0])
    minutes = visit.left(SHARES[1]) / 60
    arguments = ["benchmarks/run_all.py", "--minutes", f"{max(minutes, 0):.1f}", "--only", *PRIORITY]
    visit.run("benchmarks", arguments, SHARES[1])
    if settings.data_dir:
        arguments = ["--flagfile=cifar10_sep", f"--data_dir={settings.data_dir}", f"--run_dir={out / 'cifar10_sep'}"]
        visit.run("cifar10_sep, trained", ["-m", "jsep.cli", "cifar10_sep", *arguments, "--resume"], may_stop=True)
    if any("failed" in each["outcome"] for each in visit.ran):
        sys.exit(f"some failed: {out / 'visit.log'}")


if __name__ == "__main__":
    main()
