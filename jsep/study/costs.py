"""What a model's gradients cost: operations counted on the traced program, and the speed of one timed gradient."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from jsep import explain, models, train
from jsep.models.cpu import use_lax_conv
from jsep.types import Array, PyTree

_FEW = 8  # images of a traced batch: enough for the costs that do not grow with it to be small


@dataclasses.dataclass(frozen=True)
class Costs:
    """Of one image and one model, in floating-point operations as XLA counts them before it optimises.

    forward; input_gradient: of the logits in the image; train_gradient: of the cross-entropy in the parameters;
    map_gradient: of an explanation loss in the image; term_gradient: of the term that is added to the objective, 0 for
    none. parameter_bytes: of the parameters.
    """

    forward: float
    input_gradient: float
    train_gradient: float
    map_gradient: float
    term_gradient: float
    parameter_bytes: int


@dataclasses.dataclass(frozen=True)
class Probe:
    """One compiled gradient of the cross-entropy in the parameters: flops_per_second, and the working memory that XLA
    gives it per image, in bytes."""

    seconds: float
    num_images: int
    flops_per_second: float
    bytes_per_image: float


def count_flops(function: Callable[..., Any], *arguments: Any) -> float:
    """The floating-point operations of a traced function.

    A convolution counts by its definition, whatever form its backend gives it; a gradient written as a product of
    patches counts the zeros around an image too.
    The body of a loop of known length counts as often as it runs; that of another, which ends when it likes, once.
    Args: arguments: arrays or `jax.ShapeDtypeStruct`s; nothing is computed.
    """
    return _once(function, arguments) + _repeated(jax.make_jaxpr(function)(*arguments).jaxpr)


def _once(function: Callable[..., Any], arguments: Sequence[Any]) -> float:
    """As XLA counts: the body of every loop once."""
    # Of a new function: JAX keeps what it once lowered of one that it knows.
    with use_lax_conv():
        counted = jax.jit(lambda *arguments: function(*arguments)).lower(*arguments).cost_analysis()
    return float(counted.get("flops", 0.0)) if isinstance(counted, dict) else 0.0


def _repeated(jaxpr: core.Jaxpr) -> float:
    """The operations of all turns of the loops but the first."""
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


def _cross_entropy(model_fn: Callable[..., Array], variables: PyTree, images: Array, labels: Array) -> Array:
    log_probabilities = jax.nn.log_softmax(jax.vmap(lambda image: model_fn(variables, image))(images))
    return -jnp.mean(jnp.take_along_axis(log_probabilities, labels[:, None], axis=1))


def _shapes(model: models.Classifier, input_shape: tuple[int, int, int], num_images: int) -> tuple[PyTree, Any, Any]:
    some_key = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(lambda key: models.init(key, model, input_shape), some_key)
    images = jax.ShapeDtypeStruct((num_images, *input_shape), jnp.float32)
    return variables, images, jax.ShapeDtypeStruct((num_images,), jnp.int32)


def count(
    model: models.Classifier,
    input_shape: tuple[int, int, int],
    *,
    method: str = "gradient_x_input",
    options: explain.Options = (),
    config: train.TrainConfig | None = None,
) -> Costs:
    """The costs of a model.

    Args: method, options: the attacked explanation; config: whose SEP or regularisation term is counted.
    """
    variables, images, labels = _shapes(model, input_shape, _FEW)
    key = jax.eval_shape(lambda: jax.random.key(0))
    model_fn = models.model_fn(model)

    def score(variables: PyTree, images: Array) -> Array:
        return jnp.sum(jax.vmap(lambda image: model_fn(variables, image)[0])(images))

    def map_loss(variables: PyTree, images: Array, key: Array) -> Array:
        def one(image: Array) -> Array:
            def logits_fn(z: Array) -> Array:
                return model_fn(variables, z)

            map_fn = explain.make_map_fn(method, logits_fn, jnp.int32(0), key=key, **dict(options))
            return jnp.mean((map_fn(image) - 0.5) ** 2)

        return jnp.sum(jax.vmap(one)(images))

    def term(variables: PyTree, key: Array, images: Array, labels: Array) -> Array:
        assert config is not None
        if config.regulariser is not None:
            return train.batch_regulariser(key, config.regulariser, model_fn, variables, images, labels)
        return train.batch_penalty(key, config.sep, model_fn, variables, images, labels)

    has_term = config is not None and bool(config.weights())
    parameters = jax.tree.leaves(variables["params"])
    return Costs(
        forward=count_flops(score, variables, images) / _FEW,
        input_gradient=count_flops(jax.grad(score, argnums=1), variables, images) / _FEW,
        train_gradient=count_flops(
            jax.grad(lambda v, x, y: _cross_entropy(model_fn, v, x, y)), variables, images, labels
        )
        / _FEW,
        map_gradient=count_flops(jax.grad(map_loss, argnums=1), variables, images, key) / _FEW,
        term_gradient=count_flops(jax.grad(term), variables, key, images, labels) / _FEW if has_term else 0.0,
        parameter_bytes=sum(leaf.size * leaf.dtype.itemsize for leaf in parameters),
    )


def probe(
    key: Array, model: models.Classifier, input_shape: tuple[int, int, int], costs: Costs, num_images: int
) -> Probe:
    """Compiles one training gradient of `num_images` images and times the fastest of three runs.

    Args: key: for the parameters and the images, whose values do not matter.
    """
    model_fn = models.model_fn(model)
    variables = models.init(key, model, input_shape)
    images, labels = jax.random.uniform(key, (num_images, *input_shape)), jnp.zeros(num_images, jnp.int32)
    gradient = jax.jit(jax.grad(lambda v, x, y: _cross_entropy(model_fn, v, x, y)))
    compiled = gradient.lower(variables, images, labels).compile()
    times = []
    for _ in range(3):
        started = time.perf_counter()
        jax.block_until_ready(compiled(variables, images, labels))
        times.append(time.perf_counter() - started)
    # Not every backend tells.
    working = getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0)
    seconds = min(times)
    return Probe(seconds, num_images, costs.train_gradient * num_images / seconds, working / num_images)
