"""PyTorch modules as JAX functions of their parameters, by torchax, which runs PyTorch's operators on JAX arrays."""

import copy
import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep.checks import InputError
from jsep.types import Array, PyTree

_LOADING = threading.Lock()


@functools.cache
def _environment() -> tuple[Any, Any]:
    """(torchax, an environment of its own), whose tables of operators may name overloads that PyTorch no longer has.

    torchax 0.0.13 lists those of named tensors, which PyTorch 2.13 has dropped, as keys of tables and never calls them:
    while the tables are built, and for these names alone, something else stands in their place.
    """
    import torch._ops

    packets: Any = torch._ops.OpOverloadPacket
    known = packets.__getattr__

    def tolerant(packet: Any, name: str) -> Any:
        try:
            return known(packet, name)
        except AttributeError:
            if "dimname" in name.lower() or "names" in name.split("_"):
                return object()
            raise

    with _LOADING:
        packets.__getattr__ = tolerant
        try:
            import torchax
            import torchax.tensor

            environment = torchax.tensor.Environment()
        except ImportError as error:
            raise InputError(f'a PyTorch module needs {error.name}: pip install "jsep[torch]"') from error
        finally:
            packets.__getattr__ = known
    for operator, function in (
        (torch.ops.aten.native_group_norm, _group_norm),
        (torch.ops.aten._adaptive_avg_pool2d, _adaptive_average),
    ):
        environment.override_op_definition(operator, functools.partial(_on_arrays, environment, function))
    return torchax, environment


def _on_arrays(environment: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    return environment.j2t_iso(function(*environment.t2j_iso(arguments)))


def _group_norm(
    x: Array, weight: Array | None, bias: Array | None, batch: int, channels: int, _: int, groups: int, epsilon: float
) -> tuple[Array, Array, Array]:
    """Group normalisation without the loop over groups of torchax, into which LRP and others cannot look."""
    grouped = x.reshape(batch, groups, -1)
    mean = jnp.mean(grouped, axis=-1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.mean(jnp.square(grouped - mean), axis=-1, keepdims=True) + epsilon)
    normalised = ((grouped - mean) * scale).reshape(x.shape)
    each = (1, channels, *(1,) * (x.ndim - 2))
    normalised = normalised if weight is None else normalised * weight.reshape(each)
    return normalised if bias is None else normalised + bias.reshape(each), mean[..., 0], scale[..., 0]


def _adaptive_average(x: Array, output_size: Any) -> Array:
    """Adaptive average pooling (..., H, W): a mean, or where windows overlap one product with a constant array."""
    (height, width), (rows, columns) = x.shape[-2:], output_size
    if height % rows == 0 and width % columns == 0:
        return jnp.mean(x.reshape(*x.shape[:-2], rows, height // rows, columns, width // columns), axis=(-3, -1))
    windows = np.einsum("ih,jw->ijhw", _averaging(height, rows), _averaging(width, columns))
    return jnp.einsum("...hw,ijhw->...ij", x, jnp.asarray(windows, x.dtype))


def _averaging(size: int, parts: int) -> np.ndarray:
    """(parts, size): row i averages the entries from floor(i size / parts) to ceil((i + 1) size / parts)."""
    found = np.zeros((parts, size))
    for part in range(parts):
        first, end = part * size // parts, -((part + 1) * -size // parts)
        found[part, first:end] = 1 / (end - first)
    return found


def convert(module: Any) -> tuple[Callable[[PyTree, Array], Any], PyTree]:
    """(apply, variables) of a PyTorch module in evaluation mode: apply(variables, images (B, C, H, W)) -> its output.

    variables: name -> array, its floating-point parameters and buffers, copied, in float32. The module is copied too,
    so that the caller's stays in its mode; of a DataParallel the module inside.
    Raises: InputError without torchax; apply raises it for an operator that torchax lacks, with the layer that uses it.
    """
    torchax, environment = _environment()
    kind = type(module).__name__
    if kind in ("DataParallel", "DistributedDataParallel"):
        module = module.module
    if kind in ("OptimizedModule", "RecursiveScriptModule", "ScriptModule", "TopLevelTracedModule"):
        raise InputError(f"a compiled or scripted PyTorch module ({kind}) cannot be translated: give the module itself")
    try:
        own = copy.deepcopy(module).float()
    except Exception as error:  # tensors that are results, locks, ...
        raise InputError(f"the PyTorch module cannot be copied ({error}): give one that copy.deepcopy takes") from error
    own.eval()
    for parameter in own.parameters():
        parameter.requires_grad_(False)
    with jax.ensure_compile_time_eval():
        states, function = torchax.extract_jax(own, environment)
    variables = {name: value for name, value in states.items() if jnp.issubdtype(value.dtype, jnp.floating)}
    rest = {name: value for name, value in states.items() if name not in variables}
    return functools.partial(_apply, own, function, rest), variables


def _apply(module: Any, function: Callable[..., Any], rest: PyTree, variables: PyTree, images: Array) -> Any:
    environment = _environment()[1]
    before = environment.param.prng
    layers: list[str] = []
    hooks = [hook for name, layer in module.named_modules() for hook in _followed(name, layer, layers)]
    try:
        with warnings.catch_warnings():
            # PyTorch's indices have 64 bits, JAX's 32 unless told otherwise.
            warnings.filterwarnings("ignore", ".*requested dtype.*int64.*", UserWarning)
            output = function({**variables, **rest}, (images,))
    except InputError:
        raise
    except Exception as error:  # of torchax, PyTorch or JAX
        raise InputError(_reason(module, layers, error)) from error
    finally:
        for hook in hooks:
            hook.remove()
        drew, environment.param.prng = environment.param.prng is not before, before
    if drew:
        raise InputError("the PyTorch module draws random numbers in evaluation mode: every image would share them")
    return output


def reference(apply: Any, variables: PyTree, images: np.ndarray) -> tuple[Any, Callable[[], str]]:
    """(PyTorch's own output for images (B, C, H, W), a function that names the layer where JAX departs from it).

    Args: apply, variables: of `convert`.
    """
    import torch

    module = apply.args[0]

    def layer_outputs(run: Callable[[], Any], as_arrays: Callable[[Any], Any]) -> tuple[Any, dict[str, Any]]:
        found: dict[str, Any] = {}

        def keep(name: str, _: Any, __: Any, output: Any) -> None:
            found.setdefault(name, as_arrays(output))

        leaves = [(name, layer) for name, layer in module.named_modules() if not [*layer.children()]]
        hooks = [layer.register_forward_hook(functools.partial(keep, name)) for name, layer in leaves]
        try:
            return run(), found
        finally:
            for hook in hooks:
                hook.remove()

    def to_numpy(output: Any) -> Any:
        # A copy: what follows may work in place.
        return torch.utils._pytree.tree_map_only(torch.Tensor, lambda each: each.numpy(force=True).copy(), output)

    with torch.no_grad():
        output, theirs = layer_outputs(lambda: module(torch.tensor(images)), to_numpy)

    def fault() -> str:
        to_jax = _environment()[1].t2j_iso
        given = jnp.asarray(images)
        _, ours = layer_outputs(lambda: apply(variables, given), lambda each: jax.tree.map(jnp.copy, to_jax(each)))
        for name, expected in theirs.items():
            found = ours.get(name)
            if isinstance(expected, np.ndarray) and isinstance(found, jax.Array):
                error = np.abs(found - expected).max() if found.shape == expected.shape else np.inf
                if error > 1e-3 * np.abs(expected).max():
                    kind = type(module.get_submodule(name)).__name__
                    return f": torchax computes another output of the layer {name!r}, {kind}; replace it"
        return ": torchax computes something else between its layers"

    return jax.tree.map(jnp.asarray, to_numpy(output)), fault


def _followed(name: str, layer: Any, layers: list[str]) -> tuple[Any, Any]:
    """Hooks that keep the names of the layers that are running, the innermost last."""

    def enter(*_: Any) -> None:
        layers.append(name)

    def leave(*_: Any) -> None:
        layers.pop()

    return layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)


def _reason(module: Any, layers: list[str], error: Exception) -> str:
    where = "the module"
    if layers:
        where = f"its layer {layers[-1]!r}, {type(module.get_submodule(layers[-1])).__name__}," if layers[-1] else where
    reason = " ".join(str(error).split())[:200]
    if type(error).__name__ == "OperatorNotFound":
        return (
            f"the PyTorch module cannot run in JAX: {where} uses an operator that torchax lacks ({reason}); replace "
            "that layer by one of other operators"
        )
    return f"the PyTorch module fails in {where} ({type(error).__name__}: {reason})"
