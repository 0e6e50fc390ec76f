"""Figure 3: TRADES with several weights, and the explanation-loss landscape of each."""

import dataclasses
from collections.abc import Collection

from jsep.checks import MAX_WEIGHT, InputError, check_positive
from jsep.study import landscape, training
from jsep.study.config import StudyConfig
from jsep.study.configuration import group, setting
from jsep.study.costs import ModelCosts
from jsep.study.landscape_config import AnalysisConfig
from jsep.study.options import number
from jsep.study.programs import Program, study_programs
from jsep.study.runner import Run, StudyKind
from jsep.study.trained import load_all_trained
from jsep.study.work import DataSizes, Work


@dataclasses.dataclass(frozen=True)
class TradesLandscapeConfig(StudyConfig):
    """The training of a study, repeated for every weight of TRADES, and the landscape analysis of its models."""

    DROPPED = frozenset({"models"})

    methods: tuple[str, ...] = setting(("trades",), "the method of the sweep")
    trades_betas: tuple[str, ...] = setting(("0", "1", "6"), "weights of the divergence, one study each")
    analysis: AnalysisConfig = group(AnalysisConfig)

    def check(self) -> None:
        """Raises: InputError for methods other than TRADES, or invalid weights."""
        super().check()
        self.analysis.check()
        if self.methods != ("trades",):
            raise InputError(f"the sweep trains trades alone, got methods {', '.join(self.methods)}")
        if len(self.trades_betas) < 2 or len(set(self.trades_betas)) != len(self.trades_betas):
            raise InputError("trades_betas must be two or more different weights, such as 0,1,6")
        for text in self.trades_betas:
            try:
                check_positive("trades_betas", number(text), allow_zero=True, maximum=MAX_WEIGHT)
            except ValueError as error:
                raise InputError(f"trades_betas must be numbers >= 0, got {text!r}") from error

    def study_config(self, trades_beta: float) -> StudyConfig:
        """The study with one weight of TRADES."""
        return self.as_a(StudyConfig, trades_beta=trades_beta)

    def studies(self) -> dict[str, StudyConfig]:
        """The study of each weight, by its subdirectory."""
        return {f"trades_beta_{text}": self.study_config(float(text)) for text in self.trades_betas}


def _prepare(config: TradesLandscapeConfig) -> None:
    training.prepare(config.study_config(float(config.trades_betas[0])))


def measure(config: TradesLandscapeConfig, prepared: None, run: Run) -> None:
    """Trains with every weight on the same pairs, in subdirectories, and analyses the models as a landscape study."""
    parts = training.repeat(run, config.studies())
    studies = load_all_trained([run.directory.path / name for name in parts])
    landscape.measure(config.analysis, studies, run)


def _work(config: TradesLandscapeConfig, done: Collection[tuple[str, int]]) -> Work:
    tasks = training.tasks_of_repeats(config.studies(), done)
    num_models = len(config.trades_betas) * config.num_seeds
    return Work([*tasks, landscape.task_of(config.analysis, config, num_models, "the sweep")], config)


def _programs(
    config: TradesLandscapeConfig, study: StudyConfig, images: DataSizes, costs: ModelCosts, platform: str
) -> list[Program]:
    of_study = study_programs(config, study, images, costs, platform)
    return [*of_study, *landscape.programs_of(config.analysis, config, images, costs)]


TRADES_LANDSCAPE = StudyKind("landscape", TradesLandscapeConfig, _prepare, measure, work=_work, programs=_programs)
"""TRADES with several weights, and the landscape of each."""
