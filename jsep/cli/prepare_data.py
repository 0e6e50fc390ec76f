"""Writes a data set to one .npz file, which loads fast with NumPy alone, for machines without TFDS or a network.

python experiments/prepare_data.py --dataset=cifar10 --data_dir=DIR --out=cifar10.npz
Then: --dataset=cifar10.npz in any experiment.
"""

import os
import sys

from absl import flags

from jsep import data
from jsep.checks import InputError, check_choice
from jsep.cli import command_line
from jsep.study.progress import StepCounter


def _main() -> None:
    """Reads the data set and writes the file."""
    name, out = flags.FLAGS.dataset, flags.FLAGS.out or f"{flags.FLAGS.dataset}.npz"
    check_choice("data set", name, data.DATASETS)
    if os.path.exists(out) and not flags.FLAGS.overwrite:
        raise InputError(f"{out} exists; replace it with --overwrite, or choose another name with --out")
    print(f"opening {name}", file=sys.stderr, flush=True)
    splits = {
        split: data.load(name, data_dir=flags.FLAGS.data_dir, split=split, stream=True)
        for split in ("train", "validation", "test")
    }
    progress = command_line.TerminalProgress()
    counter = StepCounter(progress)
    counter.begin(f"reading {name}", sum(map(len, splits.values())))
    try:
        data.save_npz(out, splits, on_progress=counter)
    finally:
        progress.close()
    counts = ", ".join(f"{len(dataset):,} {split}" for split, dataset in splits.items())
    print(f"{out}: {name}, {counts} images, {os.path.getsize(out) / 2**20:.1f} MiB")


def start() -> None:
    """Defines the flags and runs the program."""
    flags.DEFINE_string("dataset", "cifar10", f"data set: {', '.join(data.DATASETS)}")
    flags.DEFINE_string("data_dir", None, "TFDS data directory; default: TFDS's own; downloaded there if absent")
    flags.DEFINE_string("out", None, "the .npz file to write; default: <dataset>.npz")
    flags.DEFINE_bool("overwrite", False, "replace the file where it exists")
    command_line.main(_main, name="prepare_data")
