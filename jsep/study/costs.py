"""What the programs of a run cost: operations and memory as XLA counts them, and the speed of one timed gradient."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from jsep import attack, evaluate, models, train
from jsep.models.cpu import use_lax_conv
from jsep.types import Array, ModelFn, PyTree

TIMED_IMAGES = 16
"""The batch size of the timed gradient: enough to keep the cores busy, few enough for a large network."""


def count_flops(function: Callable[..., Any], *arguments: Any) -> float:
    """The floating-point operations of a traced function, as XLA counts them before it optimises.

    A convolution counts by its definition, whatever form its backend gives it; a gradient written as a product of
    patches counts the zeros around an image too.
    The body of a loop of known length counts once per iteration, that of a loop of unknown length once in all.
    Args: arguments: arrays or `jax.ShapeDtypeStruct`s; nothing is computed.
    """
    return _once(function, arguments) + _repeated(jax.make_jaxpr(function)(*arguments).jaxpr)


def _once(function: Callable[..., Any], arguments: Sequence[Any]) -> float:
    """XLA's count, in which the body of every loop counts once."""
    # A new function, since JAX would reuse the cached lowering of a known one.
    with use_lax_conv():
        counted = jax.jit(lambda *arguments: function(*arguments)).lower(*arguments).cost_analysis()
    return float(counted.get("flops", 0.0)) if isinstance(counted, dict) else 0.0


def _repeated(jaxpr: core.Jaxpr) -> float:
    """The operations of all iterations of the loops but the first."""
    total = 0.0
    for equation in jaxpr.eqns:
        inside = sum(_repeated(body) for body in _bodies(equation))
        if equation.primitive.name == "scan" and equation.params["length"] > 1:
            body = equation.params["jaxpr"]
            a_turn = _once(core.jaxpr_as_fun(body), [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in body.in_avals])
            total += (equation.params["length"] - 1) * (a_turn + inside)
        total += inside
    return total


def _bodies(equation: core.JaxprEqn) -> list[core.Jaxpr]:
    leaves = jax.tree.leaves(equation.params, is_leaf=lambda leaf: isinstance(leaf, core.Jaxpr | core.ClosedJaxpr))
    found = [leaf.jaxpr if isinstance(leaf, core.ClosedJaxpr) else leaf for leaf in leaves]
    return [leaf for leaf in found if isinstance(leaf, core.Jaxpr)]


class ImageCosts:
    """Operation counts of the programs that work on one image or pair, of a `_model_fn` with its `_variables`."""

    image_shape: tuple[int, int, int]
    _model_fn: ModelFn
    _variables: PyTree

    @functools.cached_property
    def forward(self) -> float:
        """Operations of the logits of one image."""
        return count_flops(self._model_fn, self._variables, self._image)

    @functools.cached_property
    def input_gradient(self) -> float:
        """Operations of the gradient of a class score with respect to one image."""
        return count_flops(jax.grad(lambda image, v: self._model_fn(v, image)[0]), self._image, self._variables)

    def pgd(self, num_steps: int) -> float:
        """Operations of PGD on one image, and of its logits before and after."""

        def attacked(variables: PyTree, image: Array, key: Array) -> Array:
            objective = attack.cross_entropy(functools.partial(self._model_fn, variables), jnp.int32(0))
            return attack.pgd(key, objective, image, epsilon=0.1, alpha=0.1, num_steps=num_steps)[0]

        steps = count_flops(attacked, self._variables, self._image, self._key) if num_steps else 0.0
        return steps + 2 * self.forward

    def explanation_attack(self, config: evaluate.ExplanationAttackConfig) -> float:
        """Operations of the explanation attack on one pair."""

        def attacked(variables: PyTree, victim: Array, target: Array, key: Array) -> Array:
            logits_fn = functools.partial(self._model_fn, variables)
            map_fn = config.make_map_fn(logits_fn, jnp.argmax(logits_fn(victim)), key=key, method=config.attacked)
            problem = config.problem(map_fn, logits_fn, victim, map_fn(target))
            return config.entry.run(key, problem, config.own_settings, None)[0]

        return count_flops(attacked, self._variables, self._image, self._image, self._key)

    def map_gradient(self, config: evaluate.ExplanationAttackConfig) -> float:
        """Operations of the gradient of an explanation loss with respect to one image."""

        def loss(image: Array, variables: PyTree, key: Array) -> Array:
            logits_fn = functools.partial(self._model_fn, variables)
            map_fn = config.make_map_fn(logits_fn, jnp.int32(0), key=key, method=config.attacked)
            return jnp.mean((map_fn(image) - 0.5) ** 2)

        return count_flops(jax.grad(loss), self._image, self._variables, self._key)

    @property
    def _key(self) -> Any:
        return jax.eval_shape(jax.random.key, 0)

    @property
    def _image(self) -> Any:
        return jax.ShapeDtypeStruct(self.image_shape, jnp.float32)


@dataclasses.dataclass(frozen=True)
class FunctionCosts(ImageCosts):
    """The costs of any (variables, image) -> logits."""

    _model_fn: ModelFn
    _variables: PyTree
    image_shape: tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class ModelCosts(ImageCosts):
    """Operation counts of one network on images of one shape, from the programs that a run compiles."""

    model: models.Classifier
    image_shape: tuple[int, int, int]

    def training_step(self, config: train.TrainConfig) -> float:
        """Operations of one step on one batch: the inner attack, the objective, its terms and the update."""
        # The number of stored images affects only the order in which they are visited.
        program, arguments = train.step_program(self.model, config, self.image_shape, config.batch_size)
        return count_flops(getattr(program, "__wrapped__", program), *arguments)

    def step_memory(self, config: train.TrainConfig, num_images: int, dtype: Any) -> train.StepMemory | None:
        """Bytes of the training steps of a run; compiles them, so that a later run need not."""
        program: Any
        program, arguments = train.step_program(self.model, config, self.image_shape, num_images, dtype=dtype)
        return train.step_memory(program.lower(*arguments).compile())

    @property
    def model_fn(self) -> ModelFn:
        """(variables, image) -> logits."""
        return self._model_fn

    @property
    def variables(self) -> PyTree:
        """The shapes of the network's variables."""
        return self._variables

    @property
    def _model_fn(self) -> ModelFn:  # type: ignore[override]
        return models.model_fn(self.model)

    @functools.cached_property
    def _variables(self) -> PyTree:
        return jax.eval_shape(lambda key: models.init(key, self.model, self.image_shape), self._key)

    def flops_per_second(self, key: Array) -> float:
        """Operations per second of a compiled gradient with respect to the parameters, the fastest of three runs.

        Args: key: for random parameters and images; their values do not matter.
        """
        variables = models.init(key, self.model, self.image_shape)
        images = jax.random.uniform(key, (TIMED_IMAGES, *self.image_shape))

        def loss(variables: PyTree, images: Array) -> Array:
            logits = jax.vmap(lambda image: self._model_fn(variables, image))(images)
            return -jnp.mean(jax.nn.log_softmax(logits)[:, 0])

        compiled = jax.jit(jax.grad(loss)).lower(variables, images).compile()
        times = []
        for _ in range(3):
            started = time.perf_counter()
            jax.block_until_ready(compiled(variables, images))
            times.append(time.perf_counter() - started)
        return count_flops(jax.grad(loss), variables, images) / min(times)
