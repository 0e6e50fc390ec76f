"""The compiled programs of a run from shapes alone, which each kind of study lists for a plan on a target."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jsep import data, evaluate, train
from jsep.study.config import StudyConfig
from jsep.study.costs import ModelCosts
from jsep.study.evaluation_config import EvaluationConfig
from jsep.study.work import DataSizes


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program of a run. what: in words; function: jitted; shapes: of its arguments; flops: operations of one
    call; count: images or pairs at once; setting: that count's."""

    what: str
    function: Callable[..., Any]
    shapes: tuple[Any, ...]
    flops: float
    count: int
    setting: str


def study_programs(
    config: StudyConfig, study: StudyConfig, images: DataSizes, costs: ModelCosts, platform: str
) -> list[Program]:
    """Of a study that trains: the training step with most terms, and its evaluation."""
    return [*training_programs(config, images, costs, platform), *evaluation_programs(config, images, costs)]


def training_programs(study: StudyConfig, images: DataSizes, costs: ModelCosts, platform: str) -> list[Program]:
    """The training step with most terms."""
    settings = with_most_terms(study, images)
    function, shapes = train.step_program(
        costs.model, settings, images.info.image_shape, num_stored(study, images), dtype=stored_dtype(images),
        platform=platform,
    )  # fmt: skip
    flops = costs.training_step(settings)
    return [Program("training step with most terms", function, shapes, flops, settings.batch_size, "batch_size")]


def evaluation_programs(config: StudyConfig | EvaluationConfig, images: DataSizes, costs: ModelCosts) -> list[Program]:
    """PGD in tests, and the attack on explanations that needs most steps."""
    chunk, steps = config.chunk_size, config.tests.num_steps
    model = costs.model_fn, costs.variables, images.info.image_shape, chunk
    pgd = evaluate.classification_program(*model, norm=config.budget.norm, num_steps=steps, dtype=stored_dtype(images))
    strength, attacked = max(config.explanation_attacks().items(), key=lambda each: each[1].total_steps)
    attack = evaluate.explanation_program(*model, attacked)
    words = f"attack on explanations ({strength}), {attacked.total_steps} steps"
    return [
        Program(f"PGD in tests, {steps} steps", *pgd, chunk * costs.pgd(steps), chunk, "chunk_size"),
        Program(words, *attack, chunk * costs.explanation_attack(attacked), chunk, "chunk_size"),
    ]


def stored_dtype(images: DataSizes) -> Any:
    """The format of the stored images."""
    return np.uint8 if images.bytes_per_pixel == 1 else np.float32


def with_most_terms(study: StudyConfig, images: DataSizes) -> train.TrainConfig:
    """The settings of the method whose training step has most terms."""
    num_pixels = images.info.image_shape[0] * images.info.image_shape[1]
    settings = [study.train_config(method, num_pixels) for method in study.methods]
    return max(settings, key=lambda one: len(one.weights()))


def num_stored(study: StudyConfig, images: DataSizes) -> int:
    """The training images on the device at once."""
    size = math.prod(images.info.image_shape) * images.bytes_per_pixel
    streamed = images.train * size > data.STREAM_ABOVE if study.data.streams is None else study.data.streams
    return _STREAMED_BATCHES * study.training.batch_size if streamed else images.train


_STREAMED_BATCHES = 6  # batches on the device at once, prefetched ones included
