"""The work, time and memory that a run would need, estimated before it starts."""

import dataclasses
import math
from collections.abc import Collection
from pathlib import Path

import jax
import numpy as np

from jsep import train
from jsep.checks import InputError
from jsep.study.config import StudyConfig
from jsep.study.configuration import Configuration
from jsep.study.costs import TIMED_IMAGES, ModelCosts
from jsep.study.kinds import kind_of
from jsep.study.programs import num_stored, with_most_terms
from jsep.study.targets import Target, devices_of, largest_count, memory_on, target_named
from jsep.study.work import DataSizes, Task, Work, data_sizes, model_costs


@dataclasses.dataclass(frozen=True)
class Plan:
    """tasks: in order; seconds: an estimate, None where nothing could be counted; memory_bytes: the arrays of the
    training step with the highest memory use, None without training; basis: a sentence on how time was estimated."""

    tasks: tuple[Task, ...]
    seconds: float | None
    memory_bytes: float | None
    basis: str


def plan(config: Configuration, *, done: Collection[tuple[str, int]] = ()) -> Plan:
    """The plan of the run of a configuration.

    Operations are XLA's counts for the programs of the run; their speed is measured on one compiled gradient. Memory is
    XLA's buffer assignment of the training step that needs most, compiled as in the run; with a compilation cache on
    disk the run reuses it. Nothing else is written, and only data sets of a single file are read.

    Args: done: (method, seed) of the models that a resumed study has finished.
    Raises: InputError where the run needs models that do not exist.
    """
    kind = kind_of(config)
    unknown = Work([Task(f"a study of the kind {kind.kind}: not in the estimate", 0.0)], None)
    tasks, study = unknown if kind.work is None else kind.work(config, done)
    if study is None:
        return Plan(tuple(tasks), None, None, "nothing was timed")
    images = data_sizes(study)
    costs = model_costs(study, images)
    seconds = sum(task.flops for task in tasks) / costs.flops_per_second(jax.random.key(0))
    basis = f"operations counted by the compiler, at the speed of one gradient of {TIMED_IMAGES} images; a factor "
    basis += "of 2 either way is usual. Compiling is not in it: minutes where no earlier run left the programs"
    memory = _training_memory(study, images, costs) if isinstance(config, StudyConfig) else None
    return Plan(tuple(tasks), seconds, memory, basis)


def _training_memory(study: StudyConfig, images: DataSizes, costs: ModelCosts) -> float | None:
    """Bytes of the training step with most terms, and of the validation and test images."""
    dtype = np.uint8 if images.bytes_per_pixel == 1 else np.float32
    found = costs.step_memory(with_most_terms(study, images), num_stored(study, images), dtype)
    size = math.prod(images.info.image_shape) * images.bytes_per_pixel
    return None if found is None else float(found.total + (images.validation + images.test) * size)


@dataclasses.dataclass(frozen=True)
class TargetPart:
    """One program of a run on a target. what: in words; memory: that it needs; flops: operations of one call; count:
    images or pairs at once; setting: that count's; fits: about how many fit."""

    what: str
    memory: train.StepMemory
    flops: float
    count: int
    setting: str
    fits: int


@dataclasses.dataclass(frozen=True)
class TargetPlan:
    """A run on a target: its programs, and the operations of the whole run."""

    target: Target
    parts: tuple[TargetPart, ...]
    flops: float


def plan_on(config: Configuration, name: str, *, cache: Path | None = None) -> TargetPlan:
    """What the programs of a run need on a device that need not be at hand.

    Each is compiled for the target as the run would compile it: the training step with most terms, PGD in tests, the
    attack on explanations that needs most steps, and the parts of a landscape.
    Args: name: a key of `TARGETS`; cache: a folder that keeps the answers by program.
    Raises: InputError for an unknown target, one whose compiler is not installed, or a kind of study that lists no
      programs.
    """
    target = target_named(name)
    device = devices_of(target)[0]
    kind = kind_of(config)
    if kind.programs is None or kind.work is None:
        raise InputError("a target can be given for studies that train, evaluations and landscapes; leave it out")
    tasks, study = kind.work(config, ())
    if study is None:
        raise InputError("a target needs a study that says the network; the weights named here do not")
    images = data_sizes(study)
    parts = []
    for one in kind.programs(config, study, images, model_costs(study, images), target.platform):
        memory = memory_on(target, device, one.function, one.shapes, cache=cache)
        fits = largest_count(target, memory, one.count)
        parts.append(TargetPart(one.what, memory, one.flops, one.count, one.setting, fits))
    return TargetPlan(target, tuple(parts), sum(task.flops for task in tasks))
