"""What a run would do, how long and with how much memory, before anything is done or written."""

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
    """tasks, in their order; seconds: an estimate, None where nothing could be counted; memory_bytes: of arrays in the
    training step that needs most, None where nothing is trained; basis: what the time rests on, in a sentence."""

    tasks: tuple[Task, ...]
    seconds: float | None
    memory_bytes: float | None
    basis: str


def plan(config: Configuration, *, done: Collection[tuple[str, int]] = ()) -> Plan:
    """What the run of a configuration would do.

    Operations are XLA's counts of the programs of the run; their speed is that of one gradient, compiled and timed.
    Memory is XLA's assignment of buffers to the training step that needs most, which this compiles as the run will: a
    run that keeps compiled programs on disk finds it there. Nothing is written, and no data set is read that is more
    than one file.

    Args: done: (method, seed) of models that a resumed study has already.
    Raises: InputError as the run would, where it needs models that are not there.
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
    """Bytes of the training step with most terms, and of the images of the tests."""
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


_STREAMED_BATCHES = 6  # on the device at once, those that are sent ahead among them
