"""The work, time and memory that a run would need, estimated before it starts."""

import dataclasses
import math
from collections.abc import Collection

import jax
import numpy as np

from jsep import data
from jsep.study.config import StudyConfig
from jsep.study.configuration import Configuration
from jsep.study.costs import TIMED_IMAGES, ModelCosts
from jsep.study.kinds import kind_of
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
    basis = f"operations counted by the compiler, at the speed of one gradient of {TIMED_IMAGES} images; compiling is "
    basis += "not in it, and a factor of 2 either way is usual"
    memory = _training_memory(study, images, costs) if isinstance(config, StudyConfig) else None
    return Plan(tuple(tasks), seconds, memory, basis)


def _training_memory(study: StudyConfig, images: DataSizes, costs: ModelCosts) -> float | None:
    """Bytes of the training step with most terms, and of the validation and test images."""
    num_pixels = images.info.image_shape[0] * images.info.image_shape[1]
    settings = [study.train_config(method, num_pixels) for method in study.methods]
    largest = max(settings, key=lambda one: len(one.weights()))
    dtype = np.uint8 if images.bytes_per_pixel == 1 else np.float32
    size = math.prod(images.info.image_shape) * images.bytes_per_pixel
    streamed = images.train * size > data.STREAM_ABOVE if study.data.streams is None else study.data.streams
    found = costs.step_memory(
        largest, _STREAMED_BATCHES * study.training.batch_size if streamed else images.train, dtype
    )
    return None if found is None else float(found.total + (images.validation + images.test) * size)


_STREAMED_BATCHES = 6  # batches on the device at once, prefetched ones included
