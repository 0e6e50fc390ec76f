"""What bfloat16 training steps change in the numbers of a study: the same study in both precisions."""

import dataclasses
from pathlib import Path
from typing import Any

from jsep import record, train
from jsep.study import environment
from jsep.study.config import StudyConfig
from jsep.study.run import OnProgress, run
from jsep.study.run_directory import RunDirectory


def run_precision(
    config: StudyConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Runs the study once for each of `train.PRECISIONS`, on the same pairs, in subdirectories of `run_dir`.

    `config.precision` is not used. Returns what result.json holds: the rows of both studies, each with its "precision",
    so that a float32 row and a bfloat16 row of one method and seed differ in nothing else.
    Raises: InputError for bad input, before anything is written; train.TrainingDiverged with its step and term.
    """
    progress = on_progress or (lambda what, record: None)
    directory = RunDirectory(run_dir, config, resume=resume, overwrite=overwrite)
    result: dict[str, Any] = {
        "format": record.FORMAT,
        "kind": "precision",
        "experiment": config.experiment,
        "config": config.as_dict(),
        "environment": environment.describe(),
        "rows": [],
    }
    seconds = 0.0
    for precision in train.PRECISIONS:
        progress(f"precision {precision}", {})
        own = dataclasses.replace(config, precision=precision, experiment=f"{config.experiment}_{precision}")
        if precision != train.PRECISIONS[0]:
            pairs = directory.path / train.PRECISIONS[0] / "pairs.json"
            own = dataclasses.replace(own, pairs_file=str(pairs))
        found = run(own, directory.path / precision, resume=resume, on_progress=progress)
        seconds += found["environment"]["seconds"]
        # The values of every pair stay in the study's own result.
        result["rows"] += [
            {"precision": precision, **{name: value for name, value in row.items() if name != "per_pair"}}
            for row in found["rows"]
        ]
    result["environment"]["seconds"] = round(seconds, 1)
    directory.write_result(result)
    return result
