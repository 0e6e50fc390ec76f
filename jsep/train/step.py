"""Training steps as one compiled loop over images stored on the device, also from shapes alone, to know its cost."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from jsep import devices, models
from jsep.checks import InputError
from jsep.models.functional import Network
from jsep.train.augment import crop_and_flip
from jsep.train.config import TERMS, TrainConfig
from jsep.train.objectives import InnerAttack, objective
from jsep.train.optimizer import make_optimizer, moving_average
from jsep.train.precision import in_precision
from jsep.train.regularisers import batch_regulariser
from jsep.train.sep_gradient import sep_value_and_gradient
from jsep.types import Array, Key, PyTree


class TrainState(NamedTuple):
    """The state of a training run between steps, and the content of a checkpoint.

    step: () int32, the number of steps done; the random numbers of a step depend only on it and the key of the run.
    ema: the moving average of `variables`, or None.
    """

    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    step: Array
    ema: PyTree | None = None

    @property
    def variables(self) -> PyTree:
        """The parameters and batch statistics in training, in the format of `jsep.models`."""
        return {"params": self.params, "batch_stats": self.batch_stats} if self.batch_stats else {"params": self.params}

    @property
    def evaluated(self) -> PyTree:
        """The variables to validate, test and explain: the moving average if there is one, else `variables`."""
        return self.variables if self.ema is None else self.ema


class Fault(NamedTuple):
    """The first non-finite term.

    step: () int32, the training step, -1 if all terms were finite; term: () int32, an index into `FAULT_TERMS`.
    """

    step: Array
    term: Array


_MANY_PARAMETERS = 4_000_000  # models with more parameters are attacked in larger chunks

FAULT_TERMS = (
    "the loss of the objective",
    "the gradient of the objective",
    "the SEP term",
    "the gradient of the SEP term",
    "the term of the explanation regulariser",
    "the gradient of the term of the explanation regulariser",
    "the updated state",
)

Progress = tuple[dict[str, Array], Fault]
RunSteps = Callable[..., tuple[TrainState, dict[str, Array], Fault]]
RunBatch = Callable[..., tuple[TrainState, Progress]]


def init_state(
    key: Key,
    model: Network,
    input_shape: tuple[int, int, int],
    config: TrainConfig,
    num_images: int,
    initial: PyTree | None = None,
) -> TrainState:
    """The state before the first step: initial optimiser state, random parameters or a copy of the variables `initial`.

    Raises: InputError if `initial` does not have the structure and shapes of the model's variables.
    """
    variables = models.init(key, model, input_shape)
    if initial is not None:
        if not isinstance(initial, Mapping):
            raise InputError(f"initial must be variables of the model, got {type(initial).__name__}")
        _check_same_shapes(initial, variables)
        variables = jax.tree.map(lambda value, like: jnp.array(value, like.dtype), dict(initial), variables)
    optimizer = make_optimizer(config.optimizer, config.epochs * config.steps_per_epoch(num_images))
    params = variables["params"]
    state = TrainState(params, variables.get("batch_stats", {}), optimizer.init(params), jnp.int32(0))
    # Copies, because a step may overwrite its input state in place (donation).
    return state._replace(ema=jax.tree.map(jnp.copy, state.variables)) if config.ema_decay else state


def _check_same_shapes(given: PyTree, expected: PyTree) -> None:
    wanted, got = (
        {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(dict(tree))}
        for tree in (expected, given)
    )
    different = sorted(name for name in {*wanted, *got} if wanted.get(name) != got.get(name))
    if different:
        name = different[0]
        raise InputError(
            f"the variables to start from are of another model: {len(different)} of {len(wanted)} arrays differ, first "
            f"{name}: expected {wanted.get(name, 'none')}, got {got.get(name, 'none')}"
        )


def make_run_steps(
    model: Network,
    config: TrainConfig,
    num_images: int,
    mesh: Mesh | None = None,
    *,
    platform: str | None = None,
) -> RunSteps:
    """Compiled training steps: run_steps(state, images, labels, key, weights, stop) -> (state, sums, fault).

    It runs from `state.step` up to step `stop` (counted over the whole run; in the same epoch) and returns `sums`, the
    metrics summed over these steps. `images` (num_images, H, W, C) uint8 or float32 and `labels` (num_images,) stay on
    the device; the order of images, augmentation, attack and noise are drawn from `key` and the step. `weights`: as
    `config.weights()`, float32. `state` is donated. After a non-finite term there are no further updates, so the
    returned state is the last finite one.

    Metrics: loss (objective + weighted terms), cross_entropy, accuracy, gradient_norm (of the objective); with SEP also
    sep_penalty, sep_gradient_norm (of the weighted SEP gradient) and sep_gradient_ratio, that norm over the
    objective's; likewise regulariser_penalty, regulariser_gradient_norm and regulariser_gradient_ratio.

    With a `mesh` every batch is sharded over its devices; all arguments are replicated (`devices.replicate`).

    platform: "cpu", "cuda" or "tpu", for a program that is compiled for another machine; default: that of this process.
    On CPU without a mesh the attack and the SEP term take a batch in parts, which fit into the caches.

    Compiled once for all keys, weights, epochs and numbers of steps of a configuration.
    """
    return _compiled_steps(model, _without_weights(config), num_images, mesh, platform or jax.default_backend())[0]


def make_run_batch(model: Network, config: TrainConfig, num_images: int, mesh: Mesh | None = None) -> RunBatch:
    """One compiled training step on a given batch: run_batch(state, progress, images, labels, key, weights, step, stop)
    -> (state, progress).

    The step of `make_run_steps` on images (batch_size, H, W, C), sharded over the mesh, and their labels;
    stop = step + 1. progress: (sums, fault) so far, initially `empty_progress(config)`. `state` is donated.
    """
    return _compiled_steps(model, _without_weights(config), num_images, mesh, jax.default_backend())[1]


def _without_weights(config: TrainConfig) -> TrainConfig:
    # The compiled function takes the weights as arguments and depends only on which of them are non-zero.
    there = config.weights()
    return dataclasses.replace(
        config,
        objective_config=config.objective_settings,
        sep_weight=float("sep" in there),
        regulariser_weight=float("regulariser" in there),
    )


def empty_progress(config: TrainConfig) -> Progress:
    """The (sums, fault) before the first of several steps: all sums 0, no fault."""
    names = ["loss", "gradient_norm", "cross_entropy", "accuracy"]
    names += [f"{name}_{what}" for name in config.weights() for what in ("penalty", "gradient_norm", "gradient_ratio")]
    return {name: jnp.float32(0) for name in names}, Fault(jnp.int32(-1), jnp.int32(0))


def epoch_order(key: Key, epoch: Array | int, num_images: int) -> Array:
    """The order (num_images,) of the images in an epoch, a random permutation; `key` is that of the run."""
    return jax.random.permutation(jax.random.fold_in(jax.random.split(key)[0], epoch), num_images)


def _chunk_size(batch_size: int, most: int = 32) -> int:
    """Images per chunk on CPU: the largest divisor of the batch size from 8 to `most`, or else the whole batch. The
    activations of larger chunks exceed the caches, which made the attack on 128 images a quarter slower."""
    size = max(size for size in range(1, min(batch_size, most) + 1) if batch_size % size == 0)
    return size if size >= 8 else batch_size


def _attack_chunk_size(batch_size: int, params: PyTree) -> int:
    """Images per chunk of the attack. Many parameters exceed the caches too and are read again for each chunk: with 32,
    64, 128 images a ResNet-18 takes 12.4, 9.7, 9.8 ms per image; a ConvNet of 0.2 M parameters 0.27, 0.32, 0.31 ms."""
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    return _chunk_size(batch_size, 64 if num_parameters > _MANY_PARAMETERS else 32)


def _add_scaled(tree: PyTree, scale: Array, other: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: a + scale * b, tree, other)


@functools.cache
def _compiled_steps(
    model: Network, config: TrainConfig, num_images: int, mesh: Mesh | None, platform: str
) -> tuple[RunSteps, RunBatch]:
    steps_per_epoch = config.steps_per_epoch(num_images)
    model_fn, batch_fn = in_precision(config.precision, models.model_fn(model), models.batch_fn(model))
    make_objective = objective(config.objective).make
    one_processor = mesh is None and platform == "cpu"
    chunk_size = _chunk_size(config.batch_size) if one_processor else config.batch_size
    optimizer = make_optimizer(config.optimizer, config.epochs * steps_per_epoch)
    warmup_steps = config.sep_warmup_epochs * steps_per_epoch
    terms = config.weights()

    def one_step(state: TrainState, images: Array, labels: Array, key: Key, weights: dict[str, Array]) -> tuple:
        augment_key, attack_key, noise_key = jax.random.split(key, 3)
        if images.dtype == jnp.uint8:
            images = images.astype(jnp.float32) / 255
        if config.augment:
            images = crop_and_flip(augment_key, images)
        attack_chunk_size = _attack_chunk_size(len(images), state.params) if one_processor else None
        inner = InnerAttack(config.attack, config.attack_batch_norm, attack_chunk_size)
        minimised = make_objective(model_fn, batch_fn, inner, config.objective_settings)
        (loss, (batch_stats, metrics)), gradient = jax.value_and_grad(minimised, argnums=1, has_aux=True)(
            attack_key, state.params, state.batch_stats, images, labels
        )
        gradient_norm = optax.global_norm(gradient)
        metrics = {"loss": loss, "gradient_norm": gradient_norm, **metrics}
        checked = [loss, gradient_norm]

        def regularisation_of(params: PyTree) -> Array:
            assert config.regulariser is not None
            term_key = jax.random.fold_in(noise_key, TERMS.index("regulariser"))
            variables = state._replace(params=params).variables
            return batch_regulariser(term_key, config.regulariser, model_fn, variables, images, labels)

        for name in TERMS:
            if name not in terms:
                checked += [jnp.float32(0), jnp.float32(0)]
                continue
            weight = weights[name]
            if name == "sep" and warmup_steps:
                weight = weight * jnp.minimum((state.step + 1) / warmup_steps, 1.0)

            # A separate backward pass costs nothing extra, since the term is evaluated at other images, and gives the
            # norm of its gradient.
            if name == "sep":
                value, term_gradient = sep_value_and_gradient(
                    noise_key, config.sep, model_fn, batch_fn, state.params, state.batch_stats, images, labels,
                    chunk_size=chunk_size,
                )  # fmt: skip
            else:
                value, term_gradient = jax.value_and_grad(regularisation_of)(state.params)
            norm = jnp.abs(weight) * optax.global_norm(term_gradient)
            gradient = _add_scaled(gradient, weight, term_gradient)
            metrics["loss"] = metrics["loss"] + weight * value
            metrics |= {f"{name}_penalty": value, f"{name}_gradient_norm": norm}
            metrics[f"{name}_gradient_ratio"] = norm / gradient_norm
            checked += [value, norm]
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        new_state = TrainState(optax.apply_updates(state.params, updates), batch_stats, opt_state, state.step + 1)
        if config.ema_decay:
            ema = moving_average(config.ema_decay, state.ema, new_state.variables, new_state.step)
            new_state = new_state._replace(ema=ema)
        # The update or the batch statistics can overflow even if all terms are finite.
        state_is_finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(new_state)]
        finite = [*(jnp.isfinite(value) for value in checked), jnp.all(jnp.stack(state_is_finite))]
        return new_state, metrics, jnp.stack(finite)

    placed: dict[str, Any] = {} if mesh is None else {"out_shardings": devices.on_all(mesh)}

    def loop(
        state: TrainState,
        progress: Progress,
        batch_of: Callable[[Array], tuple[Array, Array]],
        key: Key,
        weights: dict[str, Array],
        first: Array,
        stop: Array,
    ) -> tuple[TrainState, Progress]:
        step_key = jax.random.split(key)[1]

        def body(index: Array, carry: tuple) -> tuple:
            state, (sums, fault) = carry
            images, labels = batch_of(index)
            if mesh is not None:
                # XLA's partitioner derives all other shardings from that of the batch.
                images, labels = jax.lax.with_sharding_constraint((images, labels), devices.along_batch(mesh))
            key = jax.random.fold_in(step_key, index)
            new_state, metrics, finite = one_step(state, images, labels, key, weights)
            good = jnp.all(finite) & (fault.step < 0)
            new_fault = Fault(jnp.where(good, -1, index), jnp.argmin(finite).astype(jnp.int32))
            fault = jax.tree.map(lambda old, new: jnp.where(fault.step < 0, new, old), fault, new_fault)
            state = jax.tree.map(lambda old, new: jnp.where(good, new, old), state, new_state)
            return state, (jax.tree.map(jnp.add, sums, metrics), fault)

        return jax.lax.fori_loop(first, stop, body, (state, progress))

    @functools.partial(jax.jit, donate_argnums=0, **placed)
    def run_steps(
        state: TrainState, images: Array, labels: Array, key: Key, weights: dict[str, Array], stop: Array
    ) -> tuple[TrainState, dict[str, Array], Fault]:
        epoch = state.step // steps_per_epoch
        order = epoch_order(key, epoch, num_images)

        def batch_of(index: Array) -> tuple[Array, Array]:
            first = (index - epoch * steps_per_epoch) * config.batch_size
            batch = jax.lax.dynamic_slice_in_dim(order, first, config.batch_size)
            return images[batch], labels[batch]

        state, (sums, fault) = loop(state, empty_progress(config), batch_of, key, weights, state.step, stop)
        return state, sums, fault

    @functools.partial(jax.jit, donate_argnums=0, **placed)
    def run_batch(
        state: TrainState,
        progress: Progress,
        images: Array,
        labels: Array,
        key: Key,
        weights: dict[str, Array],
        step: Array,
        stop: Array,
    ) -> tuple[TrainState, Progress]:
        # A loop of one step whose length XLA does not know: it compiles to the same program as the loop over many
        # steps, so that the results are identical.
        return loop(state, progress, lambda index: (images, labels), key, weights, step, stop)

    return run_steps, run_batch


def step_program(
    model: Network,
    config: TrainConfig,
    image_shape: tuple[int, int, int],
    num_images: int,
    *,
    dtype: Any = np.uint8,
    mesh: Mesh | None = None,
    platform: str | None = None,
) -> tuple[RunSteps, tuple[Any, ...]]:
    """The jitted loop of steps of `fit` over `num_images` images stored on the device, and the shapes of its arguments.

    The number of steps is an argument, so XLA's operation counts are those of one step.
    `program.lower(*shapes).compile()` compiles the same program as `fit`, which reuses it with JAX's compilation cache.
    Args: image_shape: (H, W, C); dtype: of the stored images; mesh: as in `fit`; platform: as in `make_run_steps`.
    """

    def shape(*sizes: int, dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(sizes, dtype)

    key = jax.eval_shape(jax.random.key, 0)
    state = jax.eval_shape(lambda key: init_state(key, model, image_shape, config, num_images), key)
    weights = {name: shape(dtype=jnp.float32) for name in config.weights()}
    images, labels = shape(num_images, *image_shape, dtype=dtype), shape(num_images, dtype=jnp.int32)
    arguments = (state, images, labels, key, weights, shape(dtype=jnp.int32))
    return make_run_steps(model, config, num_images, mesh, platform=platform), arguments


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Bytes on one device by XLA's buffer assignment; kept: between steps (images, state); working: during a step."""

    kept: int
    working: int

    @property
    def total(self) -> int:
        """kept + working, bytes."""
        return self.kept + self.working


def step_memory(compiled: jax.stages.Compiled) -> StepMemory | None:
    """The memory of compiled training steps; None if the backend does not report it."""
    found = compiled.memory_analysis()
    if found is None:
        return None
    # The state is donated: its new value is written into the buffers of the old one.
    outputs = found.output_size_in_bytes - found.alias_size_in_bytes
    return StepMemory(found.argument_size_in_bytes, found.temp_size_in_bytes + outputs)
