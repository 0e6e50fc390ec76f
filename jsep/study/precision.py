"""The effect of bfloat16 training steps on the results of a study: the same study in both precisions."""

import dataclasses
from collections.abc import Collection

from jsep import train
from jsep.study import training
from jsep.study.config import StudyConfig
from jsep.study.runner import Run, StudyKind
from jsep.study.work import Work


@dataclasses.dataclass(frozen=True)
class PrecisionConfig(StudyConfig):
    """A study that is run in every precision; its own `precision` is ignored."""

    def studies(self) -> dict[str, StudyConfig]:
        """The study in each precision."""
        return {
            precision: self.as_a(StudyConfig, precision=precision, experiment=f"{self.experiment}_{precision}")
            for precision in train.PRECISIONS
        }


def _prepare(config: PrecisionConfig) -> None:
    training.prepare(config)


def measure(config: PrecisionConfig, prepared: None, run: Run) -> None:
    """Runs the study in each of `train.PRECISIONS` on the same pairs, in subdirectories. Each row has its "precision",
    the only setting in which the rows of one method and seed differ."""
    found = training.repeat(run, config.studies())
    # The values of every pair stay in the result of each subdirectory.
    run.result["rows"] = [
        {"precision": precision} | {name: row[name] for name in row if name != "per_pair"}
        for precision, result in found.items()
        for row in result["rows"]
    ]


def _work(config: PrecisionConfig, done: Collection[tuple[str, int]]) -> Work:
    return Work(training.tasks_of_repeats(config.studies()), config)


PRECISION = StudyKind("precision", PrecisionConfig, _prepare, measure, work=_work)
"""A study in float32 and in bfloat16."""
