"""Table 3: SEP with each of several explanations in its term, every model tested with every one of them."""

import dataclasses
import time
from pathlib import Path
from typing import Any

from jsep import explain, record, report
from jsep.checks import InputError, check_choice
from jsep.study import environment
from jsep.study.config import StudyConfig, training_method
from jsep.study.cross_method import measure_cross
from jsep.study.flat_config import setting
from jsep.study.run import OnProgress, run
from jsep.study.run_directory import RunDirectory
from jsep.study.trained import TrainedStudy, load_trained


@dataclasses.dataclass(frozen=True)
class MethodsTableConfig(StudyConfig):
    """The training of a study, once for every explanation, and the explanations that test it."""

    explanations: tuple[str, ...] = setting(
        ("gradient", "gradient_x_input", "guided_backprop"),
        "explanations in the SEP term, each of which tests all models",
    )
    sep_method: str = setting("gradient_x_input", "not used: explanations says what is in the SEP term")
    sep_gradient: str = setting("directional", "not used: directional where an explanation allows it, else reverse")
    explanation_method: str = setting("gradient_x_input", "not used: every one of explanations is attacked")

    def __post_init__(self) -> None:
        if not self.explanations or len(set(self.explanations)) != len(self.explanations):
            raise InputError(f"explanations must be one or more different names, got {', '.join(self.explanations)}")
        for name in self.explanations:
            check_choice("explanation method", name, explain.METHODS)
            explain.check_differentiable(name)
        super().__post_init__()
        if not any(training_method(name).sep_sign for name in self.methods):
            raise InputError(f"methods must have a SEP term, such as sep_pos, got {', '.join(self.methods)}")

    def study_config(self, explanation: str) -> StudyConfig:
        """The study of one explanation; what has no SEP term is trained with the first one alone."""
        names = [field.name for field in dataclasses.fields(StudyConfig)]
        methods = [m for m in self.methods if training_method(m).sep_sign or explanation == self.explanations[0]]
        own = {
            "experiment": f"{self.experiment}_{explanation}",
            "methods": tuple(methods),
            "sep_method": explanation,
            "sep_gradient": "directional" if explain.METHODS[explanation].from_gradient else "reverse",
            "explanation_method": explanation,
            "explanation_attacked_method": None,
        }
        return StudyConfig(**{**{name: getattr(self, name) for name in names}, **own})


def run_methods_table(
    config: MethodsTableConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Trains with every explanation on the same pairs in subdirectories of `run_dir`, tests every model with every
    explanation, and writes result.json and cross.png as `run_cross_method` does.

    Raises: InputError for bad input, before anything is written; train.TrainingDiverged with its step and term.
    """
    progress = on_progress or (lambda what, record: None)
    directory = RunDirectory(run_dir, config, resume=resume, overwrite=overwrite)
    result: dict[str, Any] = {
        "format": record.FORMAT,
        "kind": "cross_method",
        "experiment": config.experiment,
        "config": config.as_dict(),
        "environment": environment.describe(),
    }
    studies: list[TrainedStudy] = []
    seconds = 0.0
    for place, explanation in enumerate(config.explanations):
        progress(f"training with {explanation}", {"unit": place, "num_units": len(config.explanations), "of": "study"})
        own = config.study_config(explanation)
        if studies:
            own = dataclasses.replace(own, pairs_file=str(directory.path / config.explanations[0] / "pairs.json"))
        found = run(own, directory.path / explanation, resume=resume, on_progress=progress)
        seconds += found["environment"]["seconds"]
        studies.append(load_trained(directory.path / explanation))
    started = time.perf_counter()
    result["studies"] = [study.config.as_dict() for study in studies]
    result |= measure_cross(studies, config.explanations, chunk_size=config.chunk_size, on_progress=progress)
    result["environment"]["seconds"] = round(seconds + time.perf_counter() - started, 1)
    directory.write_result(result)
    report.write(directory.path)
    return result
