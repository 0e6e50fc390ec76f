"""Networks to train that are two functions, init and apply: hand-written ones, and modules of NNX and Equinox."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx

from jsep.checks import InputError
from jsep.models.conv_replacement import with_own_convolutions
from jsep.models.layers import Classifier
from jsep.types import Array, Key, PyTree


@dataclasses.dataclass(frozen=True)
class Functional:
    """A network for `train.fit` and the other functions that take a model of this package, as two pure functions.

    init: (key, input_shape (H, W, C)) -> parameters, any tree of floating-point arrays;
    apply: (parameters, images (B, H, W, C) in [0, 1]) -> logits (B, K).
    With `has_statistics`: init -> (parameters, statistics), and apply: (parameters, statistics, images, train: bool) ->
    (logits, the statistics after a batch of training, or the same ones).
    name: stands for the network in checkpoints, which are resumed by one of the same name alone.
    to_module: variables -> a module of its framework with them; None for a network that was made of no module.

    Variables are {"params": parameters, "batch_stats": statistics}, as of any model here; `models.logits_fn(functional,
    variables)` is the trained classifier.
    """

    init: Callable[..., Any]
    apply: Callable[..., Any]
    name: str
    has_statistics: bool = False
    to_module: Callable[[PyTree], Any] | None = dataclasses.field(default=None, compare=False)

    def __repr__(self) -> str:
        return f"Functional({self.name})"

    def variables(self, key: Key, input_shape: tuple[int, int, int]) -> PyTree:
        """{"params": ...}, with "batch_stats" if it has statistics."""
        made = self.init(key, input_shape)
        return {"params": made[0], "batch_stats": made[1]} if self.has_statistics else {"params": made}

    def outputs(self, variables: PyTree, images: Array, *, train: bool) -> tuple[Array, PyTree]:
        """(logits (B, K), statistics), as of `models.batch_fn`."""
        if self.has_statistics:
            # A network whose statistics are empty is one without them to what holds its variables.
            apply = lambda *args: self.apply(*args, train)  # noqa: E731
            return with_own_convolutions(apply, variables["params"], variables.get("batch_stats", {}), images)
        return with_own_convolutions(self.apply, variables["params"], images), {}


Network = Classifier | Functional
"""What `train.fit` trains."""


def from_module(module: Any) -> Functional:
    """A network to train from an NNX or Equinox module: it starts from the module's own parameters.

    An NNX module takes batches (B, H, W, C), and its batch statistics are trained with it; an Equinox module takes one
    image with the channels first, and has no state. Layers that draw random numbers in training (dropout) are refused:
    a step has no key for them. The module itself is not changed: trained parameters are in the TrainState, by name, and
    `network.to_module(state.variables)` is a new module with them, in evaluation mode if it has one.

    Raises: InputError for another module; when a network is trained, for one that draws random numbers.
    """
    if isinstance(module, nnx.Module):
        return _from_nnx(module)
    if any(kind.__module__.split(".")[0] == "equinox" and kind.__name__ == "Module" for kind in type(module).__mro__):
        return _from_equinox(module)
    raise InputError(
        f"from_module takes an NNX or an Equinox module, got {type(module).__name__}; give models.Functional(init, "
        "apply, name) of anything else"
    )


def by_name(tree: PyTree) -> dict[str, Array]:
    """The leaves of a tree by the names of their paths, a form that every checkpoint keeps."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = (jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves)
    # An nnx.Variable is a node of its own, around its value.
    return {name.removesuffix("/value"): leaf for name, (_, leaf) in zip(names, leaves, strict=True)}


def from_names(like: PyTree, named: Mapping[str, Array]) -> PyTree:
    """A tree of the structure of `like` with the leaves of `by_name`."""
    return jax.tree.unflatten(jax.tree.structure(like), [named[name] for name in by_name(like)])


def _from_nnx(module: nnx.Module) -> Functional:
    graphs = []
    for mode in ("train", "eval"):
        own = nnx.merge(*nnx.split(module))
        getattr(own, mode)()
        graph, params, statistics, rest = nnx.split(own, nnx.Param, nnx.BatchStat, ...)  # type: ignore[misc]
        graphs.append(graph)
    start = (by_name(params), by_name(statistics))

    def apply(named: Any, named_statistics: Any, images: Array, train: bool) -> tuple[Array, Any]:
        fresh = jax.tree.map(lambda leaf: leaf, rest)  # a variable made outside of a trace cannot be changed in it
        own = nnx.merge(
            graphs[0 if train else 1], from_names(params, named), from_names(statistics, named_statistics), fresh
        )
        before = jax.tree.leaves(nnx.state(own, nnx.RngState))
        logits = own(images)
        after = jax.tree.leaves(nnx.state(own, nnx.RngState))
        if any(a is not b for a, b in zip(before, after, strict=True)):
            raise InputError(
                "the NNX module draws random numbers in training, for which a step has no key: take its dropout out"
            )
        return logits, by_name(nnx.state(own, nnx.BatchStat)) if train else named_statistics

    def to_module(variables: PyTree) -> nnx.Module:
        parts = from_names(params, variables["params"]), from_names(statistics, variables.get("batch_stats", {}))
        return nnx.merge(graphs[1], *jax.tree.map(lambda leaf: leaf, (*parts, rest)))

    name = _name_of(module, start[0])
    return Functional(lambda key, shape: start, apply, name, has_statistics=True, to_module=to_module)


def _from_equinox(module: Any) -> Functional:
    import equinox

    params, rest = equinox.partition(module, equinox.is_inexact_array)
    start = by_name(params)

    def apply(named: Any, images: Array) -> Array:
        own = equinox.combine(from_names(params, named), rest)
        return jax.vmap(own)(jax.numpy.moveaxis(images, -1, 1))

    def to_module(variables: PyTree) -> Any:
        return equinox.combine(from_names(params, variables["params"]), rest)

    return Functional(lambda key, shape: start, apply, _name_of(module, start), to_module=to_module)


def _name_of(module: Any, named: Mapping[str, Array]) -> str:
    return f"{type(module).__name__} of {sum(leaf.size for leaf in named.values())} parameters"
