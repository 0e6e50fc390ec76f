"""The effect of bfloat16 training steps on the results of a study: the same study in both precisions."""

import dataclasses
from collections.abc import Collection

from jsep import train
from jsep.study import training
from jsep.study.config import StudyConfig
from jsep.study.runner import Run, StudyKind
from jsep.study.work import Task, Work, study_tasks


@dataclasses.dataclass(frozen=True)
class PrecisionConfig(StudyConfig):
    """A study that is run in every precision; its own `precision` is ignored."""

    def study_config(self, precision: str) -> StudyConfig:
        """The study in one precision."""
        return self.as_a(StudyConfig, precision=precision, experiment=f"{self.experiment}_{precision}")


def _prepare(config: PrecisionConfig) -> None:
    training.prepare(config)


def measure(config: PrecisionConfig, prepared: None, run: Run) -> None:
    """Runs the study in each of `train.PRECISIONS` on the same pairs, in subdirectories. Each row has its "precision",
    the only setting in which the rows of one method and seed differ."""
    first = train.PRECISIONS[0]
    for place, precision in enumerate(train.PRECISIONS):
        run.announce(place, len(train.PRECISIONS), "study", f"precision {precision}")
        own = config.study_config(precision)
        if precision != first:
            own = own.replace(pairs_file=str(run.directory.path / first / "pairs.json"))
        found = run.part(training.STUDY, own, precision)
        if any(row["precision"] == precision for row in run.rows):
            continue
        # The values of every pair stay in the result of each subdirectory.
        for row in found["rows"]:
            run.rows.append({"precision": precision} | {name: row[name] for name in row if name != "per_pair"})
        run.save()


def _work(config: PrecisionConfig, done: Collection[tuple[str, int]]) -> Work:
    tasks: list[Task] = []
    for precision in train.PRECISIONS:
        study = config.study_config(precision)
        if tasks:
            study = study.replace(pairs_file="of the first")
        tasks += [Task(f"{precision}: {task.what}", task.flops) for task in study_tasks(study)]
    return Work(tasks, config)


PRECISION = StudyKind("precision", PrecisionConfig, _prepare, measure, work=_work)
"""A study in float32 and in bfloat16."""
