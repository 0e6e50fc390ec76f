"""Figure 3: TRADES with several weights, and the explanation-loss landscape of each."""

import dataclasses
from pathlib import Path
from typing import Any

from jsep.checks import InputError, check_positive
from jsep.study.config import StudyConfig
from jsep.study.flat_config import setting
from jsep.study.landscape import analyse
from jsep.study.landscape_config import LandscapeConfig
from jsep.study.run import OnProgress, run
from jsep.study.run_directory import RunDirectory
from jsep.study.trained import TrainedStudy, load_trained


@dataclasses.dataclass(frozen=True)
class TradesLandscapeConfig(StudyConfig, LandscapeConfig):
    """The training of a study, once for every weight of TRADES, and the landscape analysis of its models."""

    methods: tuple[str, ...] = setting(("trades",), "the method of the sweep")
    trades_betas: tuple[str, ...] = setting(("0", "1", "6"), "weights of the divergence, one study each")
    models: tuple[str, ...] = setting(("sweep",), "not used: the sweep's own models are analysed")

    def __post_init__(self) -> None:
        StudyConfig.__post_init__(self)
        LandscapeConfig.__post_init__(self)
        if self.methods != ("trades",):
            raise InputError(f"the sweep trains trades alone, got methods {', '.join(self.methods)}")
        if len(self.trades_betas) < 2 or len(set(self.trades_betas)) != len(self.trades_betas):
            raise InputError("trades_betas must be two or more different weights, such as 0,1,6")
        for text in self.trades_betas:
            try:
                check_positive("trades_betas", float(text), allow_zero=True)
            except ValueError as error:
                raise InputError(f"trades_betas must be numbers >= 0, got {text!r}") from error

    def study_config(self, trades_beta: float) -> StudyConfig:
        """The study of one weight."""
        names = [field.name for field in dataclasses.fields(StudyConfig)]
        return StudyConfig(**{**{name: getattr(self, name) for name in names}, "trades_beta": trades_beta})


def run_trades_landscape(
    config: TradesLandscapeConfig,
    run_dir: str | Path,
    *,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Trains TRADES with every weight on the same pairs in subdirectories of `run_dir`, and analyses the models.

    Raises: InputError for bad input, before anything is written; train.TrainingDiverged with its step and term.
    """
    progress = on_progress or (lambda what, record: None)
    directory = RunDirectory(run_dir, config, overwrite=overwrite)
    studies: list[tuple[TrainedStudy, Path]] = []
    for text in config.trades_betas:
        progress(f"trades_beta {text}", {"unit": len(studies), "num_units": len(config.trades_betas), "of": "weight"})
        study_config = config.study_config(float(text))
        if studies:
            study_config = dataclasses.replace(study_config, pairs_file=str(studies[0][1] / "pairs.json"))
        own = directory.path / f"trades_beta_{text}"
        run(study_config, own, on_progress=progress)
        studies.append((load_trained(own), own))
    return analyse(config, [study for study, _ in studies], directory, progress)
