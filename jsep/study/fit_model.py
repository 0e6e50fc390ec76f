"""The inputs shared by all models of a study, and the training of one model from its newest checkpoint."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from jsep import models, train
from jsep.study.config import StudyConfig
from jsep.study.run_directory import MetricsLog
from jsep.study.runner import Run
from jsep.study.setup import Splits
from jsep.types import Key, PyTree


@dataclasses.dataclass(frozen=True)
class Training:
    """Shared by all models of a study: the configuration, images, network, initial variables per seed, run and log."""

    config: StudyConfig
    splits: Splits
    model: models.Classifier
    start: dict[int, PyTree]
    run: Run
    log: MetricsLog

    @property
    def num_pixels(self) -> int:
        """Pixels of a map."""
        height, width, _ = self.splits.train.info.image_shape
        return height * width


def fit(
    key: Key,
    training: Training,
    model: models.Classifier,
    train_config: train.TrainConfig,
    name: tuple[str, int],
    validate: Callable[[PyTree], dict[str, float]] | None = None,
    initial: PyTree | None = None,
) -> tuple[train.TrainState, train.Best | None]:
    """Trains the model `name`, (method, seed), from its newest checkpoint where there is one.

    Returns: the last state, and the best one where there was validation.
    """
    config, run, dataset = training.config, training.run, training.splits.train
    method, seed = name

    def on_log(logged: dict[str, Any]) -> None:
        training.log.write(method, seed, logged)
        run.progress(f"training {method}, seed {seed}", logged)

    described = train.describe(key, train_config, model, dataset)
    last_path, best_path = (run.directory.checkpoints(f"{method}_seed{seed}{suffix}") for suffix in ("", "_best"))
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(train.Checkpoints(last_path, described))
        best = None
        if validate:
            of_best = stack.enter_context(train.Checkpoints(best_path, described))
            # Without the best state of before, a run that goes on might find another one to be the best.
            of_best.remove_if_newest_is_damaged(checkpoints)
            best = train.BestCheckpoint(of_best)
        state = train.fit(
            key,
            model,
            dataset,
            train_config,
            initial=initial,
            log_every=config.monitoring.log_every,
            on_log=on_log,
            validate=validate,
            validate_every=config.monitoring.validate_every,
            checkpoints=checkpoints,
            checkpoint_every=config.monitoring.checkpoint_every,
            best=best,
            collapse=config.monitoring.collapse_rule(training.num_pixels) if validate else None,
            on_resume=functools.partial(training.log.forget_after, method, seed),
            mesh=run.mesh,
            stream=config.data.streams,
        )
        return state, best.restore(state.evaluated) if best else None
