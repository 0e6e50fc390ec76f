"""Keeps the models of finished studies with the code: float16 weights, configuration, result and pairs of each.

python experiments/keep_models.py results/definitive_cifar10/models runs/definitive_cifar10/*
"""

import json
from pathlib import Path

import command_line

from jsep import study
from jsep.checks import InputError


def keep(*paths: str) -> None:
    """Copies each run of `paths[1:]` that has finished, and is not there yet, to a directory of its name in
    `paths[0]`."""
    if len(paths) < 2:
        raise InputError("expected where to keep the models, then one or more run directories")
    for run_dir in map(Path, paths[1:]):
        target = Path(paths[0]) / run_dir.name
        result = run_dir / "result.json"
        if target.exists() or not result.exists() or not json.loads(result.read_text()).get("complete"):
            continue
        print(study.keep_study(run_dir, target))


if __name__ == "__main__":
    command_line.main(keep, takes_arguments=True)
