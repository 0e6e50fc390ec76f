"""Table 3: models trained with SEP on each of several explanation methods, each tested with all of these methods."""

import dataclasses
from collections.abc import Collection

from jsep import explain
from jsep.checks import InputError
from jsep.study import training
from jsep.study.config import StudyConfig
from jsep.study.configuration import setting
from jsep.study.cross_method import measure_cross
from jsep.study.methods import training_method
from jsep.study.runner import Run, StudyKind
from jsep.study.trained import load_all_trained
from jsep.study.work import Task, Work, pair_flops


@dataclasses.dataclass(frozen=True)
class MethodsTableConfig(StudyConfig):
    """The training of a study, repeated for every explanation method, and the methods that test its models."""

    explanations: tuple[str, ...] = setting(
        ("gradient", "gradient_x_input", "guided_backprop"),
        "explanations in the SEP term, each of which tests all models; sep_method, sep_gradient and explanation_method "
        "follow from them",
        choices=explain.METHODS,
    )

    def check(self) -> None:
        """Raises: InputError for explanation methods that a SEP term cannot use, or no training method with one."""
        if not self.explanations or len(set(self.explanations)) != len(self.explanations):
            raise InputError(f"explanations must be one or more different names, got {', '.join(self.explanations)}")
        for name in self.explanations:
            explain.check_differentiable(name)
        super().check()
        if not any(training_method(name).sep_sign for name in self.methods):
            raise InputError(f"methods must have a SEP term, such as sep_pos, got {', '.join(self.methods)}")

    def studies(self) -> dict[str, StudyConfig]:
        """The study of each explanation method."""
        return {explanation: self.study_config(explanation) for explanation in self.explanations}

    def study_config(self, explanation: str) -> StudyConfig:
        """The study of one explanation method; only the first one also trains the methods without a SEP term."""
        methods = [m for m in self.methods if training_method(m).sep_sign or explanation == self.explanations[0]]
        return self.as_a(
            StudyConfig,
            experiment=f"{self.experiment}_{explanation}",
            methods=tuple(methods),
            sep_method=explanation,
            sep_gradient="directional" if explain.METHODS[explanation].from_gradient else "reverse",
            explanation_method=explanation,
            explanation_attacked_method=None,
        )


def _prepare(config: MethodsTableConfig) -> None:
    training.prepare(config.study_config(config.explanations[0]))


def measure(config: MethodsTableConfig, prepared: None, run: Run) -> None:
    """Trains with every explanation method on the same pairs, in subdirectories, and tests every model with every
    explanation method as a cross-method study does."""
    training.repeat(run, config.studies())
    studies = load_all_trained([run.directory.path / explanation for explanation in config.explanations])
    measure_cross(studies, config.explanations, run, chunk_size=config.chunk_size)


def _work(config: MethodsTableConfig, done: Collection[tuple[str, int]]) -> Work:
    studies = config.studies()
    tasks = training.tasks_of_repeats(studies, done)
    num_models = sum(len(study.methods) * study.num_seeds for study in studies.values())
    for explanation in config.explanations:
        what = f"attack {explanation} of all {num_models} models on {config.pairs.num_pairs} pairs"
        tasks.append(Task(what, num_models * config.pairs.num_pairs * pair_flops(config, explanation)))
    return Work(tasks, config)


METHODS_TABLE = StudyKind("cross_method", MethodsTableConfig, _prepare, measure, work=_work)
"""SEP with each of several explanation methods in its term, tested with each. Table 3."""
