"""The batches of a training run: taken from images stored on the devices, or streamed to the devices.

Both run the same compiled steps on the same batches in the same order. A batch depends only on the key of the run and
the step, so checkpoints need no sampler state, and a pool of threads that reads ahead suffices. (Grain would add only
its processes and iterator states.)
"""

import collections
import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np
from jax.sharding import Mesh

from jsep import devices
from jsep.data import STREAM_ABOVE, Dataset
from jsep.models.functional import Network
from jsep.train.step import (
    Fault,
    Progress,
    TrainConfig,
    TrainState,
    empty_progress,
    epoch_order,
    make_run_batch,
    make_run_steps,
)
from jsep.types import Array, Key

Runner = Callable[[TrainState, dict[str, float], int], tuple[TrainState, dict[str, Array], Fault]]
"""(state, weights, stop) -> (state, sums, fault); see `make_run_steps`."""

_NUM_READERS = 4
_BATCHES_AHEAD = 4
_STEPS_IN_FLIGHT = 2


def make_runner(
    key: Key,
    model: Network,
    dataset: Dataset,
    config: TrainConfig,
    *,
    mesh: Mesh | None = None,
    stream: bool | None = None,
) -> Runner:
    """The training steps of a run over `dataset`, with batches sharded over the devices of `mesh`.

    Args: key: of the run; stream: whether to read and send batches one by one instead of storing all images on the
      device; None: if the images take more than `data.STREAM_ABOVE` bytes.
    Raises: InputError unless the batch size divides evenly among the devices.
    """
    devices.check_batch_size(config.batch_size, mesh)
    if dataset.images.nbytes > STREAM_ABOVE if stream is None else stream:
        return _streamed(model, dataset, config, key, mesh)
    run_steps = make_run_steps(model, config, len(dataset), mesh)
    images, labels, placed_key = devices.replicate((dataset.images, dataset.labels, key), mesh)

    def run(state: TrainState, weights: dict[str, float], stop: int) -> tuple[TrainState, dict[str, Array], Fault]:
        given = devices.replicate(({name: np.float32(w) for name, w in weights.items()}, np.int32(stop)), mesh)
        return run_steps(state, images, labels, placed_key, *given)

    return run


def _streamed(model: Network, dataset: Dataset, config: TrainConfig, key: Key, mesh: Mesh | None) -> Runner:
    run_batch = make_run_batch(model, config, len(dataset), mesh)
    placed_key = devices.replicate(key, mesh)
    batches: Iterator[tuple[Array, Array]] = iter(())
    expected = -1

    def run(state: TrainState, weights: dict[str, float], stop: int) -> tuple[TrainState, dict[str, Array], Fault]:
        nonlocal batches, expected
        first = int(state.step)
        if first != expected:  # at the start of the run; later calls continue the same stream
            batches = _read_ahead(dataset, config, key, mesh, first)
        placed_weights = devices.replicate({name: np.float32(w) for name, w in weights.items()}, mesh)
        progress: Progress = devices.replicate(empty_progress(config), mesh)
        in_flight: collections.deque[Array] = collections.deque()
        for step in range(first, stop):
            images, labels = next(batches)
            numbers = devices.replicate((np.int32(step), np.int32(step + 1)), mesh)
            state, progress = run_batch(state, progress, images, labels, placed_key, placed_weights, *numbers)
            # The host runs only a few steps ahead, because every waiting batch takes device memory.
            in_flight.append(progress[1].step)
            if len(in_flight) > _STEPS_IN_FLIGHT:
                in_flight.popleft().block_until_ready()
        expected = stop
        return state, *progress

    return run


def _read_ahead(
    dataset: Dataset, config: TrainConfig, key: Key, mesh: Mesh | None, first: int
) -> Iterator[tuple[Array, Array]]:
    """The batches of step `first` and all later steps, read and copied to the devices in advance."""
    steps_per_epoch = config.steps_per_epoch(len(dataset))
    num_steps = config.epochs * steps_per_epoch
    order_of = functools.lru_cache(maxsize=2)(
        lambda epoch: np.asarray(_order(key, np.int32(epoch), num_images=len(dataset)))
    )

    def read(step: int) -> tuple[Array, Array]:
        epoch, place = divmod(step, steps_per_epoch)
        chosen = order_of(epoch)[place * config.batch_size : (place + 1) * config.batch_size]
        shape = (len(chosen), *dataset.info.image_shape)
        images = devices.shard_rows(lambda rows: dataset.images[chosen[rows]], shape, mesh)
        return images, devices.shard(dataset.labels[chosen], mesh)

    readers = ThreadPoolExecutor(min(_NUM_READERS, os.cpu_count() or 1), thread_name_prefix="jsep-read")
    waiting: collections.deque[Future[tuple[Array, Array]]] = collections.deque()
    for step in range(first, num_steps):
        waiting.append(readers.submit(read, step))
        if len(waiting) > _BATCHES_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


_order = functools.partial(jax.jit, static_argnames="num_images")(epoch_order)
