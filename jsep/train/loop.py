"""A training run from a key to a trained state: epochs, log records, validation, checkpoints, exact resume."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jsep import devices, interrupts
from jsep.checks import InputError, check_choice, check_count, check_positive
from jsep.data import Dataset
from jsep.memory import memory_in_use
from jsep.models.functional import Network
from jsep.train.checkpoint import BestCheckpoint, Checkpoints
from jsep.train.config import TrainConfig
from jsep.train.optimizer import OptimizerConfig, make_schedule
from jsep.train.step import FAULT_TERMS, Fault, TrainState, init_state
from jsep.train.stream import make_runner
from jsep.types import Key, PyTree

Record = dict[str, Any]


ACTIONS = ("ignore", "flag", "stop")
"""Possible reactions to collapsed maps."""

EFFECTIVE_PIXELS = "probe_effective_pixels"
"""The key of the validation record that the rule checks: mean effective pixels of the maps of a few images."""


@dataclasses.dataclass(frozen=True)
class CollapseRule:
    """What training does when the maps of the validation images have collapsed to a few pixels.

    With a negative SEP weight the SEP term can grow without bound as maps shrink to a single pixel.

    action: "ignore", "flag" (sets "collapsed": 1 in the validation record) or "stop" (raises `TrainingDiverged`).
    min_effective_pixels: maps with fewer effective pixels on average count as collapsed, >= 0.
    """

    action: str = "flag"
    min_effective_pixels: float = 2.0

    def __post_init__(self) -> None:
        check_choice("on_collapse", self.action, ACTIONS)
        check_positive("min_effective_pixels", self.min_effective_pixels, allow_zero=True)

    def broken_by(self, record: Mapping[str, Any]) -> bool:
        """Whether the validation record shows collapsed maps; False with the action "ignore"."""
        if self.action == "ignore" or EFFECTIVE_PIXELS not in record:
            return False
        return not record[EFFECTIVE_PIXELS] >= self.min_effective_pixels  # NaN counts as collapsed too


class TrainingDiverged(RuntimeError):
    """Training stopped because a loss, gradient or state was not finite, or because maps collapsed.

    The message names the step and the term. state: the TrainState before the failed step, or the one with collapsed
    maps.
    """

    def __init__(self, message: str, state: TrainState) -> None:
        super().__init__(message)
        self.state = state


def fit(
    key: Key,
    model: Network,
    dataset: Dataset,
    config: TrainConfig,
    *,
    initial: PyTree | None = None,
    log_every: int = 50,
    on_log: Callable[[Record], None] | None = None,
    validate: Callable[[PyTree], Record] | None = None,
    validate_every: int = 1,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: int = 1,
    best: BestCheckpoint | None = None,
    collapse: CollapseRule | None = None,
    on_resume: Callable[[int], None] | None = None,
    mesh: Mesh | None = None,
    stream: bool | None = None,
) -> TrainState:
    """Trains `model` on `dataset`, resuming from the newest of `checkpoints` if there is one.

    All random numbers depend only on `key` and the step, so a resumed run equals an uninterrupted one bit for bit.

    Args:
      key: for the initial parameters, the order of images, augmentation, attacks and noise.
      model: a classifier of this package, or a network of any framework as a `models.Functional`.
      dataset: the training images; they are copied to the device once, or streamed.
      initial: variables of `model` to start from, such as pretrained ones; default: initialised with `key`.
      log_every: steps between two log records, the only synchronisations with the host; the last step of an epoch is
        always logged.
      on_log: called with {"epoch", "step", "num_steps", "images_per_second", "seconds_left", "learning_rate", loss
        terms...}, means over the steps since the last record, and after each validation with its record.
      validate: variables (of the moving average if there is one) -> validation record; called every `validate_every`
        epochs and after the last; the record is logged with the memory in use.
      checkpoints: where to save every `checkpoint_every` epochs, after the last epoch, on divergence, and at the next
        log record after Ctrl-C or SIGTERM.
      best: keeps the variables with the best validation score.
      collapse: how to detect collapsed maps in a validation record, and what to do then.
      on_resume: called once with the number of steps already done.
      mesh: from `devices.make_mesh`; every batch is sharded over it. Random numbers do not depend on its size, and
        results only through the rounding of sums. Checkpoints can be restored on any mesh.
      stream: see `make_runner`.

    Returns: the trained TrainState.
    Raises: TrainingDiverged on a non-finite term or, if `collapse` has the action "stop", on collapsed maps; InputError
      for invalid counts or variables.
    """
    if not isinstance(dataset, Dataset):
        raise InputError(
            f"dataset must be a data.Dataset, got {type(dataset).__name__}; data.from_arrays(images, labels) makes one"
        )
    for name, count in {
        "log_every": log_every,
        "validate_every": validate_every,
        "checkpoint_every": checkpoint_every,
    }.items():
        check_count(name, count)
    num_images = len(dataset)
    steps_per_epoch = config.steps_per_epoch(num_images)
    num_steps = config.epochs * steps_per_epoch
    schedule = make_schedule(config.optimizer, num_steps)

    init_key, run_key = jax.random.split(key)
    state = init_state(init_key, model, dataset.info.image_shape, config, num_images, initial)
    restored = checkpoints.restore(state) if checkpoints else None
    state = restored if restored is not None else state
    step = int(state.step)
    if on_resume:
        on_resume(step)
    if best:
        best.begin(state.evaluated)

    run_steps = make_runner(run_key, model, dataset, config, mesh=mesh, stream=stream)
    state = devices.replicate(state, mesh) if mesh is not None else state
    started, started_at = time.perf_counter(), step
    # A single process that is interrupted keeps the steps since its last checkpoint; of several, the others would wait.
    waits = interrupts.deferred() if checkpoints and jax.process_count() == 1 else contextlib.nullcontext(lambda: False)
    with waits as is_interrupted:
        while step < num_steps and not is_interrupted():
            epoch = step // steps_per_epoch
            epoch_end = (epoch + 1) * steps_per_epoch
            stop = min(step + log_every, epoch_end)
            before = time.perf_counter()
            state, sums, fault = run_steps(state, config.weights(), stop)
            sums, fault = jax.device_get((sums, fault))  # the only host synchronisation until the next record
            now = time.perf_counter()
            if fault.step >= 0:
                _stop_diverged(fault, state, checkpoints, config)
            record: Record = {
                "epoch": epoch + 1,
                "step": stop,
                "num_steps": num_steps,
                "images_per_second": (stop - step) * config.batch_size / (now - before),
                "seconds_left": (now - started) / (stop - started_at) * (num_steps - stop),
                "learning_rate": float(schedule(stop - 1)),
                **{name: float(value) / (stop - step) for name, value in sums.items()},
            }
            if on_log:
                on_log(record)
            step = stop
            if step == epoch_end:
                is_last = step == num_steps
                if validate and (is_last or (epoch + 1) % validate_every == 0):
                    checked = dict(validate(state.evaluated))
                    if collapse:
                        checked["collapsed"] = float(collapse.broken_by(checked))
                    if on_log:
                        on_log({"epoch": epoch + 1, "step": step, "num_steps": num_steps, **checked, **memory_in_use()})
                    if best:
                        best.offer(epoch + 1, step, state.evaluated, checked)
                    if collapse and collapse.action == "stop" and checked["collapsed"]:
                        _stop_collapsed(step, state, checked[EFFECTIVE_PIXELS], collapse, config)
                if checkpoints and (is_last or (epoch + 1) % checkpoint_every == 0):
                    checkpoints.save(step, state)
        if checkpoints and is_interrupted():
            checkpoints.save(step, state)
    return state


def sep_weight_for_ratio(
    key: Key,
    model: Network,
    dataset: Dataset,
    config: TrainConfig,
    ratio: float,
    *,
    initial: PyTree | None = None,
    num_batches: int = 50,
    mesh: Mesh | None = None,
    stream: bool | None = None,
) -> float:
    """The SEP weight for a given ratio of gradient norms, SEP term to objective, measured at initialisation.

        weight = ratio / mean_b(|grad SEP_b| / |grad objective_b|)

    over the first batches b, all with the initial parameters: nothing is updated. The weight has the sign of `ratio`;
    `config.sep_weight` is ignored.

    Args: as `fit`; the same key gives the same initial parameters and batches. ratio: not 0; num_batches: at most
      those of an epoch.
    Raises: InputError for a ratio that is 0 or not finite, a count < 1, or a gradient that is 0 or not finite, for
      which no weight gives the ratio.
    """
    if not math.isfinite(ratio) or ratio == 0:
        raise InputError(f"the ratio of the gradient norms must be a finite number and not 0, got {ratio}")
    check_count("num_batches", num_batches)
    still = OptimizerConfig("sgd", 1e-30, "constant", momentum=0.0, weight_decay=0.0)
    config = dataclasses.replace(
        config, sep_weight=1.0, sep_warmup_epochs=0, regulariser=None, regulariser_weight=0.0, ema_decay=0.0,
        optimizer=still,
    )  # fmt: skip
    init_key, run_key = jax.random.split(key)
    state = init_state(init_key, model, dataset.info.image_shape, config, len(dataset), initial)
    run_steps = make_runner(run_key, model, dataset, config, mesh=mesh, stream=stream)
    state = devices.replicate(state, mesh) if mesh is not None else state
    stop = min(num_batches, config.steps_per_epoch(len(dataset)))
    _, sums, fault = jax.device_get(run_steps(state, config.weights(), stop))
    measured = float(sums["sep_gradient_ratio"]) / stop
    if fault.step >= 0 or not math.isfinite(measured) or measured <= 0:
        raise InputError(
            f"the norm of the SEP term's gradient over that of the objective's is {measured:g} at the start, so no "
            "weight makes it the ratio that was asked for; give the weight itself"
        )
    return ratio / measured


def _stop_diverged(fault: Fault, state: TrainState, checkpoints: Checkpoints | None, config: TrainConfig) -> None:
    kept = int(state.step)
    message = f"training stopped: {FAULT_TERMS[int(fault.term)]} is not finite at step {int(fault.step) + 1}"
    if checkpoints:
        checkpoints.save(kept, state)
        message += f"; the state of step {kept} is kept in checkpoint {kept}"
    advice = "lower learning_rate"
    for name in config.weights():
        advice += f" or the size of {name}_weight"
    if config.weights():
        advice += ", or set gradient_clip"
    raise TrainingDiverged(f"{message}; {advice}", state)


def _stop_collapsed(
    step: int, state: TrainState, effective_pixels: float, collapse: CollapseRule, config: TrainConfig
) -> None:
    # No checkpoint is saved: a run resumed from the previous one stops here again.
    advice = " or ".join(f"lower the size of {name}_weight" for name in config.weights()) or "lower learning_rate"
    raise TrainingDiverged(
        f"training stopped: the maps have collapsed at step {step}: they lie on {effective_pixels:.3g} effective "
        f"pixels, fewer than {collapse.min_effective_pixels:.3g}; {advice}, or go on with on_collapse=flag",
        state,
    )


def describe(key: Key, config: TrainConfig, model: Network, dataset: Dataset) -> dict[str, Any]:
    """The JSON-like description of a run, stored with its checkpoints: configuration, model, data and key."""
    digest = np.asarray([np.asarray(dataset.labels, np.int64).sum(), dataset.image_sum()])
    return {
        **config.describe(),
        "model": repr(model),
        "dataset": dataset.info.name,
        "num_images": len(dataset),
        "data_sums": digest.tolist(),
        "key": np.asarray(jax.random.key_data(key)).tolist(),
    }
