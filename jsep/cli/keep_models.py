"""Copies finished studies to a directory kept with the code: float16 weights, configuration, result and pairs.

python experiments/keep_models.py results/definitive_cifar10/models runs/definitive_cifar10/*
"""

from pathlib import Path

from jsep import record, study
from jsep.checks import InputError
from jsep.cli import command_line


def _keep(*paths: str) -> None:
    """Copies each finished run of `paths[1:]` to `paths[0]/<its name>`, unless it has been copied
    before."""
    if len(paths) < 2:
        raise InputError("expected where to keep the models, then one or more run directories")
    for run_dir in map(Path, paths[1:]):
        target = Path(paths[0]) / run_dir.name
        if target.exists() or not (run_dir / "result.json").exists() or not record.read_json(run_dir).get("complete"):
            continue
        print(study.keep_study(run_dir, target))


def start() -> None:
    """Runs the program."""
    command_line.main(_keep, takes_arguments=True, name="keep_models")
