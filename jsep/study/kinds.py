"""The kinds of studies, and the function that runs any of them."""

from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from jsep.checks import InputError
from jsep.study.attack_strength import ATTACK_STRENGTH
from jsep.study.card import CARD
from jsep.study.configuration import Configuration
from jsep.study.correlation import CORRELATION
from jsep.study.cross_method import CROSS_METHOD
from jsep.study.evaluation import EVALUATION
from jsep.study.explanation_attacks import EXPLANATION_ATTACKS
from jsep.study.explanation_methods import EXPLANATION_METHODS
from jsep.study.landscape import LANDSCAPE
from jsep.study.methods_table import METHODS_TABLE
from jsep.study.precision import PRECISION
from jsep.study.progress import OnProgress
from jsep.study.runner import StudyKind, execute, table_and_findings
from jsep.study.selection import SELECTION
from jsep.study.trades_landscape import TRADES_LANDSCAPE
from jsep.study.training import STUDY
from jsep.study.weight_sweep import WEIGHT_SWEEP

STUDIES: dict[str, StudyKind[Any, Any]] = {
    "study": STUDY,
    "evaluation": EVALUATION,
    "landscape": LANDSCAPE,
    "trades_landscape": TRADES_LANDSCAPE,
    "cross_method": CROSS_METHOD,
    "methods_table": METHODS_TABLE,
    "selection": SELECTION,
    "precision": PRECISION,
    "attack_strength": ATTACK_STRENGTH,
    "explanation_attacks": EXPLANATION_ATTACKS,
    "explanation_methods": EXPLANATION_METHODS,
    "sep_weight_sweep": WEIGHT_SWEEP,
    "correlation": CORRELATION,
    "card": CARD,
}
"""name -> kind of study; to add one: `study.STUDIES["mine"] = study.StudyKind(...)`."""


def kind_of(config: Configuration) -> StudyKind[Any, Any]:
    """The kind of study of a configuration. Raises: InputError where none is registered for its class."""
    for kind in STUDIES.values():
        if kind.config is type(config):
            return kind
    raise InputError(f"no study has configurations of the class {type(config).__name__}; register one in study.STUDIES")


def run(
    config: Configuration,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """Runs the study of a configuration in `run_dir` and returns the contents of result.json.

    With `resume` an interrupted run continues: finished parts are not repeated, and training restarts from its newest
    checkpoint. With a `mesh` from `devices.make_mesh` a study of `StudyConfig` distributes its work over the devices;
    all processes call this function, but only process 0 reads and writes `run_dir`.

    Raises: InputError for invalid input, before anything is written; train.TrainingDiverged with the step and term.
    """
    kind = kind_of(config)
    return execute(kind, config, run_dir, resume=resume, overwrite=overwrite, on_progress=on_progress, mesh=mesh)


def describe(config: Configuration, result: dict[str, Any], run_dir: str | Path) -> str:
    """The text that a script prints of a result: its brief table, its findings, and the file to open next."""
    kind = kind_of(config)
    table = (kind.table or table_and_findings)(result).strip()
    word = "page" if kind.shown.endswith(".html") else "result"
    return f"{table}\n\n{word}: {Path(run_dir) / kind.shown}"
