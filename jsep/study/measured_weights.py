"""SEP weights measured at the start of training: one per model, stored in sep_weights.json of the run."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from jsep import devices, train
from jsep.checks import InputError
from jsep.record.manifest import read_listed, write_listed
from jsep.study.config import StudyConfig
from jsep.study.methods import training_method

SEP_WEIGHTS = "sep_weights.json"
"""The file of measured weights in a run directory."""


def train_config_of(
    config: StudyConfig,
    method: str,
    seed: int,
    num_pixels: int,
    run_dir: str | Path,
    measure: Callable[[train.TrainConfig, float], float] | None = None,
) -> train.TrainConfig:
    """The training configuration of one model of a run; with the unit gradient_ratio its SEP weight is measured.

    Args: measure: (configuration, ratio) -> weight, called once per model; the weight is stored in the run directory,
      so that a resumed run trains with the same one. None: read the stored weight.
    Raises: InputError where the stored weight is missing, or its file cannot be read.
    """
    found = config.train_config(method, num_pixels)
    if config.sep.weight_unit != "gradient_ratio" or not training_method(method).sep_sign:
        return found
    name = f"{method}_seed{seed}"
    known = devices.call_on_first_process(lambda: _read(Path(run_dir) / SEP_WEIGHTS))
    if name not in known:
        if measure is None:
            raise InputError(f"{run_dir} has no measured SEP weight of {name}; finish that run with resume=True")
        known[name] = measure(found, found.sep_weight)
        if devices.is_first():
            write_listed(Path(run_dir) / SEP_WEIGHTS, json.dumps(known, indent=1) + "\n")
    return dataclasses.replace(found, sep_weight=known[name])


def _read(path: Path) -> dict[str, float]:
    try:
        return {str(name): float(weight) for name, weight in json.loads(read_listed(path)).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}); remove it to measure the weights again") from error
